"""The convention detective: which input, activation and padding fit what batch norms remember.

It tries every plausible scale with every value of the switches that no tensor reveals on a few
views of the images, then the best ones and the best with each other value on all of them. What is
said is said question by question, and only where the best value leads the others clearly:
docs/detective.md says how far that can be trusted, measured.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from radstart.backbones import Backbone, Switch, alternatives, build
from radstart.core.progress import Progress
from radstart.core.random import stream
from radstart.weights.convention import Convention, apply_convention
from radstart.weights.detective.answers import (
    BOUNDS,
    RESAMPLED,
    Measured,
    answer_by_gap,
    answer_order,
    answer_scale,
    unanswered,
)
from radstart.weights.detective.candidates import (
    REFINED,
    Candidate,
    Switches,
    is_coloured,
    mirrored,
    questions,
    scale_candidates,
    scale_name,
    switch_choices,
)
from radstart.weights.detective.collapse import collapsed, diversity
from radstart.weights.detective.detection import Answer, Detection, Scored
from radstart.weights.detective.first_layer import Remembered, implied, remembered
from radstart.weights.detective.observed import Floats, Seen, distances, late, norms_of, remade, see

Load = Callable[[Backbone], nn.Module]
FIRST_LOOK = 16  # views on which everything is tried
FINALISTS = 4  # best candidates that are looked at again whatever they answer


@dataclass(frozen=True, eq=False)
class _Case:
    """What all candidates are held against.

    Attributes:
        load: gives the network with these switches and the file's tensors, evaluation mode, CPU.
        backbone: as stated.
        views: uint8 (N, S, S) or (N, S, S, 3).
        weights: of the views in every resampling of their units, float64 (1 + RESAMPLED, N); the
            first row weighs all alike.
        seed: of the resampling.
        device: where the networks compute.
        progress: shown meanwhile.
    """

    load: Load
    backbone: Backbone
    views: NDArray[np.uint8]
    weights: Floats
    seed: int
    device: str
    progress: Progress

    def tried(
        self, what: str, candidates: Sequence[Candidate], views: NDArray[np.uint8]
    ) -> Iterator[tuple[Candidate, tuple[Seen, ...]]]:
        """Yield each candidate and what the norms see under it, network by network."""
        with self.progress.task(what, len(candidates)) as task:
            for switches in dict.fromkeys(candidate.switches for candidate in candidates):
                own = [candidate for candidate in candidates if candidate.switches == switches]
                model = self.load(own[0].backbone(self.backbone)).eval().to(self.device)
                for candidate in own:
                    yield candidate, see(model, candidate.convention, views, self.device)
                    task.advance()


def detect(
    load: Load,
    backbone: Backbone,
    stated: Convention,
    views: NDArray[np.uint8],
    units: Sequence[str],
    *,
    also: Sequence[Convention] = (),
    values: Mapping[str, tuple[Switch, ...]] | None = None,
    images: int = 0,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Detection:
    """Return which convention and switches a file's tensors were trained with, as far as seen.

    Args:
        load: gives the network of a backbone with the file's tensors, in evaluation mode.
        backbone: architecture and stated switches.
        stated: the convention that goes with the file; its size is that of the views.
        views: uint8 (N, S, S) or (N, S, S, 3), N at least 2.
        units: what is resampled, one for each view: patients, else images.
        also: further conventions in circulation for this file.
        values: of each switch to try, the network's own first; None = all that it takes.
        images: how many files the views are of; 0 = N.
        seed: of the resampling.
        device: where the networks compute.
        progress: shown meanwhile.
    """
    own = load(backbone)
    scales = scale_candidates(stated, also, views)
    values = alternatives(backbone) if values is None else values
    base: Switches = tuple(sorted((name, known[0]) for name, known in values.items()))
    case = _Case(
        load, backbone, views, resampling(units, seed), seed, device, progress or Progress()
    )
    memory = remembered(own, stated.size, len(stated.mean))
    common = Detection(
        kind="batch norms" if norms_of(own) else "features",
        backbone=backbone, switches=base, stated=stated, images=images or len(views),
        views=len(views), units=len(set(units)), coloured=is_coloured(views), seed=seed, tried=0,
        scored=(), answers=(), remembered=memory, remade=remade(own),
    )  # fmt: skip
    if common.kind == "features":
        return _by_features(case, replace(common, switches=()), scales)
    return _by_norms(case, common, scales, base, values)


def resampling(units: Sequence[str], seed: int) -> Floats:
    """Return weights of the views, (1 + RESAMPLED, N): all alike, then units drawn anew."""
    names, index = np.unique(np.asarray(units), return_inverse=True)
    rng = stream(seed, "detective", "units")
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLED)
    rows = np.concatenate([np.ones((1, len(units))), drawn[:, index]]).astype(np.float64)
    rows[rows.sum(axis=1) == 0] = 1.0
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


# Networks with batch norms --------------------------------------------------------------------


def _by_norms(
    case: _Case,
    common: Detection,
    scales: Sequence[Candidate],
    base: Switches,
    values: Mapping[str, tuple[Switch, ...]],
) -> Detection:
    everything = [
        replace(scale, switches=_with(base, choice))
        for choice in switch_choices(values)
        for scale in scales
    ]
    rough = _first_look(case, everything)
    named = scale_name(common.stated)
    chosen = _finalists(rough)
    chosen += [
        c for _, c in rough
        if c.switches == base and named in (c.scale, *c.twins) and c not in chosen
    ]  # fmt: skip
    measured = _measure(case, "the best ones", chosen)
    known = answer_scale(measured, common.remembered).picked
    around = _around(rough, known) if known else []
    measured += _measure(case, "around the best", [c for c in around if c not in chosen])
    leading = [m for m in measured if m.candidate.scale == known] or measured
    best = _least(leading, common.remembered).candidate
    more = [replace(best, switches=_with(best.switches, ((REFINED, value),)))
            for value in values.get(REFINED, ())[1:]]  # fmt: skip
    if common.coloured and best.order != "grey":
        every_scale = {m.candidate.scale: m for m in sorted(measured, key=lambda m: -m.gap)}
        more += [mirrored(m.candidate) for m in every_scale.values()]
        if best not in [m.candidate for m in every_scale.values()]:
            more.append(mirrored(best))
    measured += _measure(case, "order and eps", more)
    answers = _answers(measured, common)
    seen = {m.candidate for m in measured}
    scored = [_scored(m, common.remembered) for m in measured]
    scored += [_judged(c, gap, common.remembered) for gap, c in rough if c not in seen]
    scored.sort(key=lambda s: (bool(s.refused), s.gap))
    return replace(common, tried=len(scored), scored=tuple(scored), answers=answers)


def _with(base: Switches, other: Switches) -> Switches:
    return tuple(sorted({**dict(base), **dict(other)}.items()))


def _first_look(case: _Case, candidates: Sequence[Candidate]) -> list[tuple[float, Candidate]]:
    """Return the gaps on a few views, spread over all, the smallest first."""
    count = len(case.views)
    some = np.unique(np.linspace(0, count - 1, min(count, FIRST_LOOK)).round().astype(np.int64))
    alike = np.full((1, len(some)), 1 / len(some))
    looks = case.tried("conventions", candidates, case.views[some])
    found = [(float(distances(seen, alike).gap.mean()), candidate) for candidate, seen in looks]
    return sorted(found, key=lambda pair: pair[0])


def _finalists(rough: Sequence[tuple[float, Candidate]]) -> list[Candidate]:
    """Return the best candidates, and the best with each value of each question."""
    candidates = [candidate for _, candidate in rough]
    chosen = dict.fromkeys(candidates[:FINALISTS])
    best = candidates[0]
    for question in questions(candidates):
        for value in dict.fromkeys(c.value(question) for c in candidates):
            chosen[next(c for c in candidates if c.value(question) == value)] = None
            alone = [c for c in candidates if _differs(c, best) <= {question}]
            chosen |= dict.fromkeys(c for c in alone if c.value(question) == value)
    return list(chosen)


def _around(rough: Sequence[tuple[float, Candidate]], scale: str) -> list[Candidate]:
    """Return the best candidate of a scale, and those of it that differ in one answer."""
    own = [candidate for _, candidate in rough if candidate.scale == scale]
    return [one for one in own if len(_differs(one, own[0])) <= 1]


def _differs(a: Candidate, b: Candidate) -> set[str]:
    names = ("scale", "order", *(name for name, _ in b.switches))
    return {name for name in names if a.value(name) != b.value(name)}


def _measure(case: _Case, what: str, candidates: Sequence[Candidate]) -> list[Measured]:
    """Return the gaps on all views, for every resampling of views and layers."""
    found = []
    for candidate, seen in case.tried(what, candidates, case.views):
        layers = distances(seen, case.weights)
        count = layers.gap.shape[1]
        drawn = stream(case.seed, "detective", "layers").integers(count, size=layers.gap.shape)
        drawn[0] = np.arange(count)
        gaps = np.take_along_axis(layers.gap, drawn, axis=1).mean(axis=1)
        response = layers.response[:, late(count)].mean(axis=1)
        found.append(Measured(candidate, gaps, response))
    return found


def _least(measured: Sequence[Measured], memory: Remembered | None) -> Measured:
    possible = [m for m in measured if not _judged(m.candidate, m.gap, memory).refused]
    return min(possible or measured, key=lambda m: m.gap)


def _judged(candidate: Candidate, gap: float, memory: Remembered | None) -> Scored:
    """Return a candidate with what it would make of the first layer's memory."""
    known = implied(memory, candidate.convention) if memory else None
    return Scored(candidate, gap, implied=known, refused=known.impossible if known else "")


