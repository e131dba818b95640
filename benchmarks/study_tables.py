"""Reprint the tables of docs/studies.md from finished studies.

    python benchmarks/study_tables.py STUDY... [--write]

Each study's tables go between its markers, `<!-- NAME:begin -->` and `<!-- NAME:end -->`,
where NAME is the dataset's; without --write they are printed.
"""

import argparse
from pathlib import Path
from typing import Any

from radstart import open_study


def number(x: float | None, sign: bool = False) -> str:
    if x is None:
        return "-"
    return (f"{x:+.3f}" if sign else f"{x:.3f}").replace("-", "−")


def tables(facts: dict[str, Any]) -> str:
    question, data, machine = facts["question"], facts["data"], facts["environment"]
    parts = ", ".join(f"{p['part']} {p['images']} ({p['units']} units)" for p in data["parts"])
    unit = data["unit"] if data["patients_known"] else f"{data['unit']}, patients unknown"
    lines = [
        f"{data['n_labelled']} images; unit: {unit}; parts from: {data['parts_from']}: {parts}. "
        f"{question['seeds']} seeds, {question['image_size']} px, step limit "
        f"{question['epochs']} epochs. {machine['minutes']:g} minutes of training and probing on "
        f"{machine['machine']}, {machine['numerics']['threads']} thread(s), "
        f"{machine['numerics']['dtype']}; {facts['made'][:10]}; study {facts['study']}.",
        "",
        *(f"> {sentence}" for sentence in facts["answer"]),
        "",
        f"| policy | budget | arm | {question['metric']['name']} [95 %] | seeds | lr or penalty "
        "| converged | balanced accuracy | Brier |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = {(r["arm"], r["policy"], r["budget"], r["metric"]): r for r in facts["results"]}
    for policy in question["policies"]:
        for budget in question["budgets"]:
            for arm in question["arms"]:
                runs = [
                    r
                    for r in facts["runs"]
                    if (r["arm"], r["policy"], r["budget"]) == (arm, policy, budget)
                ]
                main, balanced, brier = (
                    rows.get((arm, policy, budget, metric))
                    for metric in (question["metric"]["id"], "balanced_accuracy", "brier")
                )
                if main is None or balanced is None or brier is None:
                    continue
                settings = sorted(
                    {r["lr"] or r["penalty"] for r in runs if r["lr"] or r["penalty"]}
                )
                lines.append(
                    f"| {policy} | {100 * budget:g} % | {arm} | {number(main['value'])} "
                    f"[{number(main['ci_low'])}, {number(main['ci_high'])}] | "
                    f"{' '.join(number(v) for v in main['seed_values'])} | "
                    f"{', '.join(f'{s:g}' for s in settings)} | "
                    f"{sum(bool(r['converged']) for r in runs)} of {len(runs)} | "
                    f"{number(balanced['value'])} | {number(brier['value'])} |"
                )
    lines += [
        "",
        "| comparison | policy | budget | difference [95 %] | p, Holm | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in facts["comparisons"]:
        lines.append(line(f"{row['arm']} − {row['reference']}", row["policy"], row))
    for row in facts["policy_comparisons"]:
        who = f"{row['arm']}: {row['policy']} − {row['reference_policy']}"
        lines.append(line(who, row["policy"], row))
    lines += ["", *(f"* {warning}" for warning in facts["warnings"])]
    return "\n".join(lines)


def line(who: str, policy: str, row: dict[str, Any]) -> str:
    said = row["verdict"].replace("_", " ")
    if row["qualifiers"]:
        said += f" ({', '.join(row['qualifiers'])})"
    p = row["p_adjusted"]
    shown = "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
    return (
        f"| {who} | {policy} | {100 * row['budget']:g} % | {number(row['difference'], True)} "
        f"[{number(row['ci_low'], True)}, {number(row['ci_high'], True)}] | {shown} | {said} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    page = Path(__file__).parents[1] / "docs" / "studies.md"
    for folder in given.studies:
        facts = open_study(folder).facts
        text, name = tables(facts), facts["question"]["dataset"]
        if not given.write:
            print(text)
            continue
        before, rest = page.read_text(encoding="utf-8").split(f"<!-- {name}:begin -->")
        after = rest.split(f"<!-- {name}:end -->")[1]
        new = f"{before}<!-- {name}:begin -->\n{text}\n<!-- {name}:end -->{after}"
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
