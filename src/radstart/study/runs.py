"""One run: its identity, its folder, its training or probe, its case table."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file, save

from radstart.backbones import computing, place
from radstart.core.files import read_json, remove_leftovers, whole_file, write_json, write_toml
from radstart.core.hashing import digest
from radstart.features import features_key, forward, frozen_features
from radstart.study.prepare import Prepared
from radstart.training import (
    PENALTIES,
    POLICIES,
    Batches,
    Checkpoints,
    RunFailed,
    fine_tune,
    fit_probe,
)
from radstart.weights import Arm, empty_model, start_model

SCHEMA = 2  # of what a run is; 1: AdamW computed tensor by tensor
LIKELY_CHECKS = 14  # looks at validation that a training takes before it stops, on average


@dataclass(frozen=True)
class RunSpec:
    """arm x policy x budget x seed, with its learning rate (None for a probe)."""

    arm: str
    policy: str
    budget: float
    seed: int
    lr: float | None

    def text(self) -> str:
        """Return what a person calls it."""
        return f"{self.arm}, {self.policy}, budget {self.budget:g}, seed {self.seed}"


def run_id(prepared: Prepared, run: RunSpec) -> str:
    """Return the hash of everything that decides the run's outcome, 12 hexadecimal digits."""
    if run not in prepared.ids:
        prepared.ids[run] = _run_id(prepared, run)
    return prepared.ids[run]


def _run_id(prepared: Prepared, run: RunSpec) -> str:
    recipe = {k: v for k, v in asdict(prepared.recipe).items() if not k.startswith("grid")}
    return digest(
        {
            "schema": SCHEMA,
            "run": asdict(run),
            "arm": arm_of(prepared, run).record(),
            "content": prepared.dataset.content,
            "parts": prepared.parts_digest,
            "task": prepared.task.name,
            "seed": prepared.spec.seed,
            "recipe": recipe,
            "penalties": list(PENALTIES),
            "augmentation": asdict(prepared.augmentation),
            "numerics": prepared.numerics.identity(),
        }
    )


def arm_of(prepared: Prepared, run: RunSpec) -> Arm:
    """Return the run's arm."""
    return next(arm for arm in prepared.arms if arm.name == run.arm)


def is_done(folder: Path) -> bool:
    """Return whether a trial or run is finished (well or not: see `outcome`)."""
    return (folder / "done.json").is_file()


def outcome(folder: Path) -> dict[str, Any]:
    """Return done.json: state (`done` or `failed`), reason, converged, losses, seconds."""
    found: dict[str, Any] = read_json(folder / "done.json")
    return found


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return how many steps one pass over the images takes."""
    return max(1, round(images / batch_size))


def step_limit(prepared: Prepared) -> int:
    """Return the step limit of every training: epochs of the whole training part."""
    whole = int((prepared.parts.part == "train").sum())
    per_epoch = steps_per_epoch(whole, prepared.recipe.batch_size)
    return prepared.recipe.epochs * max(per_epoch, prepared.recipe.check_steps)


def is_failed(folder: Path) -> bool:
    """Return whether a finished trial or run ended with a reason instead of a model."""
    return bool(outcome(folder)["state"] == "failed")


def failed(reason: str) -> dict[str, Any]:
    """Return the record of a run that could not go on."""
    return {"state": "failed", "reason": reason, "converged": False, "steps": 0}


def likely_steps(prepared: Prepared, budget: float) -> float:
    """Return how many steps a training under a budget is expected to take before it stops."""
    images = round(budget * int((prepared.parts.part == "train").sum()))
    per_epoch = steps_per_epoch(images, prepared.recipe.batch_size)
    check = max(prepared.recipe.check_steps, per_epoch)
    return min(step_limit(prepared), LIKELY_CHECKS * check)


def trial_folder(prepared: Prepared, run: RunSpec) -> Path:
    """Return where a training lies."""
    return prepared.folder / "trials" / run_id(prepared, run)


def run_folder(prepared: Prepared, run: RunSpec) -> Path:
    """Return where a run lies."""
    return prepared.folder / "runs" / run_id(prepared, run)


def is_trained(folder: Path, model_needed: bool) -> bool:
    """Return whether a training is finished, and its model still there where that is needed."""
    model = folder / "model.safetensors"
    return is_done(folder) and (not model_needed or model.exists() or is_failed(folder))


def _open_folder(folder: Path, run: RunSpec) -> None:
    """Make the folder of a training or run; what a killed process left half-written goes."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    write_toml(folder / "spec.toml", {"schema": SCHEMA, **asdict(run)})


