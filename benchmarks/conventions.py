"""Reprint the table and the picture of docs/conventions.md from its finished studies.

    python benchmarks/conventions.py STUDY... [--write]

Each of the two sets has one study with rates of each arm's own and one with a shared rate; which is
which stands in the studies. Without --write the table is printed.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from radstart import open_study
from study_tables import number

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs" / "conventions.md", ROOT / "docs" / "images" / "conventions.svg"
BEGIN, END = "<!-- conventions -->", "<!-- /conventions -->"
OWN, SHARED = "own rates", "one shared rate"
Studies = dict[tuple[str, str], dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    studies: Studies = {}
    for folder in given.studies:
        facts = open_study(folder).facts
        shared = len(facts["question"]["recipe"]["grid"]) == 1
        studies[facts["question"]["dataset"], SHARED if shared else OWN] = facts
    text = "\n".join(lines(studies))
    if not given.write:
        print(text)
        return
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    draw(studies).savefig(PICTURE, metadata={"Date": None})


def lines(studies: Studies) -> list[str]:
    """Return what was run, and one row per set, policy, rate and arm."""
    shown = []
    for (dataset, rates), facts in sorted(studies.items()):
        parts = ", ".join(f"{p['part']} {p['images']}" for p in facts["data"]["parts"])
        machine = facts["environment"]
        shown.append(
            f"* {dataset}, {rates}: {parts}; budget {100 * facts['question']['budgets'][0]:g} %; "
            f"{machine['minutes']:g} minutes of training and probing on {machine['machine']}, "
            f"{machine['numerics']['threads']} thread, {machine['numerics']['dtype']}; "
            f"{facts['made'][:10]}; study {facts['study']}."
        )
    shown += [
        "",
        "| set | policy | rate | arm | AUROC [95 %] | seeds | lr or penalty | "
        "minus `true` [95 %] | p, Holm | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (dataset, rates), facts in sorted(studies.items(), key=lambda item: item[0]):
        shown += [row for policy in facts["question"]["policies"] for row in
                  rows(facts, dataset, rates, policy)]  # fmt: skip
    return shown


def rows(facts: dict[str, Any], dataset: str, rates: str, policy: str) -> list[str]:
    """Return the rows of one policy; a probe has no rate, so it stands once per set."""
    if policy == "frozen" and rates == SHARED:
        return []
    found = []
    for arm in facts["question"]["arms"]:
        main = result(facts, arm, policy)
        settings = {
            r["lr"] or r["penalty"]
            for r in facts["runs"]
            if (r["arm"], r["policy"]) == (arm, policy) and (r["lr"] or r["penalty"])
        }
        against = difference(facts, arm, policy)
        if against is None:
            compared = " | | reference"
        else:
            said = ", ".join([against["verdict"].replace("_", " "), *against["qualifiers"]])
            p = against["p_adjusted"]
            compared = f"{spread(against, 'difference', True)} | {p:.3f} | {said}"
        found.append(
            f"| {dataset} | {policy} | {'-' if policy == 'frozen' else rates} | {arm} | "
            f"{spread(main, 'value')} | {' '.join(map(number, main['seed_values']))} | "
            f"{', '.join(f'{s:g}' for s in sorted(settings))} | {compared} |"
        )
    return found


def result(facts: dict[str, Any], arm: str, policy: str) -> dict[str, Any]:
    metric = facts["question"]["metric"]["id"]
    return next(
        row
        for row in facts["results"]
        if (row["arm"], row["policy"], row["metric"]) == (arm, policy, metric)
    )


def difference(facts: dict[str, Any], arm: str, policy: str) -> dict[str, Any] | None:
    found = [r for r in facts["comparisons"] if (r["arm"], r["policy"]) == (arm, policy)]
    return found[0] if found else None


def spread(row: dict[str, Any], key: str, sign: bool = False) -> str:
    low, high = number(row["ci_low"], sign), number(row["ci_high"], sign)
    return f"{number(row[key], sign)} [{low}, {high}]"


def draw(studies: Studies) -> Figure:
    """Return the differences from `true` with their intervals, one panel per set."""
    mpl.rcParams.update({"svg.hashsalt": "radstart", "font.family": "DejaVu Sans", "font.size": 9})
    sets = sorted({dataset for dataset, _ in studies})
    figure = Figure(figsize=(8.6, 3.9), layout="constrained", facecolor="white")
    axes = figure.subplots(1, len(sets), sharex=True, sharey=True, squeeze=False)[0]
    groups = [("full", OWN, "o"), ("full", SHARED, "s"), ("frozen", OWN, "D")]
    colours = ("#1b6ca8", "#c2571a", "#4b5563")
    for axis, dataset in zip(axes, sets, strict=True):
        facts = studies[dataset, OWN]
        arms = [arm for arm in facts["question"]["arms"] if arm != facts["question"]["reference"]]
        margin = facts["question"]["margin"]
        axis.axvspan(-margin, margin, color="#e5e7eb", zorder=0)
        axis.axvline(0, color="#374151", linewidth=0.8)
        for place, (policy, rates, shape) in enumerate(groups):
            label = policy if policy == "frozen" else f"{policy}, {rates}"
            for height, arm in enumerate(arms):
                row = difference(studies[dataset, rates], arm, policy)
                if row is None:
                    continue
                y = height + (place - 1) * 0.24
                axis.plot([row["ci_low"], row["ci_high"]], [y, y], color=colours[place])
                axis.plot(row["difference"], y, shape, color=colours[place], markersize=5,
                          label=label if height == 0 else None)  # fmt: skip
        axis.set_yticks(range(len(arms)), arms)
        axis.set_ylim(len(arms) - 0.5, -0.5)
        axis.set_title(dataset, fontsize=9)
        axis.set_xlabel("AUROC minus that of the true convention")
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


if __name__ == "__main__":
    main()
