"""A training that goes on from a checkpoint is, to the bit, one that was never stopped."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from radstart.backbones import Backbone, Numerics, build
from radstart.core.errors import RadstartError
from radstart.training import (
    POLICIES,
    TASKS,
    Augmentation,
    Batches,
    Checkpoints,
    Recipe,
    checkpoint,
    fine_tune,
)
from radstart.weights import Convention


class Stopped(Exception):  # noqa: N818
    """As if the process had been killed."""


def tuned(path=None, stop_at=None, **numerics):
    """Train a small network with dropout for up to 24 steps; stop after `stop_at` of them."""
    rng = np.random.default_rng(0)
    targets = np.arange(24) % 2
    pixels = rng.integers(0, 100, (24, 32, 32), dtype=np.uint8)
    pixels[targets == 1, 4:10, 4:10] += 120
    taken = []

    def on_check(steps):
        taken.append(steps)
        if stop_at is not None and sum(taken) >= stop_at:
            raise Stopped

    kept = Checkpoints(path) if path else None
    try:
        return fine_tune(
            functools.partial(build, Backbone("test_efficientnet", {"drop_rate": 0.5}), 2, 1),
            TASKS["classification"],
            POLICIES["full"],
            Convention(32, (0.3,) * 3, (0.2,) * 3, ""),
            Batches(pixels, targets, np.arange(16), 8, Augmentation(), 3),
            np.arange(16, 24),
            recipe=Recipe(check_steps=2, plateau_checks=1, final_checks=9, warmup_steps=3),
            rate=3e-2,
            step_limit=24,
            numerics=dataclasses.replace(
                Numerics("float32", "contiguous", 1, "", "cpu"), **numerics
            ),
            workers=0,
            checkpoints=kept,
            on_check=on_check,
        )
    finally:
        if kept:
            kept.close()


def same(one, two):
    assert one.history == two.history
    assert one.state.keys() == two.state.keys()
    assert all(torch.equal(one.state[key], two.state[key]) for key in one.state)
    assert (one.steps, one.converged) == (two.steps, two.converged)


@pytest.mark.slow
@pytest.mark.parametrize("numerics", [{}, {"dtype": "bfloat16", "memory_format": "channels_last"}])
def test_stopped_after_every_look_it_comes_out_the_same(tmp_path, monkeypatch, numerics):
    """Optimiser, averages, best state, decay, rates and draws all go on where they were."""
    monkeypatch.setattr(Checkpoints, "due", lambda self, looked: looked)
    whole = tuned(**numerics)
    rates = {row["rate"] for row in whole.history}
    assert len(rates) == 2  # the decay lies in between

    path = tmp_path / "checkpoint.safetensors"
    for stop_at in range(4, 24, 4):
        with pytest.raises(Stopped):
            tuned(path, stop_at, **numerics)
    last = tuned(path, **numerics)
    same(last, whole)
    assert last.continued >= 16


@pytest.mark.slow
def test_a_checkpoint_between_two_looks_counts_what_was_lost_so_far(tmp_path, monkeypatch):
    """After two minutes one is kept at whatever step; the mean training loss is still whole."""
    whole, path = tuned(), tmp_path / "checkpoint.safetensors"
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint.Checkpoints, "_write", _slow(checkpoint.Checkpoints._write))
    with pytest.raises(Stopped):
        tuned(path, 12)

    assert Checkpoints(path).standing().step % 2 == 1
    same(tuned(path), whole)


def _slow(write):
    """Keep the first odd step only."""

    def written(self, tensors, described):
        if '"step": 7' in described["standing"]:
            return write(self, tensors, described)
        return 0.0

    return written


SLOW = [pytest.param(damage, marks=pytest.mark.slow) for damage in ("cut", "empty", "text")]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["other network", *SLOW])
def test_a_damaged_checkpoint_is_none(tmp_path, damage):
    """The training begins anew and comes out the same."""
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stopped):
        tuned(path, 8)
    whole = path.read_bytes()
    if damage == "other network":
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        with safe_open(path, "pt") as file:
            described = file.metadata()
        kept = {k: v for k, v in load_file(path).items() if "conv_head" not in k}
        save_file(kept, path, described)
    else:
        path.write_bytes({"cut": whole[:-100], "empty": b"", "text": b"not tensors"}[damage])

    again = tuned(path)
    assert again.continued == 0
    same(again, tuned())


def test_a_full_disk_stops_the_training_with_one_line(tmp_path, monkeypatch):
    """The thread's error reaches the person."""

    def full(self, tensors, described):
        raise RadstartError("cannot write", str(self.path), "No space left on device", "free space")

    monkeypatch.setattr(checkpoint.Checkpoints, "_write", full)
    with pytest.raises(RadstartError, match="No space left"):
        tuned(tmp_path / "checkpoint.safetensors")