def train_trial(
    prepared: Prepared,
    run: RunSpec,
    on_steps: Callable[[int], object] = lambda steps: None,
    on_continued: Callable[[int], object] = lambda step: None,
) -> Path:
    """Train one setting and keep its best state and its validation scores; return its folder.

    Nothing of the test part is read. A training that was stopped goes on from its checkpoint; one
    that cannot go on leaves `done.json` with the reason, and the batch on which it failed.

    Args:
        prepared: the study.
        run: what to train.
        on_steps: told the steps taken since the last look at validation.
        on_continued: told the step of the checkpoint, where there is one.
    """
    folder = trial_folder(prepared, run)
    _open_folder(folder, run)
    started = time.monotonic()
    checkpoints = Checkpoints(folder / "checkpoint.safetensors")
    standing = checkpoints.standing()
    if standing is not None:
        on_continued(standing.step)
    try:
        done = _fine_tune(prepared, run, folder, checkpoints, on_steps)
    except RunFailed as failure:
        done = failed(f"{failure}{_kept_batch(folder, failure)}")
    finally:
        checkpoints.close()
    earlier = standing.seconds if standing else 0.0
    finish(folder, run, done, earlier + time.monotonic() - started)
    checkpoints.path.unlink(missing_ok=True)
    return folder


def _kept_batch(folder: Path, failure: RunFailed) -> str:
    """Write the batch on which a training failed, as the network got it; return where it is."""
    if failure.batch is None:
        return ""
    pixels, targets = failure.batch
    with whole_file(folder / "failed_batch.safetensors") as temporary:
        temporary.write_bytes(save({"pixels": pixels, "targets": targets}))
    return f"; its batch is trials/{folder.name}/failed_batch.safetensors"


def _fine_tune(
    prepared: Prepared,
    run: RunSpec,
    folder: Path,
    checkpoints: Checkpoints,
    on_steps: Callable[[int], object],
) -> dict[str, Any]:
    arm = arm_of(prepared, run)
    assert run.lr is not None
    seed = prepared.run_seed(run.seed)
    train = prepared.drawn(run.budget, run.seed, "train")
    validation = prepared.drawn(run.budget, run.seed, "validation")
    pixels = prepared.pixels(arm)
    outputs = prepared.task.outputs(prepared.dataset.classes)
    fitted = fine_tune(
        lambda: start_model(arm, outputs, seed)[0],
        prepared.task,
        POLICIES[run.policy],
        arm.convention,
        Batches(
            pixels,
            prepared.targets,
            train,
            prepared.recipe.batch_size,
            prepared.augmentation,
            seed,
        ),
        validation,
        recipe=prepared.recipe,
        rate=run.lr,
        step_limit=step_limit(prepared),
        numerics=prepared.numerics,
        workers=prepared.workers,
        checkpoints=checkpoints,
        on_check=on_steps,
    )
    with whole_file(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save({k: v.contiguous() for k, v in fitted.state.items()}))
    with whole_file(folder / "history.parquet") as temporary:
        pd.DataFrame(fitted.history).to_parquet(temporary, index=False)
    scores = model_outputs(prepared, run, folder, validation)
    write_cases(prepared, folder, {"validation": (validation, scores)})
    return {
        "state": "done",
        "reason": None,
        "converged": fitted.converged,
        "steps": fitted.steps,
        "validation_loss": fitted.validation_loss,
    }


def finish(folder: Path, run: RunSpec, done: dict[str, Any], seconds: float) -> None:
    """Write done.json: from here on the run is never redone."""
    write_json(
        folder / "done.json",
        {"schema": SCHEMA, **asdict(run), "penalty": None, **done, "seconds": round(seconds, 3)},
    )


