"""The page of `radstart inspect`: what is wrong with a dataset, with pictures. Computes nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from radstart.core.files import write_text
from radstart.report import words
from radstart.report.cases import PICTURE
from radstart.report.figures import Arm, Facts, Scale, at, join, strip, strip_axis, tag
from radstart.report.template import template_of
from radstart.report.words import finite

PAGE = "inspection.html"
SETS = 12  # groups, pairs or single images of one kind that are shown
MOST = 60  # rows of a table
TELLS, WEAK = Arm("tells", 2), Arm("weak", 0)
MANY = 10  # images of a class whose corners say something
FIRST = 3  # names of images that show the same
PLAIN = ("origin", "dtype", "channels")  # not worth a line where all images agree


def write_inspection_page(
    facts: Mapping[str, Any], path: Path, pictures: Mapping[str, str] | None = None
) -> Path:
    """Write the page, whole or not at all; return its path.

    Args:
        facts: of `inspect_dataset`, or facts.json as read.
        path: of the HTML file; its folder is made.
        pictures: data URIs by image; none = a page without pictures.
    """
    write_text(path, render_inspection(facts, pictures))
    return path


def render_inspection(facts: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """Return the page, self-contained: no script, nothing loaded from anywhere."""
    return (
        template_of(PAGE, styles=("inspection.css",)).render(arranged(facts, pictures or {})) + "\n"
    )


def arranged(facts: Mapping[str, Any], pictures: Mapping[str, str]) -> dict[str, Any]:
    """Return the template's values: the facts, their figures and pictures."""
    shown = {name: uri for name, uri in pictures.items() if PICTURE.fullmatch(uri)}
    findings = list(facts.get("findings") or [])
    classes = list(facts.get("classes") or [])
    near = dict(facts.get("near_duplicates") or {})
    return {
        **facts,
        "pictures": shown,
        "blocking": [one for one in findings if one.get("level") == "blocking"],
        "warnings": [one for one in findings if one.get("level") == "warning"],
        "notes": [one for one in findings if one.get("level") == "note"],
        "classes": classes,
        "levels": [_histogram(one) for one in classes[:MOST]],
        "bars": _bars(classes),
        "montage": facts.get("montage") or [],
        "conflicts": _sets(facts.get("label_conflicts"), "labels", shown),
        "near_conflicts": _sets(near.get("across_labels"), "between", shown),
        "divided": [_division(one, facts, shown) for one in facts.get("divisions") or []],
        "near": near,
        "turned": _sets((facts.get("turned_copies") or {}).get("examples"), "", shown),
        "featured": _sets((facts.get("feature_copies") or {}).get("examples"), "between", shown),
        "probes": _probes(list(facts.get("shortcuts") or [])),
        "giveaways": list(facts.get("giveaways") or [])[:MOST],
        "corners": [one for one in classes if _constant_corner(one)],
        "odd": (facts.get("outliers") or {}).get("examples") or [],
        "against": _against(facts.get("against"), shown),
        "attributes": {
            name: one
            for name, one in (facts.get("attributes") or {}).items()
            if name not in PLAIN or one.get("distinct", 2) > 1
        },
        "most": MOST,
        "sets": SETS,
    }


def _sets(found: Sequence[Facts] | None, beside: str, shown: Mapping[str, str]) -> dict[str, Any]:
    """Return groups of images to be shown side by side, each with what stands beside it."""
    found = list(found or [])
    sets = []
    for one in found[:SETS]:
        images = list(one.get("images") or [])
        said = list(one.get(beside) or [""] * len(images)) if beside else [""] * len(images)
        if not one.keys() & {"correlation", "cosine"}:  # identical: one picture is all
            picture = next((shown[image] for image in images if image in shown), None)
            sets.append({**one, "picture": picture, "named": _named(images, said)})
            continue
        tiles = [
            {"image": image, "said": text, "picture": shown.get(image)}
            for image, text in zip(images, said, strict=True)
        ]
        sets.append({**one, "how": _how(one), "tiles": tiles})
    return {"sets": sets, "all": found[:MOST], "count": len(found)}


