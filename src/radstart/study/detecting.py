"""The convention detective on a folder of images: sample, try, probe."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radstart.backbones import Backbone, usable_device
from radstart.core.progress import Progress
from radstart.dataset import square_views
from radstart.ingest import Columns, Sample, sample_images
from radstart.training import TASKS, RunFailed, folds_of, paired_loss, probe_losses
from radstart.weights import (
    Answer,
    Arm,
    Convention,
    Detection,
    ProbeScore,
    Scored,
    Value,
    Wanted,
    decided,
    detect,
    features_of,
    find,
    network_of,
    stated_convention,
)

IMAGES = 64  # drawn from the folder
IMAGES_PROBED = 200  # where labels are given
VIEWS = 48  # fewer images are cut more than once
PROBED = 8  # candidates whose features are probed
MOST_CLASSES = 12


def check_convention(
    wanted: Wanted | str | Path,
    images: Path,
    *,
    labels: Path | None = None,
    columns: Columns | None = None,
    most: int = IMAGES,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Detection:
    """Find how a weights file was fed in its training, as far as some images show it.

    Args:
        wanted: the weights, or their source alone; the network has the file's own channels.
        images: folder: with a table, of classes, or of images alone. Nothing is written there.
        labels: CSV with images and labels, as it stands or inside `images`: a frozen probe then
            compares the candidates too.
        columns: names of its columns.
        most: images drawn; four times as many, up to 200, where labels are given.
        seed: of the draw and of the resampling.
        device: `auto`, `cpu`, `cuda`, ...
        progress: shown meanwhile.

    Raises:
        RadstartError: weights that do not load, or fewer than two images.
    """
    progress = progress or Progress()
    arm = decided(wanted if isinstance(wanted, Wanted) else Wanted(wanted))
    assert arm.source is not None
    sample = sample_images(images, most=most, seed=seed, labels=labels, columns=columns)
    size = arm.convention.size
    views, index = square_views(sample.pixels, size, VIEWS, seed)
    units = [sample.units[i] for i in index.tolist()]
    place = usable_device(device)
    found = detect(
        lambda network: network_of(arm, network), arm.backbone, arm.convention, views, units,
        also=circulating(arm), images=len(sample.pixels), seed=seed, device=place,
        progress=progress,
    )  # fmt: skip
    found = replace(
        found, file=arm.source.path.name, sha256=arm.source.sha256, data=images.resolve().name,
        patients_known=sample.patients_known,
        notes=(*sample.notes, *arm.notes),
    )  # fmt: skip
    if any(sample.labels):
        more = min(IMAGES_PROBED, 4 * most)
        labelled = sample_images(images, most=more, seed=seed, labels=labels, columns=columns)
        found = _probed(arm, found, labelled, seed, place, progress)
    return found


def circulating(arm: Arm) -> tuple[Convention, ...]:
    """Return the other conventions that the catalog knows for these weights."""
    assert arm.source is not None
    if not arm.source.entry:
        return ()
    entry = find(arm.source.entry)
    where = f"catalog, {entry.name}, also in circulation"
    return tuple(stated_convention(one, arm.convention.size, where) for one in entry.also)


def _probed(
    arm: Arm, found: Detection, sample: Sample, seed: int, device: str, progress: Progress
) -> Detection:
    """Return the detection with a frozen probe's loss for the candidates that lead."""
    labels, units = np.asarray(sample.labels), np.asarray(sample.units)
    folds = None
    if len({label for label in sample.labels if label}) <= MOST_CLASSES:
        folds = folds_of(labels, units, np.asarray(sample.folds), seed)
    if folds is None:
        note = "no probe: too few cases of two classes, or labels that are no classes"
        return replace(found, notes=(*found.notes, note))
    views, _ = square_views(sample.pixels, found.stated.size, 0, seed)
    chosen = _to_probe(found)
    losses: list[NDArray[np.float64] | None] = []
    with progress.task("probes", len(chosen)) as task:
        for scored in chosen:
            losses.append(_losses(arm, scored, found.backbone, views, labels, folds, device))
            task.advance()
    pairs = [(s, loss) for s, loss in zip(chosen, losses, strict=True) if loss is not None]
    if not pairs:
        return found
    by_norms = found.kind == "batch norms"
    first = next((i for i, (s, _) in enumerate(pairs) if s is found.best), None)
    if found.own is not None and by_norms:
        first = next((i for i, (s, _) in enumerate(pairs) if s is found.own), first)
    if first is None or not by_norms:
        first = int(np.argmin([float(np.nanmean(loss)) for _, loss in pairs]))
    reference = pairs[first][1]
    level = 1 - 0.05 / max(1, len(pairs) - 1)  # Bonferroni
    scores = {}
    for scored, loss in pairs:
        known = paired_loss(loss, reference, units, level)
        mean = paired_loss(loss, np.zeros_like(loss), units).difference
        scores[id(scored)] = ProbeScore(mean, known.difference, known.low, known.high)
    listed = tuple(replace(s, probe=scores.get(id(s), s.probe)) for s in found.scored)
    cases, patients = int((folds >= 0).sum()), len(np.unique(units[folds >= 0]))
    others = max(1, len(pairs) - 1)
    note = (
        f"probe: cross-validated log loss of {cases} cases, {patients} units, intervals against "
        f"{found.name(pairs[first][0].candidate)}, adjusted for {others} comparisons"
    )
    found = replace(found, scored=listed, notes=(*found.notes, note))
    return found if by_norms else replace(found, answers=_by_probe(found))