def model_outputs(
    prepared: Prepared, run: RunSpec, folder: Path, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the outputs of a folder's model, float32 (n, K)."""
    arm = arm_of(prepared, run)
    module = empty_model(arm, prepared.task.outputs(prepared.dataset.classes))
    module.load_state_dict(load_file(folder / "model.safetensors"))
    with computing(prepared.numerics):
        module = place(module, prepared.numerics)
        return forward(module, arm.convention, prepared.pixels(arm), rows, prepared.numerics)


def finish_trained_run(prepared: Prepared, run: RunSpec) -> Path:
    """Make a run of a chosen setting out of its training: model, history, all scores.

    This is where the test part is read, after every choice of the study.
    """
    trial, folder = trial_folder(prepared, run), run_folder(prepared, run)
    done = outcome(trial)
    _open_folder(folder, run)
    started = time.monotonic()
    if done["state"] == "done":
        for name in ("model.safetensors", "history.parquet"):
            with whole_file(folder / name) as temporary:
                shutil.copyfile(trial / name, temporary)
        validation = prepared.drawn(run.budget, run.seed, "validation")
        test = prepared.test_rows()
        scores = model_outputs(prepared, run, folder, np.concatenate([validation, test]))
        cut = len(validation)
        write_cases(
            prepared,
            folder,
            {"validation": (validation, scores[:cut]), "test": (test, scores[cut:])},
        )
        _write_receipt(prepared, run, folder)
    kept = {k: done.get(k) for k in ("state", "reason", "converged", "steps", "validation_loss")}
    finish(folder, run, kept, done["seconds"] + time.monotonic() - started)
    return folder


def features_path(prepared: Prepared, run: RunSpec) -> Path:
    """Return where the features of a run's arm are kept."""
    arm = arm_of(prepared, run)
    key = features_key(
        arm,
        prepared.run_seed(run.seed),
        prepared.pixels(arm).shape,
        prepared.dataset.content,
        prepared.numerics,
    )
    return prepared.dataset.path / "cache" / f"{key}.npy"


def compute_features(prepared: Prepared, run: RunSpec) -> NDArray[np.float32]:
    """Return the features of every image under a run's arm, float32 (N, D), computed once."""
    arm = arm_of(prepared, run)
    return frozen_features(
        arm,
        prepared.run_seed(run.seed),
        prepared.pixels(arm),
        features_path(prepared, run),
        prepared.numerics,
    )


def finish_probe_run(prepared: Prepared, run: RunSpec) -> Path:
    """Make a run of a frozen backbone: features once, a probe fitted to convergence, all scores."""
    folder = run_folder(prepared, run)
    _open_folder(folder, run)
    started = time.monotonic()
    train = prepared.drawn(run.budget, run.seed, "train")
    validation = prepared.drawn(run.budget, run.seed, "validation")
    try:
        features = compute_features(prepared, run)
        with computing(prepared.numerics):
            fitted = fit_probe(prepared.task, features, prepared.targets, train, validation)
        done: dict[str, Any] = {
            "state": "done",
            "reason": None,
            "converged": fitted.converged,
            "steps": 0,
            "validation_loss": min(fitted.losses),
            "penalty": fitted.penalty,
            "validation_losses": dict(zip(map(str, PENALTIES), fitted.losses, strict=True)),
        }
        arrays = {"weight": fitted.probe.weight, "bias": fitted.probe.bias}
        with whole_file(folder / "model.safetensors") as temporary:
            temporary.write_bytes(
                save_arrays({k: np.ascontiguousarray(v) for k, v in arrays.items()})
            )
        test = prepared.test_rows()
        scored = {
            part: (rows, fitted.probe.outputs(features[rows].astype(np.float64)))
            for part, rows in (("validation", validation), ("test", test))
        }
        write_cases(prepared, folder, scored)
        _write_receipt(prepared, run, folder)
    except RunFailed as failure:
        done = failed(str(failure))
    finish(folder, run, done, time.monotonic() - started)
    return folder


def _write_receipt(prepared: Prepared, run: RunSpec, folder: Path) -> None:
    arm = arm_of(prepared, run)
    receipt = prepared.receipts[arm.name]
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "arm": arm.name,
        "start": arm.spec.start,
        "probe": POLICIES[run.policy].probe,  # then the model is the probe alone
        "backbone": {"name": arm.backbone.name, "switches": arm.backbone.switches},
        "convention": arm.convention.record(),
        "task": prepared.task.name,
        "classes": list(prepared.dataset.classes),
        "saw": _seen_by(prepared, arm),
        "seed": prepared.run_seed(run.seed),
    }
    if receipt is not None:
        record["receipt"] = receipt.record()
    write_toml(folder / "receipt.toml", record)


def _seen_by(prepared: Prepared, arm: Arm) -> list[str]:
    """Return the public sets that a run's weights were trained on, as far as they are stated."""
    start = arm.source.saw if arm.source and not arm.redraws else ()
    own = prepared.spec.data.known_as
    return list(dict.fromkeys([*start, *([own] if own else [])]))


def write_cases(
    prepared: Prepared,
    folder: Path,
    scored: dict[str, tuple[NDArray[np.int64], NDArray[Any]]],
) -> None:
    """Write cases.parquet: one row per case, sorted by case; no times, no paths outside DATA."""
    rows = prepared.dataset.rows
    tables = []
    for part, (chosen, outputs) in scored.items():
        some = rows.iloc[chosen]
        columns: dict[str, Any] = {
            "case": some["image"].to_numpy(),
            "patient": some["patient"].to_numpy(),
            "exam": some["exam"].to_numpy(),
            "unit": prepared.units.unit[chosen].astype(str),
            "part": part,
            "target": some["label"].to_numpy(),
        }
        columns |= prepared.task.columns(outputs, prepared.dataset.classes)
        tables.append(pd.DataFrame(columns))
    table = pd.concat(tables, ignore_index=True).sort_values("case", kind="stable")
    with whole_file(folder / "cases.parquet") as temporary:
        table.to_parquet(temporary, index=False)
