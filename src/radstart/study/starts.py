"""Which arms of a question can be had, found out before anything trains."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml, write_toml
from radstart.study.spec import StudySpec
from radstart.weights import STARTS, locate


def available(
    spec: StudySpec, *, offline: bool = False, skip: bool = False
) -> tuple[StudySpec, dict[str, str]]:
    """Return the question with the arms that can be had, and why the others cannot, by name.

    What is not on this machine yet is fetched.

    Args:
        spec: the question, checked.
        offline: open no connection.
        skip: go on without arms that cannot be had.

    Raises:
        RadstartError: an arm cannot be had and `skip` is not asked for, none can, or the
            reference cannot.
    """
    find = partial(locate, backbone=spec.backbone, offline=offline)
    reasons: dict[str, str] = {}
    for arm in spec.arm:
        if STARTS[arm.kind].located:
            try:
                find(arm)
            except RadstartError as error:
                reasons[arm.name] = str(error)
    for arm in spec.arm:
        if arm.kind == "moments" and arm.rest in reasons:
            reasons[arm.name] = f"{arm.rest} cannot be had"
    kept = tuple(arm for arm in spec.arm if arm.name not in reasons)
    if not reasons:
        return spec, {}
    if len(reasons) == 1 and not skip and len(spec.arm) == 1:
        raise RadstartError(next(iter(reasons.values())))
    listed = " | ".join(f"{name}: {reason}" for name, reason in reasons.items())
    if not skip:
        raise RadstartError(
            f"{len(reasons)} of {len(spec.arm)} arms cannot be had", "arms", listed,
            "get them, or go on without them: --skip-unavailable",
        )  # fmt: skip
    if not kept or spec.reference in reasons:
        what = "the reference cannot be had" if kept else "no arm can be had"
        raise RadstartError(what, "arms", listed, "choose another --reference or other arms")
    return replace(spec, arm=kept), reasons


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
