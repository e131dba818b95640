"""Which arms of a question can be had, found out before anything trains."""

from dataclasses import replace
from pathlib import Path

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, write_toml
from radstart.core.progress import Progress
from radstart.study.spec import StudySpec, read_spec
from radstart.weights import ArmSpec, fetching, locate


def available(
    spec: StudySpec,
    folder: Path,
    *,
    offline: bool = False,
    skip: bool = False,
    progress: Progress | None = None,
) -> tuple[StudySpec, dict[str, str]]:
    """Return the question with the arms that can be had, and why the others cannot, by name.

    What is not on this machine yet is fetched; afterwards all that is left is here.

    Args:
        spec: the question, checked.
        folder: of the study, which may have begun.
        offline: open no connection.
        skip: go on without arms that cannot be had.
        progress: where progress goes; None = silent.

    Raises:
        RadstartError: an arm cannot be had and `skip` is not asked for, or none can, or the
            reference cannot, or the study rests on it already.
    """
    progress = progress or Progress()
    reasons: dict[str, str] = {}
    for arm in spec.arm:
        if arm.located:
            try:
                _fetched(arm, spec.backbone, offline, progress)
            except RadstartError as error:
                if len(spec.arm) == 1:
                    raise
                reasons[arm.name] = str(error)
    for arm in spec.arm:
        if arm.kind == "moments" and arm.rest in reasons:
            reasons[arm.name] = f"{arm.rest} cannot be had"
    if not reasons:
        return spec, {}
    kept = tuple(arm for arm in spec.arm if arm.name not in reasons)
    if fault := _fault(spec, folder, kept, reasons, skip):
        what, remedy = fault
        listed = " | ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise RadstartError(f"{what}: {listed}", "arms", remedy=remedy)
    return replace(spec, arm=kept), reasons


def _fetched(arm: ArmSpec, backbone: str, offline: bool, progress: Progress) -> None:
    """Let the weights of an arm be on this machine."""
    if arm.kind in ("file", "run"):
        locate(arm, backbone, offline)
        return
    with fetching(progress, arm.name) as told:
        locate(arm, backbone, offline, told)


def _fault(
    spec: StudySpec, folder: Path, kept: tuple[ArmSpec, ...], reasons: dict[str, str], skip: bool
) -> tuple[str, str] | None:
    """Return why the study cannot go on without some arms, and what to do; None = it can."""
    if not kept:
        return "no arm can be had", "choose other arms"
    if not skip:
        return (
            f"{len(reasons)} of {len(spec.arm)} arms cannot be had",
            "get them, or go on without them: --skip-unavailable",
        )
    if spec.reference in reasons:
        return "the reference cannot be had", "choose another --reference"
    held = read_spec(folder / "study.toml").arm if (folder / "study.toml").is_file() else ()
    if any(arm.name in reasons for arm in held):
        return "this study has begun with arms that cannot be had now", "get them again"
    located = [arm.name in reasons for arm in spec.arm if arm.located]
    needy = any(not arm.located and arm.kind != "moments" for arm in kept)
    if needy and not spec.backbone and located[0]:
        return (
            "arms that cannot be had decide the backbone of those without weights",
            "add --backbone",
        )
    return None


def note_skipped(spec: StudySpec, folder: Path, reasons: dict[str, str]) -> None:
    """Write down in skipped.toml which arms were left out and why; those had by now go."""
    path = folder / "skipped.toml"
    named = {arm.name for arm in spec.arm}
    left = {name: why for name, why in {**skipped(folder), **reasons}.items() if name not in named}
    if left != skipped(folder):
        write_toml(path, left)


def skipped(folder: Path) -> dict[str, str]:
    """Return why arms were left out of a study, by name."""
    path = folder / "skipped.toml"
    return {str(k): str(v) for k, v in read_toml(path).items()} if path.is_file() else {}
