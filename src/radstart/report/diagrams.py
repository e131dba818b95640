"""Figures of the cases: reliability diagrams, and each arm's score of one case."""

from collections.abc import Sequence

from markupsafe import Markup

from radstart.report import words
from radstart.report.figures import LEFT, STRIP, Arm, Facts, Panel, Scale, at, mark, tag
from radstart.report.words import finite

WIDTH, HEIGHT = 300.0, 318.0  # so that both axes of a reliability diagram are of one length
SHARE = (0.0, 1.0)


def reliability_panel(row: Facts, arm: Arm, said: str) -> Markup:
    """Return a reliability diagram: bins of equal count against the diagonal.

    Args:
        row: one entry of `calibration`.
        arm: whose it is.
        said: what the upright axis is compared with, the name of the lower axis.
    """
    x, y = Scale(*SHARE, LEFT + 4, WIDTH - 8), Scale(*SHARE, HEIGHT - 42, 22)
    panel = Panel(x, y, WIDTH, HEIGHT, most=6)
    ticks = [(x(value), words.number(value, 1)) for value in x.ticks(6)]
    parts = panel.frame(ticks, "share that came true", said)
    ideal = tag("line", class_="ideal", x1=x.start, y1=y.start, x2=x.end, y2=y.end)
    parts.append(ideal)
    spoken = []
    for one in row.get("bins") or []:
        predicted, observed = finite(one.get("predicted")), finite(one.get("observed"))
        if predicted is None or observed is None:
            continue
        across, up = x(predicted), y(observed)
        parts += [
            *_span(arm, x, one.get("low"), one.get("high"), up, upright=False),
            *_span(arm, y, one.get("ci_low"), one.get("ci_high"), across, upright=True),
            mark(arm, across, up),
        ]
        spoken.append(f"{words.number(predicted, 2)}: {words.number(observed, 2)}")
    return panel.svg(parts, f"{arm.name}, predicted: came true. {'; '.join(spoken)}.")


def _span(
    arm: Arm, scale: Scale, low: object, high: object, place: float, upright: bool
) -> Sequence[Markup]:
    """Return a line from low to high: an interval upright, a bin's range of scores lying."""
    first, last = finite(low), finite(high)
    if first is None or last is None:
        return []
    a, b = scale(first), scale(last)
    if upright:
        return [tag("line", class_=f"bar {arm.colour}", x1=place, x2=place, y1=a, y2=b)]
    return [tag("line", class_=f"trend {arm.colour}", x1=a, x2=b, y1=place, y2=place)]


def score_strip(score: object, arm: Arm) -> Markup:
    """Return a line from 0 to 1 with the arm's marker at its score of the true class."""
    known, scale = finite(score), Scale(*SHARE, *STRIP)
    parts = [tag("line", class_="foot", x1=at(STRIP[0]), x2=at(STRIP[1]), y1="50%", y2="50%")]
    for end in (*SHARE, 0.5):
        x = at(scale(end))
        parts.append(tag("line", class_="foot", x1=x, x2=x, y1="30%", y2="70%"))
    if known is not None:
        moved = tag("svg", mark(arm, at(scale(known)), 0.0), y="50%", overflow="visible")
        parts.append(moved)
    return tag("svg", Markup("").join(parts), class_="score", height="14", aria_hidden="true")