def _named(images: Sequence[Any], said: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what is said of the images of one picture, each with its first images."""
    own: dict[Any, list[Any]] = {}
    for image, text in zip(images, said, strict=True):
        own.setdefault(text, []).append(image)
    return [
        {"said": text, "images": names[:FIRST], "more": max(0, len(names) - FIRST)}
        for text, names in own.items()
    ]


def _how(one: Facts) -> str:
    """Return how two pictures are alike, in words."""
    kind = "cosine" if "cosine" in one else "correlation"
    value = finite(one.get(kind))
    if value is None:
        return ""
    said = [f"{kind} {words.number(value)}"]
    if "suspected" in one:
        said.append("suspected" if one["suspected"] else "not suspected")
    degrees = finite(one.get("degrees"))
    if degrees is not None and one.get("mirrored"):
        turned = {0: "upside down", 180: "left to right"}.get(round(abs(degrees)), "and turned")
        said.insert(0, f"mirrored {turned}")
    elif degrees is not None:
        said.insert(0, f"turned by {words.brief(abs(degrees))}°")
    if one.get("same_unit"):
        said.append("same unit")
    return ", ".join(said)


def _division(one: Facts, facts: Mapping[str, Any], shown: Mapping[str, str]) -> dict[str, Any]:
    name = one.get("division")
    copies = [d for d in facts.get("duplicates_across_parts") or [] if d.get("division") == name]
    units = [u for u in facts.get("units_in_several_parts") or [] if u.get("division") == name]
    near = [
        pair
        for other in (facts.get("near_duplicates") or {}).get("across_parts") or []
        if other.get("division") == name
        for pair in other.get("pairs") or []
    ]
    title = str(name) if str(name).startswith("splits/") else f"The {name}"
    return {
        **one,
        "title": title,
        "pairs": [pair for pair in one.get("pairs") or [] if pair.get("units")],
        "people": units,
        "copies": _sets(copies, "parts", shown),
        "near": _sets(near, "between", shown),
    }


def _histogram(one: Facts) -> dict[str, Any]:
    """Return a class with its intensities as a small figure."""
    shares = [finite(v) or 0.0 for v in one.get("histogram") or []]
    return {**one, "figure": _area(shares, str(one.get("name")))}


def _area(shares: Sequence[float], name: str) -> Markup:
    """Return shares as an area; black or white alone would flatten the rest, so roots are drawn."""
    if not shares:
        return Markup("")
    wide, high = 320.0, 64.0
    roots = [share**0.5 for share in shares]
    top = max(roots) or 1.0
    step = wide / len(shares)
    parts = []
    for k, root in enumerate(roots):
        tall = high * root / top
        parts.append(
            tag("rect", x=k * step, y=high - tall, width=step - 1.0, height=tall, class_="level")
        )
    foot = tag("line", class_="foot", x1=0, x2=wide, y1=high, y2=high)
    return tag(
        "svg", join([*parts, foot]), class_="levels", viewBox=f"0 0 {wide:g} {high:g}",
        preserveAspectRatio="none",
        role="img", aria_label=f"Shares of pixels from black to white, {name}",
    )  # fmt: skip


def _bars(classes: Sequence[Facts]) -> list[dict[str, Any]]:
    """Return every class with a bar of its images."""
    most = max((finite(one.get("images")) or 0.0 for one in classes), default=0.0) or 1.0
    rows = []
    for one in classes[:MOST]:
        width = at(100 * (finite(one.get("images")) or 0.0) / most)
        bar = tag("rect", class_="column a1", x=0, y="50%", width=width, height=10,
                  transform="translate(0 -5)")  # fmt: skip
        rows.append({**one, "bar": tag("svg", bar, class_="strip", aria_hidden="true")})
    return rows


def _probes(rows: Sequence[Facts]) -> list[dict[str, Any]]:
    """Return, for every question, its probes, the most telling first, on one axis."""
    ends = [finite(row.get(key)) for row in rows for key in ("auroc", "ci_low", "ci_high")]
    low = min([0.45, *(end for end in ends if end is not None)])
    scale = Scale(max(0.0, low - 0.02), 1.0, 2.0, 98.0)
    groups: dict[str, list[Facts]] = {}
    for row in rows:
        groups.setdefault(str(row.get("question")), []).append(row)
    found = []
    for question, own in groups.items():
        own = sorted(own, key=lambda row: -(finite(row.get("auroc")) or 0.0))
        arranged_rows = [{**row, "strip": _strip(row, scale)} for row in own]
        found.append({"question": question, "rows": arranged_rows,
                      "axis": strip_axis(scale, with_sign=False)})  # fmt: skip
    return found


def _strip(row: Facts, scale: Scale) -> Markup:
    arm = TELLS if row.get("verdict") in ("strong", "clear") else WEAK
    chance = at(scale(0.5))
    zero = tag("line", class_="zero", x1=chance, x2=chance, y1=0, y2="100%")
    front = strip(row, scale, arm, value_key="auroc", seeds_key="none")
    return tag("svg", join([zero, front]), class_="strip", aria_hidden="true")


def _constant_corner(one: Facts) -> bool:
    return (one.get("images") or 0) >= MANY and (one.get("corner") or {}).get("share", 0) >= 0.5


def _against(found: Facts | None, shown: Mapping[str, str]) -> dict[str, Any] | None:
    if not found:
        return None
    matches = []
    for one in list(found.get("matches") or [])[:SETS]:
        tiles = [{"image": one.get("image"), "said": "here", "picture": shown.get(one["image"])}]
        if one.get("other"):
            picture = shown.get(f"other {one['other']}")
            tiles.append({"image": one["other"], "said": "there", "picture": picture})
        matches.append({**one, "tiles": tiles})
    parts = sorted({
        (division, part)
        for kind in ("exact", "near", "perhaps")
        for division, counts in ((found.get(kind) or {}).get("by_part") or {}).items()
        for part in counts
    })  # fmt: skip
    return {**found, "shown": matches, "part_names": parts}
