"""Tables to paste into a paper: CSV for a program, LaTeX (booktabs) for the paper, methods."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from radstart.report import words
from radstart.report.words import finite

Facts = Mapping[str, Any]
FOLDER = "tables"
RESULTS = (
    "arm", "policy", "budget", "metric", "value", "ci_low", "ci_high", "level", "seed_sd",
    "seed_sd_net", "df", "n_seeds", "n_cases", "n_units", "unit", "note", "marks",
)  # fmt: skip
COMPARISONS = (
    "arm", "policy", "budget", "reference", "reference_policy", "metric", "difference", "ci_low",
    "ci_high", "level", "p", "p_adjusted", "family", "p_equivalence", "margin", "verdict",
    "qualifiers", "seeds", "n_units", "unit", "to_settle",
)  # fmt: skip
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
        words.MINUS: "$-$", words.NONE: "--", words.SPACE: "~", "±": r"$\pm$", "≈": r"$\approx$",
        "\n": " ", "\r": " ", "\t": " ",
    }
)  # fmt: skip


def paper_tables(facts: Facts) -> dict[str, str]:
    """Return the text of every file by its name; what the facts do not hold has no file."""
    question = facts.get("question") or {}
    results = list(facts.get("results") or [])
    pairs = [*(facts.get("comparisons") or []), *(facts.get("policy_comparisons") or [])]
    common = {
        "level": question.get("level"),
        "margin": question.get("margin"),
        "unit": (facts.get("data") or {}).get("unit"),
    }
    texts = {}
    if results:
        marks = _marks(facts)
        rows = [{**common, **row, "marks": marks.get(row.get("arm"))} for row in results]
        texts["results.csv"] = _csv(RESULTS, rows)
        texts["results.tex"] = _results_tex(facts, results)
    if pairs:
        rows = [
            {**common, **row, "to_settle": (row.get("settle") or {}).get("short")} for row in pairs
        ]
        texts["comparisons.csv"] = _csv(COMPARISONS, rows)
        texts["comparisons.tex"] = _comparisons_tex(facts, pairs)
    if facts.get("methods"):
        texts["methods.txt"] = f"{facts['methods']}\n"
    return texts


def _marks(facts: Facts) -> dict[Any, list[str]]:
    """Return what every table says of an arm, by its name: that it saw the test images."""
    return {arm.get("name"): list(arm.get("marks") or []) for arm in facts.get("arms") or []}


def _csv(columns: Sequence[str], rows: Iterable[Facts]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_plain(row.get(name)) for name in columns])
    return text.getvalue()


def _plain(value: Any) -> str:
    """Return a value for CSV: six digits, lists by semicolons, nothing for null."""
    if isinstance(value, list | tuple):
        return "; ".join(str(item) for item in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def escape_tex(value: Any) -> str:
    """Return text that LaTeX sets as it stands: its specials escaped."""
    return str(value).translate(SPECIAL)


def _results_tex(facts: Facts, rows: Sequence[Facts]) -> str:
    question = facts.get("question") or {}
    metric = question.get("metric") or {}
    own = _by_policy([row for row in rows if row.get("metric") in (metric.get("id"), None)])
    marks = _marks(facts)
    name, level = metric.get("name") or words.metric_name(metric.get("id")), _level(facts)
    lines = [
        (
            row.get("policy"),
            [
                escape_tex(", ".join([str(row.get("arm")), *marks.get(row.get("arm"), [])])),
                escape_tex(words.budget(row.get("budget"))),
                f"{_number(row.get('value'))} {_limits(row)}",
                _number(row.get("seed_sd")),
                _count(row.get("n_seeds")),
            ],
        )
        for row in own
    ]
    caption = f"{name} on the test part, mean over seeds with {level} intervals. {_whom(facts)}"
    head = ["Start", "Budget", f"{name} [{level}]", "SD over seeds", "Seeds"]
    return _tex(head, "llrrr", lines, caption, "tab:results")


def _comparisons_tex(facts: Facts, rows: Sequence[Facts]) -> str:
    question = facts.get("question") or {}
    metric, margin = question.get("metric") or {}, finite(question.get("margin"))
    name, level = metric.get("name") or words.metric_name(metric.get("id")), _level(facts)
    lines = []
    for row in _by_policy(rows):
        within = row.get("reference_policy")
        said = words.verdict_words(row.get("verdict"), row.get("qualifiers"))
        also = "".join(f"; {word}" for word in words.qualifiers_left(row.get("qualifiers")))
        minus = f" minus {within}" if within else f", start minus {row.get('reference')}"
        lines.append(
            (
                f"{row.get('policy')}{minus}",
                [
                    escape_tex(row.get("arm")),
                    escape_tex(words.budget(row.get("budget"))),
                    f"{_number(row.get('difference'), sign=True)} {_limits(row, sign=True)}",
                    _probability(row.get("p_adjusted")),
                    escape_tex(said + also),
                ],
            )
        )
    caption = f"Paired differences in {name} with {level} intervals (not adjusted) and Holm's p."
    if margin:
        caption += f" Practically equal: within ±{words.number(margin)} by an equivalence test."
    head = ["Start", "Budget", f"Difference [{level}]", "p", "Verdict"]
    return _tex(head, "llrrl", lines, f"{caption} {_whom(facts)}", "tab:comparisons")


def _by_policy(rows: Sequence[Facts]) -> list[Facts]:
    """Return the rows by policy, comparisons of starts before those of policies."""
    policies = list(dict.fromkeys(row.get("policy") for row in rows))
    return sorted(
        rows, key=lambda r: (bool(r.get("reference_policy")), policies.index(r.get("policy")))
    )


def _tex(
    head: Sequence[str],
    align: str,
    lines: Sequence[tuple[Any, Sequence[str]]],
    caption: str,
    label: str,
) -> str:
    """Return a table in booktabs style: a block of rows per policy; cells are LaTeX already."""
    body: list[str] = []
    for place, (group, cells) in enumerate(lines):
        if place == 0 or group != lines[place - 1][0]:
            body += [r"\midrule"] if place else []
            title = escape_tex(f"Policy {group}")
            body += [rf"\multicolumn{{{len(head)}}}{{l}}{{\emph{{{title}}}}} \\"]
        body.append(" & ".join(cells) + r" \\")
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_tex(caption)}}}",
            rf"\label{{{label}}}",
            r"\medskip",
            r"\small",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            " & ".join(map(escape_tex, head)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _number(value: Any, sign: bool = False) -> str:
    """Return a number for LaTeX, its sign a true minus."""
    shown = words.signed(value) if sign else words.number(value)
    return "--" if shown == words.NONE else f"${shown.replace(words.MINUS, '-')}$"


def _limits(row: Facts, sign: bool = False) -> str:
    low, high = row.get("ci_low"), row.get("ci_high")
    if finite(low) is None or finite(high) is None:
        return "[no interval]"
    return f"[{_number(low, sign)}, {_number(high, sign)}]"


def _probability(value: Any) -> str:
    shown = words.probability(value).replace(words.SPACE, " ")
    return "--" if shown == words.NONE else f"${shown}$"


def _count(value: Any) -> str:
    return escape_tex(words.count(value))


def _level(facts: Facts) -> str:
    return words.percent((facts.get("question") or {}).get("level") or 0.95)


def _whom(facts: Facts) -> str:
    """Return on how many images and units, and what is not known of them."""
    data = facts.get("data") or {}
    test: Facts = next((p for p in data.get("parts") or [] if p.get("part") == "test"), {})
    unit = words.UNITS.get(str(data.get("unit")), "units")
    said = f"{words.count(test.get('images'))} images of {words.count(test.get('units'))} {unit}."
    said = said if test else ""
    if data.get("patients_known") is False:
        said += " Patients unknown: intervals are too narrow."
    return said.strip()
