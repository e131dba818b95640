"""The page of `radstart weights check`: the candidates' scores as a picture. Computes nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from radstart.core.files import write_text
from radstart.report.figures import Arm, Facts, Scale, at, join, strip, strip_axis, tag
from radstart.report.template import template_of
from radstart.report.words import finite

PAGE = "detection.html"
PICKED, OTHER, REFUSED = Arm("picked", 1), Arm("other", 0), Arm("refused", 0)
FAR = 4.0  # times the best value: what lies beyond is drawn at the edge, with an arrow


def write_detection_page(record: Mapping[str, Any], path: Path) -> Path:
    """Write the page of a detection, whole or not at all; return its path.

    Args:
        record: of `radstart.weights.detection_record`, or the same read from JSON.
        path: of the HTML file; its folder is made.
    """
    write_text(path, render_detection(record))
    return path


def render_detection(record: Mapping[str, Any]) -> str:
    """Return the page, self-contained: no script, nothing loaded from anywhere."""
    return template_of(PAGE, styles=("detection.css",)).render(arranged(record)) + "\n"


def arranged(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template's values: the record, and its figures."""
    scored = list(record.get("scored") or [])
    seen = [row for row in scored if row.get("low") is not None]
    features = record.get("kind") == "features"
    shown = scored if features else seen
    scale = _gap_scale(shown, features)
    return {
        **record,
        "features": features,
        "rows": [{**row, "strip": _score_strip(row, scale, features)} for row in shown],
        "axis": strip_axis(scale, with_sign=False),
        "rest": [row for row in scored if row not in shown],
        "questions": [_question(answer) for answer in record.get("answers") or []],
        "implied": [_with_swatch(row) for row in record.get("implied") or []],
        "twins": _twins(scored),
        "probed": _probed(scored),
        "cut": any(_beyond(row, scale, features) for row in shown),
    }


def _value(row: Facts, features: bool) -> float | None:
    if features:
        return finite((row.get("diversity") or {}).get("variation"))
    return finite(row.get("gap"))


def _gap_scale(rows: Sequence[Facts], features: bool) -> Scale:
    """Return the axis from 0 to a few times the best value: a wrong range can be a hundred off."""
    values = [v for row in rows if (v := _value(row, features)) is not None]
    if not values:
        return Scale(0.0, 1.0, 2.0, 95.0)
    least, most = min(values), max(values)
    highs = [finite(row.get("high")) or 0.0 for row in rows if row.get("picked")]
    edge = most if features else min(1.06 * most, max(FAR * least, *highs, 0.02))
    return Scale(0.0, edge or 1.0, 2.0, 95.0)


def _beyond(row: Facts, scale: Scale, features: bool) -> bool:
    return (_value(row, features) or 0.0) > scale.high


def _score_strip(row: Facts, scale: Scale, features: bool) -> Markup:
    arm = PICKED if row.get("picked") else OTHER
    if features:
        value = _value(row, features) or 0.0
        back = [tag("line", class_="grid", x1=at(scale(t)), x2=at(scale(t)), y1=0, y2="100%")
                for t in scale.ticks()]  # fmt: skip
        width = at(scale(value) - scale(0.0))
        bar = tag("rect", class_=f"column {arm.colour}", x=at(scale(0.0)), y="50%", width=width,
                  height=8, transform="translate(0 -4)")  # fmt: skip
        return tag("svg", join([*back, bar]), class_="strip", aria_hidden="true")
    known = {"ci_low": row.get("low"), "ci_high": row.get("high"), "gap": row.get("gap")}
    return strip(known, scale, arm, value_key="gap", seeds_key="none")


