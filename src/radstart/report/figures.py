"""Figures as inline SVG, coloured by the page's CSS variables (light, dark, paper).

Two kinds: *strips*, one row of a table with positions in per cent, which fit any width with text
of constant size; and *panels*, small multiples of a fixed drawing width. Figures place the
numbers of the facts and derive none.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape

from radstart.report import words
from radstart.report.words import finite

LEFT = 44.0  # room for the numbers of a panel's upright axis
COLOURS, SHAPES = 8, 8  # of page.css (.a0 ...) and of the <defs> of page.html (#s0 ...)
STRIP = (5.0, 95.0)  # per cent of a strip's width that its axis takes
POINTS = 240  # a drawn curve keeps at most this many of its points
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """An arm's place in the page: the same colour and shape in every figure."""

    name: str
    index: int

    @property
    def colour(self) -> str:
        """Return the CSS class of its colour; the first arm is the neutral one."""
        return f"a{self.index if self.index < COLOURS else 1 + (self.index - 1) % (COLOURS - 1)}"

    @property
    def shape(self) -> str:
        """Return the id of its marker; beyond eight arms colours repeat, pairs do not."""
        return f"s{(self.index + self.index // COLOURS) % SHAPES}"


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic axis from values to positions."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of `value`, kept inside the axis."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 7) -> list[float]:
        """Return round values on the axis, at most `most`."""
        if self.log:
            for mantissas in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
                decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
                found = [m * 10.0**d for d in [*decades, decades.stop] for m in mantissas]
                found = [value for value in found if self.low <= value <= self.high]
                if len(found) <= most:
                    break
            return found[:: 1 + (len(found) - 1) // most]
        if self.high <= self.low:
            return [self.low]
        power = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        for step in (power, 2 * power, 2.5 * power, 5 * power, 10 * power, 20 * power):
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            if last - first < most:
                break
        return [round(k * step, 12) for k in range(first, last + 1)]


def tag(name: str, content: str = "", /, **attributes: Any) -> Markup:
    """Return one element; names lose a final underscore, others become hyphens."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None:
            continue
        shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(shown)}"')
    return Markup("".join(parts) + f">{escape(content)}</{name}>")  # every part is escaped


def join(parts: Iterable[Markup]) -> Markup:
    """Return the elements one after the other."""
    return Markup("").join(parts)


def values_of(rows: Iterable[Facts], keys: Sequence[str]) -> list[float]:
    """Return every finite number under `keys`, lists opened."""
    found: list[float | None] = []
    for row in rows:
        for key in keys:
            value = row.get(key)
            found += [finite(v) for v in value] if isinstance(value, list) else [finite(value)]
    return [value for value in found if value is not None]


def domain(values: Sequence[float], pad: float = 0.04) -> tuple[float, float]:
    """Return a range around the values with some room."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * pad or 0.02
    return low - room, high + room


def decimals(ticks: Sequence[float]) -> int:
    """Return how many decimals tell the ticks apart."""
    return next((d for d in range(5) if all(abs(t - round(t, d)) < 1e-9 for t in ticks)), 5)


def jitter(index: int, width: float) -> float:
    """Return a deterministic offset in +-width/2 that keeps neighbours apart."""
    return ((index * 0.618034 + 0.5) % 1.0 - 0.5) * width


def mark(arm: Arm, x: Any, y: float, kind: str = "mark") -> Markup:
    """Return the arm's marker."""
    return tag("use", href=f"#{arm.shape}", x=x, y=y, class_=f"{kind} {arm.colour}")


def key(arm: Arm) -> Markup:
    """Return the arm's marker as a small picture for running text and tables."""
    inside = mark(arm, 7.0, 7.0)
    return tag("svg", inside, class_="key", width="14", height="14", aria_hidden="true")


# Strips ---------------------------------------------------------------------------------------


def difference_scale(rows: Sequence[Facts], margin: float | None) -> Scale:
    """Return the shared axis of a forest: every estimate and seed, zero, the margin.

    Intervals too, but one that reaches far beyond three quarters of the others is cut, and drawn
    with an arrow: else one wide interval hides all others.
    """
    shown = values_of(rows, ("difference", "seed_differences"))
    shown += [0.0, -1.25 * (margin or 0.0), 1.25 * (margin or 0.0)]
    ends = values_of(rows, ("ci_low", "ci_high"))
    reach = sorted(map(abs, ends))[3 * len(ends) // 4] if ends else 0.0
    edge = max(0.01, 2.5 * reach, *map(abs, shown))
    low, high = domain(shown + [min(max(end, -edge), edge) for end in ends])
    return Scale(low, high, *STRIP)


def value_scale(rows: Sequence[Facts]) -> Scale:
    """Return the shared axis of a table of metric values."""
    low, high = domain(values_of(rows, ("value", "ci_low", "ci_high", "seed_values")))
    return Scale(low, high, *STRIP)


def at(position: float) -> str:
    """Return a position in per cent."""
    return f"{position:.2f}%"


def strip(
    row: Facts,
    scale: Scale,
    arm: Arm,
    value_key: str = "difference",
    seeds_key: str = "seed_differences",
    margin: float | None = None,
) -> Markup:
    """Return one row of a forest: interval, estimate, and every seed as a point below it."""
    back = [_upright(scale(tick), "grid") for tick in scale.ticks()]
    if value_key == "difference":
        if margin:
            width = at(scale(margin) - scale(-margin))
            left = at(scale(-margin))
            band = tag("rect", class_="band", x=left, width=width, y=0, height="100%")
            back.insert(0, band)
        back.append(_upright(scale(0.0), "zero"))
    parts: list[Markup] = []
    low, high = finite(row.get("ci_low")), finite(row.get("ci_high"))
    if low is not None and high is not None:
        left, right = at(scale(low)), at(scale(high))
        parts.append(tag("line", class_=f"bar {arm.colour}", x1=left, x2=right, y1=-5, y2=-5))
        for x, arrow in (
            (left, "left" if low < scale.low else "end"),
            (right, "right" if high > scale.high else "end"),
        ):
            parts.append(tag("use", class_=f"bar {arm.colour}", href=f"#{arrow}", x=x, y=-5))
    for index, seed in enumerate(row.get(seeds_key) or []):
        known = finite(seed)
        if known is not None:
            y = 6.5 + jitter(index, 5.0)
            parts.append(tag("circle", class_=f"seed {arm.colour}", cx=at(scale(known)), cy=y, r=2))
    middle = finite(row.get(value_key))
    if middle is not None:
        parts.append(mark(arm, at(scale(middle)), -5.0))
    front = tag("svg", join(parts), y="50%", overflow="visible")
    return tag("svg", join([*back, front]), class_="strip", aria_hidden="true")


def _upright(x: float, kind: str) -> Markup:
    return tag("line", class_=kind, x1=at(x), x2=at(x), y1=0, y2="100%")


def strip_axis(scale: Scale, with_sign: bool = True) -> Markup:
    """Return the numbers that stand above or below the rows of a forest."""
    ticks = scale.ticks()
    digits, parts = decimals(ticks), []
    for tick in ticks:
        shown = words.signed(tick, digits) if with_sign else words.number(tick, digits)
        parts.append(tag("text", shown, x=at(scale(tick)), y=13, text_anchor="middle"))
    return tag("svg", join(parts), class_="strip axis", height="18", aria_hidden="true")


def share_bar(share_seeds: Any, share_patients: Any) -> Markup:
    """Return a bar of two parts: how much of the variance seeds and patients bring."""
    seeds, patients = finite(share_seeds), finite(share_patients)
    if seeds is None or patients is None:
        return Markup("")
    seeds, patients = 100 * min(max(seeds, 0.0), 1.0), 100 * min(max(patients, 0.0), 1.0)
    left = tag("rect", class_="of-seeds", x=0, y=0, width=at(seeds), height="100%")
    right = tag("rect", class_="of-patients", x=at(seeds), y=0, width=at(patients), height="100%")
    return tag("svg", left + right, class_="shares", width="72", height="10", aria_hidden="true")


# Panels ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """The drawing area of one small multiple and its axes."""

    x: Scale
    y: Scale
    width: float
    height: float
    most: int = 5  # numbers on the upright axis

    def frame(
        self, x_ticks: Sequence[tuple[float, str]], y_label: str, x_label: str
    ) -> list[Markup]:
        """Return grid, axis numbers (those that would touch are left out) and axis names."""
        ticks = self.y.ticks(self.most)
        digits, parts = decimals(ticks), []
        left, right, foot = LEFT, self.width - 2.0, self.y.start
        for tick in ticks:
            y = self.y(tick)
            parts.append(tag("line", class_="grid", x1=left, x2=right, y1=y, y2=y))
            shown = words.number(tick, digits) if not self.y.log else words.setting(tick)
            parts.append(tag("text", shown, x=left - 5, y=y + 3.5, text_anchor="end"))
        parts.append(tag("line", class_="foot", x1=left, x2=right, y1=foot, y2=foot))
        used = -math.inf
        for x, shown in x_ticks:
            parts.append(tag("line", class_="foot", x1=x, x2=x, y1=foot, y2=foot + 4))
            half = 3.4 * len(shown)
            if x - half > used + 3:
                middle = min(x, self.width - half)
                parts.append(tag("text", shown, x=middle, y=foot + 16, text_anchor="middle"))
                used = middle + half
        parts.append(tag("text", y_label, class_="name", x=2, y=11))
        centre = (left + right) / 2
        name = tag("text", x_label, class_="name", x=centre, y=foot + 33, text_anchor="middle")
        return [*parts, name]

    def svg(self, parts: Sequence[Markup], alt: str) -> Markup:
        """Return the panel with its description."""
        return tag(
            "svg",
            join(parts),
            class_="panel",
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            role="img",
            aria_label=alt,
            style=f"min-width:{min(self.width, 330):g}px"
            if self.width <= 360
            else f"min-width:{self.width:g}px",
        )


def _panel(
    x_values: Sequence[float],
    y_range: tuple[float, float],
    width: float,
    height: float,
    log: tuple[bool, bool],
    inset: float = 8.0,
) -> Panel:
    x = Scale(min(x_values), max(x_values), LEFT + inset, width - 2 - inset, log[0])
    return Panel(
        x, Scale(*y_range, height - 42, 22, log[1]), width, height, 7 if height > 250 else 5
    )


def crowded(rows: Sequence[Facts]) -> bool:
    """Return whether a policy has so many intervals that its panel takes the page's width."""
    return len({(row.get("arm"), row.get("budget")) for row in rows}) > 15


def budget_panel(
    rows: Sequence[Facts], all_rows: Sequence[Facts], arms: Sequence[Arm], metric: str
) -> Markup:
    """Return one policy's metric against the budget, with intervals and every seed.

    Args:
        rows: results of the policy, one metric.
        all_rows: results of all policies, which share the axes.
        arms: in the page's order.
        metric: its name.
    """
    budgets = sorted(set(values_of(all_rows, ("budget",))))
    y_range = domain(values_of(all_rows, ("value", "ci_low", "ci_high", "seed_values")))
    width = 360.0 if not crowded(all_rows) else 940.0
    log = budgets[0] > 0 and budgets[-1] / budgets[0] >= 4
    slot = min(len(arms) * 20.0, 0.86 * (width - 60) / len(budgets))
    panel = _panel(budgets, y_range, width, 270, (log, False), inset=slot / 2 + 6)
    places = [panel.x(value) for value in budgets]
    gap = min((b - a for a, b in pairwise(places)), default=slot)
    step = min(slot, 0.9 * gap) / len(arms)
    ticks = [(panel.x(value), words.budget(value)) for value in budgets]
    shares = budgets[-1] <= 1
    parts = panel.frame(ticks, metric, f"{'share of the ' if shares else ''}labelled data")
    spoken = []
    for place, arm in enumerate(arms):
        shift = (place - (len(arms) - 1) / 2) * step
        own = sorted(
            (r for r in rows if r.get("arm") == arm.name and finite(r.get("value")) is not None),
            key=lambda r: float(r["budget"]),
        )
        line = [(panel.x(r["budget"]) + shift, panel.y(r["value"])) for r in own]
        if len(line) > 1:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
            parts.append(tag("polyline", class_=f"trend {arm.colour}", points=points))
        for row, (x, y) in zip(own, line, strict=True):
            parts += _whisker(row, panel, arm, x, y, step)
            shown = f"{words.budget(row['budget'])} {words.number(row['value'])}"
            spoken.append(f"{arm.name} at {shown}")
    policy = rows[0].get("policy", "") if rows else ""
    return panel.svg(parts, f"{metric} against budget, policy {policy}: {'; '.join(spoken)}.")


def _whisker(row: Facts, panel: Panel, arm: Arm, x: float, y: float, step: float) -> list[Markup]:
    parts = []
    for index, seed in enumerate(row.get("seed_values") or []):
        known = finite(seed)
        if known is not None:
            at_x = x + 0.4 * step + jitter(index, 0.3 * step)  # beside the bar, not under it
            parts.append(
                tag("circle", class_=f"seed {arm.colour}", cx=at_x, cy=panel.y(known), r=1.8)
            )
    low, high = finite(row.get("ci_low")), finite(row.get("ci_high"))
    if low is not None and high is not None:
        ends = panel.y(low), panel.y(high)
        parts.append(tag("line", class_=f"bar {arm.colour}", x1=x, x2=x, y1=ends[0], y2=ends[1]))
    return [*parts, mark(arm, x, y)]


def _loss_range(values: Sequence[float]) -> tuple[tuple[float, float], bool]:
    """Return the range of a loss axis and whether it is logarithmic (wide, and all positive)."""
    if not values:
        return (0.0, 1.0), False
    low, high = min(values), max(values)
    if low > 0 and high / low > 4:
        return (low / 1.08, high * 1.08), True
    return domain(values, 0.08), False


def grid_panel(rows: Sequence[Facts], arms: Sequence[Arm]) -> Markup:
    """Return validation loss against the setting that was tried, one line per arm."""
    y_range, log = _loss_range(values_of(rows, ("validation_loss",)))
    tried = sorted(set(values_of(rows, ("value",)))) or [1.0]
    step = min(9.0, 150.0 / (len(tried) * len(arms)))  # arms side by side, as above
    panel = _panel(tried, y_range, 360, 210, (tried[0] > 0, log), 12 + step * len(arms) / 2)
    ticks = [(panel.x(value), words.setting(value)) for value in tried]
    name = words.SETTINGS.get(str(rows[0].get("setting")), str(rows[0].get("setting")))
    parts, spoken = panel.frame(ticks, "validation loss", name), []
    for place, arm in enumerate(arms):
        shift = (place - (len(arms) - 1) / 2) * step
        own = [r for r in rows if r.get("arm") == arm.name and finite(r.get("value")) is not None]
        own.sort(key=lambda r: float(r["value"]))
        known = [r for r in own if finite(r.get("validation_loss")) is not None]
        line = [(panel.x(r["value"]) + shift, panel.y(r["validation_loss"])) for r in known]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        parts.append(tag("polyline", class_=f"trend {arm.colour}", points=points))
        for row, (x, y) in zip(known, line, strict=True):
            if row.get("chosen"):
                parts.append(tag("circle", class_=f"chosen {arm.colour}", cx=x, cy=y, r=8.5))
                spoken.append(f"{arm.name} {words.setting(row['value'])}")
            parts.append(
                mark(arm, x, y, "mark hollow" if row.get("converged") is False else "mark")
            )
        for row in own:
            if row not in known:  # no finite loss: at the upper edge
                use = tag(
                    "use",
                    class_=f"bar {arm.colour}",
                    href="#failed",
                    x=panel.x(row["value"]) + shift,
                    y=panel.y.end,
                )
                parts.append(use)
    return panel.svg(parts, f"Validation loss against {name}; chosen: {', '.join(spoken)}.")


def curve_panel(rows: Sequence[Facts], arms: Sequence[Arm]) -> Markup:
    """Return validation loss against steps for the chosen run of every seed."""
    steps = values_of(rows, ("step",)) or [0.0, 1.0]
    y_range, log = _loss_range(values_of(rows, ("validation_loss",)))
    panel = _panel([0.0, max(steps)], y_range, 360, 210, (False, log), inset=4)
    ticks = [(panel.x(value), words.count(value)) for value in panel.x.ticks(5)]
    parts = panel.frame(ticks, "validation loss", "steps")
    drawn = [_curve(row, panel, arm) for arm in arms for row in rows if row.get("arm") == arm.name]
    dense = "lines dense" if len(drawn) > 20 else "lines"
    parts.append(tag("g", join(part for curve in drawn for part in curve), class_=dense))
    names = ", ".join(arm.name for arm in arms if any(r.get("arm") == arm.name for r in rows))
    return panel.svg(parts, f"Validation loss against steps, {len(rows)} runs of {names}.")


def _curve(row: Facts, panel: Panel, arm: Arm) -> list[Markup]:
    steps, losses = row.get("step") or [], row.get("validation_loss") or []
    rates = row.get("rate") or []
    known = [
        (i, panel.x(float(step)), panel.y(float(loss)))
        for i, (step, loss) in enumerate(zip(steps, losses, strict=False))
        if finite(step) is not None and finite(loss) is not None
    ]
    if not known:
        return []
    stride = 1 + len(known) // POINTS
    drawn = [*known[:-1:stride], known[-1]]
    points = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in drawn)
    parts = [tag("polyline", class_=f"curve {arm.colour}", points=points)]
    for i, x, y in known:
        rate = [finite(value) for value in rates[max(i - 1, 0) : i + 1]]
        if len(rate) == 2 and rate[0] and rate[1] is not None and rate[1] < 0.75 * rate[0]:
            parts.append(tag("line", class_=f"drop {arm.colour}", x1=x, x2=x, y1=y - 5, y2=y + 5))
    _, x, y = known[-1]
    end = "mark hollow small" if row.get("converged") is False else "mark small"
    return [*parts, tag("circle", class_=f"{end} {arm.colour}", cx=x, cy=y, r=2.6)]
