"""Digests of values and files (BLAKE2b, hexadecimal)."""

import hashlib
import json
from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError


def digest(value: Any, length: int = 12) -> str:
    """Return a hash of a JSON-like value, free of key order; `length` hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()[:length]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as published beside weight files.

    Raises:
        RadstartError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or str(error)
        raise RadstartError("cannot read", str(path), reason, "check the path") from error