def _to_probe(found: Detection) -> list[Scored]:
    """Return the best of every scale, the stated one and the best ones; PROBED at most."""
    if found.kind != "batch norms":
        return list(found.scored)
    known = [s for s in found.scored if s.low is not None]
    chosen = {id(s): s for s in (found.best, found.own) if s is not None}
    for scale in dict.fromkeys(s.candidate.scale for s in known):
        best = next(s for s in known if s.candidate.scale == scale)
        chosen.setdefault(id(best), best)
    for scored in known:
        chosen.setdefault(id(scored), scored)
    return list(chosen.values())[:PROBED]


def _losses(
    arm: Arm,
    scored: Scored,
    backbone: Backbone,
    views: NDArray[np.uint8],
    labels: NDArray[np.str_],
    folds: NDArray[np.int64],
    device: str,
) -> NDArray[np.float64] | None:
    """Return each case's loss; None = features that are not finite."""
    one = scored.candidate
    model = network_of(arm, one.backbone(backbone)).to(device)
    features = features_of(model, one.convention, views, device)
    try:
        return probe_losses(TASKS["classification"], features, labels, folds)
    except RunFailed:
        return None


def _by_probe(found: Detection) -> tuple[Answer, ...]:
    """Return the scale that a probe favours, if it is ahead of every other one."""
    probed = sorted((s for s in found.scored if s.probe), key=_loss)
    best = probed[0]
    scale = best.candidate.scale
    others = [s for s in probed if s.candidate.scale != scale]
    near = [s for s in others if s.probe and s.probe.low <= 0]
    values = tuple(
        Value(found.name(s.candidate), _loss(s), s.probe.difference, s.probe.low, s.probe.high)
        for s in probed
        if s.probe
    )
    if others and not near:
        why = (
            f"a frozen probe works best with it: log loss {_loss(best):.3f} against "
            f"{_loss(others[0]):.3f} for {others[0].candidate.scale}"
        )
        answer = Answer("scale", scale, (scale,), values, "probe", why)
    else:
        left = tuple(dict.fromkeys(s.candidate.scale for s in (best, *near)))
        listed = ", ".join(left) if len(left) <= 4 else f"{len(left)} of them"
        why = f"a frozen probe does not tell {listed} apart"
        answer = Answer("scale", "", left, values, "", why)
    return tuple(answer if a.question == "scale" else a for a in found.answers)


def _loss(scored: Scored) -> float:
    return scored.probe.loss if scored.probe else float("inf")
