"""Answers to single questions, out of the candidates' gaps; "cannot tell" is one of them.

The images at hand are not those of the training, and that shifts every gap in a way that no
resampling of images or layers shows. So a value is picked only where it leads by CLEAR of its own
gap besides being ahead in the resampling: docs/detective.md measures what is left of errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radstart.weights.detective.candidates import Candidate, mirrored
from radstart.weights.detective.detection import Answer, Value
from radstart.weights.detective.first_layer import Remembered, implied
from radstart.weights.detective.observed import Floats

CLEAR = 0.20  # of the best gap: a lead below may be the images' doing
FITS = 1.2  # a larger gap says that nothing tried fits
ANSWERS_MORE = 0.015  # log ratio: a smaller difference of the later layers' answers says nothing
FEWEST_UNITS = 4  # images or patients: fewer cannot show the order of colours
BOUNDS = (0.025, 0.975)
RESAMPLED = 200


@dataclass(frozen=True, eq=False)
class Measured:
    """A candidate on all views.

    Attributes:
        candidate: what was tried.
        gaps: mean over layers of the gap, (1 + B,): all views and layers, then each resampling.
        response: of the later layers, in the same order.
    """

    candidate: Candidate
    gaps: Floats
    response: Floats

    @property
    def gap(self) -> float:
        """The gap over all views and layers."""
        return float(self.gaps[0])


def unanswered(question: str, values: Sequence[str]) -> Answer:
    """Return that nothing was seen that could answer a question."""
    left = tuple(dict.fromkeys(values))
    why = "this network has no batch norms that remember their input"
    return Answer(question, "", left, (), "", why)


def answer_by_gap(question: str, measured: Sequence[Measured]) -> Answer:
    """Return what the activations say to a question."""
    values, left = _ranked(question, measured)
    best = values[0]
    if len(values) == 1:
        return Answer(question, "", (best.value,), values, "", "nothing else was tried")
    if best.gap > FITS:
        every = tuple(value.value for value in values)
        why = f"nothing that was tried fits: the smallest gap is {best.gap:.2f} remembered"
        return Answer(question, "", every, values, "", f"{why} standard deviations")
    if len(left) == 1:
        why = f"gap {best.gap:.3f} against {values[1].gap:.3f} for {values[1].value}"
        return Answer(question, best.value, left, values, "activations", why)
    near = [value for value in values if value.value in left]
    listed = ", ".join(f"{v.value} {v.gap:.3f}" for v in near)
    lead = max(near[1].behind / max(best.gap, 1e-12), 0)
    why = f"{listed}: a lead of {lead:.0%}, and below {CLEAR:.0%} the images may be the reason"
    return Answer(question, "", left, values, "", why)


def _ranked(
    question: str, measured: Sequence[Measured]
) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    """Return the values, best first, and those that cannot be told from the best one."""
    gaps: dict[str, Floats] = {}
    for one in measured:
        value = one.candidate.value(question)
        gaps[value] = np.minimum(gaps[value], one.gaps) if value in gaps else one.gaps
    ordered = sorted(gaps, key=lambda value: float(gaps[value][0]))
    best = gaps[ordered[0]]
    values, left = [], []
    for value in ordered:
        behind = gaps[value] - best
        low, high = np.quantile(behind[1:], BOUNDS)
        numbers = (gaps[value][0], behind[0], low, high)
        values.append(Value(value, *map(float, numbers)))
        if low <= 0 or behind[0] < CLEAR * best[0]:
            left.append(value)
    return tuple(values), tuple(left)


def answer_scale(measured: Sequence[Measured], memory: Remembered | None) -> Answer:
    """Return what activations and the first layer say to the scale of the input.

    Scales under which the training images would have been darker than black, or flatter than any
    image, are out. Where the activations cannot tell the rest apart, one scale alone may make of
    the first layer's memory the means of ImageNet, or equal means of grey images.
    """
    answer = answer_by_gap("scale", measured)
    if memory is None:
        return answer
    possible = [m for m in measured if not implied(memory, m.candidate.convention).impossible]
    names = list(dict.fromkeys(m.candidate.scale for m in possible))
    like = {m.candidate.scale: _like(memory, m.candidate) for m in possible}
    likely = [name for name in names if like[name]]
    if answer.picked:
        against = names and answer.picked not in names
        if not against and (len(likely) != 1 or likely[0] == answer.picked):
            return answer
        said = "that is impossible" if against else f"{likely[0]} (means of {like[likely[0]]})"
        why = f"the activations say {answer.picked} ({answer.why}); by the first layer {said}"
        left = (answer.picked, *(n for n in likely or names if n != answer.picked))
        return replace(answer, picked="", left=left, by="", why=why)
    if len(names) == 1:
        why = "under every other one the training images would be none that exist"
        return replace(answer, picked=names[0], left=(names[0],), by="first layer", why=why)
    if possible:
        among = answer_by_gap("scale", possible)
        answer = replace(among, values=answer.values)
    if len(likely) == 1 and not answer.picked and likely[0] in answer.left:
        why = f"{_means(memory, likely[0], possible)}: those of {like[likely[0]]}"
        return replace(answer, picked=likely[0], left=(likely[0],), by="first layer", why=why)
    if len(likely) == 1 and answer.picked not in ("", likely[0]):
        why = f"the activations say {answer.picked}, the first layer {likely[0]}"
        return replace(answer, picked="", left=(answer.picked, likely[0]), by="", why=why)
    return answer


def _like(memory: Remembered, candidate: Candidate) -> str:
    """Return what the training images were like under a scale, in either order of channels."""
    orders = [candidate, mirrored(candidate)] if candidate.order != "grey" else [candidate]
    known = next((k for o in orders if (k := implied(memory, o.convention).like)), "")
    return {"photographs": "ImageNet's photographs", "grey": "grey images"}.get(known, "")


def _means(memory: Remembered, scale: str, measured: Sequence[Measured]) -> str:
    own = next(m.candidate for m in measured if m.candidate.scale == scale)
    known = implied(memory, own.convention)
    if not known.like:
        known = implied(memory, mirrored(own).convention)
    means = " ".join(f"{value:.2f}" for value in known.mean)
    return f"under it the training images had the means {means} and a spread of {known.spread:.2f}"


def answer_order(measured: Sequence[Measured], memory: Remembered | None, coloured: bool) -> Answer:
    """Return what the first layer and the later ones say to the order of the channels.

    The gap hardly depends on the order. But a network's later layers answer more strongly to
    colours as it knows them, and the first layer may remember more red than blue, as
    photographs have it.
    """
    values, _ = _ranked("order", measured)
    by_memory, why_memory = _order_remembered(measured, memory)
    by_layers, why_layers = _order_answered(measured) if coloured else ("", "")
    if by_memory and by_layers and by_memory != by_layers:
        both = tuple(value.value for value in values)
        return Answer("order", "", both, values, "", f"{why_memory}, but {why_layers}")
    if by_memory:
        return Answer("order", by_memory, (by_memory,), values, "first layer", why_memory)
    if by_layers:
        return Answer("order", by_layers, (by_layers,), values, "late layers", why_layers)
    why = why_layers or "the later layers answer alike"
    why = why if coloured else "grey images cannot show it"
    return Answer("order", "", ("RGB", "BGR"), values, "", why)


def _order_remembered(measured: Sequence[Measured], memory: Remembered | None) -> tuple[str, str]:
    """Return the order that makes ImageNet's means of the first layer's memory, if one does."""
    if memory is None or len(memory.mean) != 3:
        return "", ""
    best = min(measured, key=lambda m: m.gap).candidate
    found = {one.order: implied(memory, one.convention) for one in (best, mirrored(best))}
    like = [order for order, known in found.items() if known.like == "photographs"]
    if len(like) != 1:
        return "", ""
    means = " ".join(f"{value:.2f}" for value in found[like[0]].mean)
    return like[0], f"under {like[0]} the training images had ImageNet's means ({means})"


def _order_answered(measured: Sequence[Measured]) -> tuple[str, str]:
    """Return the order to which the later layers of the best candidate answer more strongly."""
    pairs = [
        (one, other)
        for one in measured
        for other in measured
        if one.candidate.scale == other.candidate.scale
        and one.candidate.switches == other.candidate.switches
        and (one.candidate.order, other.candidate.order) == ("RGB", "BGR")
    ]
    if not pairs:
        return "", ""
    rgb, bgr = min(pairs, key=lambda pair: min(pair[0].gap, pair[1].gap))
    more = rgb.response - bgr.response
    low, high = np.quantile(more[1:], BOUNDS)
    said = f"later layers answer by {more[0]:+.3f} [{low:+.3f}, {high:+.3f}] more to RGB"
    if low > 0 and more[0] >= ANSWERS_MORE:
        return "RGB", said
    if high < 0 and more[0] <= -ANSWERS_MORE:
        return "BGR", said
    return "", said
