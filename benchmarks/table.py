"""The table of speeds in the README and the profile in docs/speed.md, out of benchmarks/results.

    python benchmarks/table.py                    print the table
    python benchmarks/table.py --run [NAME ...]   run all benchmarks (or these) first
    python benchmarks/table.py --write            put both into their pages

All of them take about twenty minutes on two idle cores. Each runs in a process of its own, and each
compares things within one run only; NAME is one of input, loop, numerics, frozen, paired, start,
weights, headers, hashes, split, ingest (which takes half of the time, and 3 GB of disk).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README, SPEED = HERE.parent / "README.md", HERE.parent / "docs" / "speed.md"
NAMES = ("input", "loop", "numerics", "frozen", "paired", "start", "weights", "headers", "hashes",
         "split", "ingest")  # fmt: skip
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"


def table() -> str:
    """Return the table and the line about the machine, as Markdown."""
    lines = [
        "| what | radstart | beside | | ratio | wanted |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    measured: dict[str, list[str]] = {}
    for name in NAMES:
        if not (kept := _kept(name)):
            continue
        measured.setdefault(_where(kept), []).append(name)
        lines += [_line(row) for row in kept["rows"]]
    lines.append("")
    everything = len(measured) == 1
    for where, names in measured.items():
        lines.append(where if everything else f"{', '.join(names)}: {where}")
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    mark = {True: ": met", False: ": **not met**", None: ""}[row["met"]]
    cells = (row["what"], row["ours"], row["beside"], row["theirs"], row["ratio"])
    return f"| {' | '.join(cells)} | {row['wanted']}{mark} |"


def _where(kept: dict[str, Any]) -> str:
    one = kept["machine"]
    more = [name for name in ("avx512_bf16", "amx_bf16") if one[name]]
    instructions = " + ".join([one["instructions"], *more])
    return (
        f"{one['processor']}, {one['cores']} cores, {instructions}; Python {one['python']}, "
        f"torch {one['torch']}; {kept['date']}."
    )


def profile() -> str:
    """Return where the loop's overhead goes, and figures beside those of the table."""
    lines = []
    loop = _details("loop")
    if loop:
        lines += [f"| ms a step, resnet18 at 128 px | {' | '.join(loop)} |"]
        lines += ["| --- " * (1 + len(loop)) + "|"]
        kinds = loop.values()
        lines.append(_profile_line("numerics", [_numerics(one["numerics"]) for one in kinds]))
        for part in next(iter(kinds))["inside"]:
            if part.endswith("_ms"):
                name = part.removesuffix("_ms").replace("_", " ")
                lines.append(_profile_line(name, [f"{one['inside'][part]:.1f}" for one in kinds]))
        for part in next(iter(kinds))["alone_ms"]:
            values = [f"{one['alone_ms'][part]:.1f}" for one in kinds]
            lines.append(_profile_line(f"timed alone: {part}", values))
        shares = [f"{100 * one['beside']['overhead']:+.1f} %" for one in kinds]
        lines += [_profile_line("the real step beside a bare one", shares), ""]
    if found := _details("input"):
        parts = ", ".join(f"{k} {v:.0f}" for k, v in found["microseconds"].items())
        lines += [
            f"* Input: {found['ratio_before_float']:.0f}x up to the uint8 batch; "
            f"{found['ratio_to_grey_peer']:.0f}x a peer that reads and jitters one grey channel; "
            f"the working copy once, {found['working_copy_once_seconds']:.1f} s. One thread, "
            f"microseconds an image: {parts}."
        ]
    if found := _details("numerics"):
        planning = ", ".join(f"{k} {v['planning_seconds']:.0f} s" for k, v in found.items())
        lines += [f"* Numerics: choosing took {planning}."]
    if found := _details("frozen"):
        runs = " and ".join(
            f"{run['seconds']:.0f} s ({run['steps']} steps, budget {run['budget']:g})"
            for run in found["training_runs"]
        )
        lines += [f"* Frozen: {found['images']['train']} training images; runs measured: {runs}."]
    if found := _details("paired"):
        lines += [
            f"* Paired: {1e3 * found['seconds_per_comparison']:.0f} ms a comparison; beside a "
            "bootstrap with presorted scores and patients' multiplicities as weights still "
            f"{found['ratio_to_weighted_bootstrap']:.0f}x; Monte Carlo error of the variances' "
            f"ratio {100 * found['monte_carlo_error_of_the_ratio']:.1f} %."
        ]
    loads = ", ".join(f"{name} {kept['load']:.1f}" for name in NAMES if (kept := _kept(name)))
    return "\n".join([*lines, f"* Load average at the end, its own included: {loads}."])


def _kept(name: str) -> dict[str, Any]:
    path = HERE / "results" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _details(name: str) -> dict[str, Any]:
    found: dict[str, Any] = _kept(name).get("details", {})
    return found


def _profile_line(name: str, values: list[str]) -> str:
    return f"| {name} | {' | '.join(values)} |"


def _numerics(one: dict[str, Any]) -> str:
    return f"{one['dtype']}, {one['memory_format'].replace('_', ' ')}, threads {one['threads']}"


def page_with(page: Path, text: str) -> str:
    """Return the page with the text between its marks."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", nargs="*", choices=NAMES, metavar="NAME")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.run is not None:
        for name in given.run or NAMES:
            print(f"{name} ...", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, HERE / f"{name}.py"], check=True, stdout=sys.stderr)
    text = table()
    if given.write:
        README.write_text(page_with(README, text), encoding="utf-8")
        SPEED.write_text(page_with(SPEED, profile()), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
