"""Table and figure of one paired comparison of predictions, to paste into a paper."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radstart.core.files import whole_file, write_text


def write_comparison(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write comparison.csv and comparison.svg; return their paths.

    Args:
        rows: two arms and then their difference, each with name, metric, value, ci_low, ci_high,
            seed_values, level and whatever else belongs in the table.
        folder: made where absent.
    """
    table = io.StringIO()
    flat = [{k: v for k, v in row.items() if not isinstance(v, list | tuple)} for row in rows]
    names = list(dict.fromkeys(key for row in flat for key in row))
    writer = csv.DictWriter(table, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    paths = [folder / "comparison.csv", folder / "comparison.svg"]
    write_text(paths[0], table.getvalue())
    _draw(rows, paths[1])
    return paths


def _draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.0), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    percent = f"{100 * rows[0]['level']:g} % interval"
    for axes, some, title in (
        (left, rows[:2], f"{rows[0]['metric']}, {percent}"),
        (right, rows[2:], f"difference, {percent}"),
    ):
        for place, row in enumerate(reversed(some)):
            seeds = row["seed_values"]
            axes.plot([row["ci_low"], row["ci_high"]], [place, place], color="#0b5f8a", lw=2)
            axes.plot(seeds, [place + 0.22] * len(seeds), ".", color="#7a8791", ms=5)
            axes.plot(row["value"], place, "o", color="#0b5f8a", ms=6)
        axes.set_yticks(range(len(some)), [row["name"] for row in reversed(some)])
        axes.set_ylim(-0.6, len(some) - 0.3)
        axes.set_title(title, fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    right.axvline(0, color="#444444", lw=0.8)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