def _question(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return one question with its values: how far each is behind the best one."""
    values = list(answer.get("values") or [])
    best = finite(values[0].get("gap")) if values else None
    needed = finite(answer.get("needed"))
    ends = [finite(v.get("behind")) or 0.0 for v in values]
    far = max([*ends, needed or 0.0], default=0.0)
    edge = min(1.15 * far, FAR * best) if best else 1.15 * far
    lows = [finite(v.get("low")) or 0.0 for v in values]
    scale = Scale(min([0.0, *(max(low, -edge) for low in lows)]), edge or 1.0, 2.0, 95.0)
    rows = [
        {**value, "first": k == 0, "strip": _behind_strip(value, scale, needed, k == 0)}
        for k, value in enumerate(values)
    ]
    return {**answer, "rows": rows, "axis": strip_axis(scale) if len(values) > 1 else ""}


def _behind_strip(value: Facts, scale: Scale, needed: float | None, first: bool) -> Markup:
    back: list[Markup] = []
    if needed:
        width = at(max(0.0, scale(needed) - scale(0.0)))
        back.append(tag("rect", class_="band", x=at(scale(0.0)), width=width, y=0, height="100%"))
    zero = at(scale(0.0))
    back += [tag("line", class_="grid", x1=at(scale(t)), x2=at(scale(t)), y1=0, y2="100%")
             for t in scale.ticks()]  # fmt: skip
    back.append(tag("line", class_="zero", x1=zero, x2=zero, y1=0, y2="100%"))
    known = {
        "ci_low": None if first else value.get("low"),
        "ci_high": None if first else value.get("high"),
        "behind": value.get("behind"),
    }
    arm = PICKED if first else OTHER
    front = strip(known, scale, arm, value_key="behind", seeds_key="none")
    return tag("svg", join([*back, front]), class_="strip", aria_hidden="true")


def _with_swatch(row: Mapping[str, Any]) -> dict[str, Any]:
    means = [finite(value) for value in row.get("mean") or []]
    return {**row, "swatch": _swatch(means, row.get("impossible"))}


def _twins(scored: Sequence[Facts]) -> list[tuple[str, str]]:
    """Return (scale that was not tried apart, scale that makes nearly the same input)."""
    found = {twin: str(row["scale"]) for row in scored for twin in row.get("twins") or []}
    return sorted(found.items())


def _swatch(means: Sequence[float | None], impossible: Any) -> Markup:
    """Return a square of the colour that the training images had on average."""
    known = [value for value in means if value is not None]
    if impossible or not known:
        cross = tag("path", class_="crossed", d="M3 3 15 15M15 3 3 15")
        return tag("svg", cross, class_="tone", width="18", height="18", aria_hidden="true")
    rgb = [round(255 * min(max(value, 0.0), 1.0)) for value in (known * 3)[:3]]
    fill = f"rgb({rgb[0]} {rgb[1]} {rgb[2]})"
    square = tag("rect", width=18, height=18, rx=2, style=f"fill:{fill}")
    return tag("svg", square, class_="tone", width="18", height="18", aria_hidden="true")


def _probed(scored: Sequence[Facts]) -> dict[str, Any]:
    rows = [dict(row) for row in scored if row.get("probe")]
    if not rows:
        return {}
    rows.sort(key=lambda row: float(row["probe"]["loss"]))
    ends = [abs(finite(row["probe"].get(k)) or 0.0) for row in rows for k in ("low", "high")]
    near = sorted(ends)[3 * len(ends) // 4] if ends else 0.0
    edge = max(0.02, 1.3 * near)
    low = min(finite(row["probe"].get("low")) or 0.0 for row in rows)
    scale = Scale(max(-edge, min(0.0, 1.1 * low)), edge, 2.0, 95.0)
    for row in rows:
        own = row["probe"]
        known = {"ci_low": own["low"], "ci_high": own["high"], "difference": own["difference"]}
        if own["low"] == own["high"]:
            known |= {"ci_low": None, "ci_high": None}
        arm = PICKED if row.get("picked") else OTHER
        row["probe_strip"] = strip(known, scale, arm, value_key="difference", seeds_key="none")
    return {"rows": rows, "axis": strip_axis(scale)}