def _scored(measured: Measured, memory: Remembered | None) -> Scored:
    low, high = map(float, np.quantile(measured.gaps[1:], BOUNDS))
    known = _judged(measured.candidate, measured.gap, memory)
    return replace(known, low=low, high=high, response=float(measured.response[0]))


def _answers(measured: Sequence[Measured], common: Detection) -> tuple[Answer, ...]:
    """Return the answers; all but the first among candidates of the scales that are left.

    What was tried for the refined question takes part in that one alone.
    """
    memory = common.remembered
    refined = [dict(m.candidate.switches).get(REFINED, "") for m in measured]
    plain = [m for m, value in zip(measured, refined, strict=True) if value == refined[0]]
    answers: list[Answer] = [answer_scale(plain, memory)]
    fitting = [m for m in plain if m.candidate.scale in answers[0].left]
    for question in questions([m.candidate for m in measured]):
        if question == REFINED:
            other = [m for m in measured if m not in plain]
            pairs = [m for m in plain if any(not _differs(m.candidate, o.candidate) - {REFINED}
                                             for o in other)]  # fmt: skip
            answers.append(answer_by_gap(REFINED, [*pairs, *other]))
        elif question == "order":
            if plain[0].candidate.order != "grey":
                answers.append(answer_order(fitting, memory, common.coloured))
        elif question != "scale":
            answers.append(answer_by_gap(question, fitting))
    return tuple(answers)


