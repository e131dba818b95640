"""What facts.json is made of: strict JSON numbers of a schema."""

import math

SCHEMA = 1
ALPHA = 0.05  # of the Holm-adjusted p-values behind better and worse


def number(x: float | None) -> float | None:
    """Return a float for JSON: None where it is undefined."""
    return None if x is None or not math.isfinite(x) else float(x)