# Networks without -----------------------------------------------------------------------------


def _by_features(case: _Case, common: Detection, scales: Sequence[Candidate]) -> Detection:
    candidates = list(scales)
    if common.coloured:
        candidates += [mirrored(one) for one in scales if one.order != "grey"]
    model = case.load(case.backbone).eval().to(case.device)
    random = build(case.backbone, 0, case.seed, len(common.stated.mean)).eval().to(case.device)
    scored = []
    with case.progress.task("conventions", len(candidates)) as task:
        for one in candidates:
            own, drawn = (
                diversity(features_of(network, one.convention, case.views, case.device))
                for network in (model, random)
            )
            scored.append(Scored(one, None, diversity=own, refused=collapsed(own, drawn)))
            task.advance()
    scored.sort(key=lambda s: bool(s.refused))
    answers = [unanswered("scale", [s.candidate.scale for s in scored if not s.refused])]
    if common.coloured and scored[0].candidate.order != "grey":
        answers.append(unanswered("order", ["RGB", "BGR"]))
    return replace(common, tried=len(scored), scored=tuple(scored), answers=tuple(answers))


def features_of(
    model: nn.Module, convention: Convention, views: NDArray[np.uint8], device: str = "cpu"
) -> NDArray[np.float32]:
    """Return pooled features of the views, float32 (N, F)."""
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(views), 16):
            some = torch.from_numpy(np.ascontiguousarray(views[start : start + 16]))
            outputs.append(model(apply_convention(convention, some.to(device))).float().cpu())
    return np.asarray(torch.cat(outputs).numpy())
