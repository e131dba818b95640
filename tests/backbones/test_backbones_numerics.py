"""Numerics: what is measured fastest in turns is chosen; a plain choice where nothing gains."""

import itertools

import pytest
import torch
from torch import nn

from radstart.backbones import choose_numerics
from radstart.backbones import numerics as room

PLAIN = ("float32", "contiguous", 2)
LAST = ("float32", "channels_last", 2)
HALF = ("bfloat16", "channels_last", 2)
ALONE = ("float32", "channels_last", 1)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({PLAIN: 1.0, LAST: 0.6, HALF: 0.8, ALONE: 0.9}, LAST),
        ({PLAIN: 1.0, LAST: 0.6, HALF: 0.4, ("bfloat16", "channels_last", 1): 0.7}, HALF),
        ({PLAIN: 1.0, LAST: 0.6, HALF: 0.8, ALONE: 0.61}, ALONE),
        ({PLAIN: 1.0, LAST: 0.97, HALF: 1.4, ("float32", "contiguous", 1): 1.5}, PLAIN),
    ],
)
def test_auto_takes_the_fastest_whatever_else_the_machine_does(monkeypatch, seconds, expected):
    """Two turns in three are slowed tenfold, at other moments for each candidate; a gain below 5 %
    is none; one thread where the second gains nothing.
    """
    noise = itertools.cycle([1, 10, 10, 1, 10])

    def measured(work, numerics):
        key = (numerics.dtype, numerics.memory_format, numerics.threads)
        return seconds[key] * next(noise) / 100

    monkeypatch.setattr("radstart.backbones.numerics._seconds", measured)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    chosen = choose_numerics(
        "auto", "cpu", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 8, 6
    )

    assert (chosen.dtype, chosen.memory_format, chosen.threads) == expected
    assert chosen.train_rate == pytest.approx(600 / seconds[expected], abs=0.05)


def test_plain_numerics_are_plain_and_rated():
    """`fp32` tries nothing else."""
    chosen = choose_numerics(
        "fp32", "cpu", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 8, 4
    )

    assert (chosen.dtype, chosen.memory_format) == ("float32", "contiguous")
    assert chosen.threads == torch.get_num_threads()
    assert min(chosen.train_rate, chosen.evaluation_rate) > 0


class Careless(nn.Module):
    """A network whose outputs depend on something else than its input."""

    def __init__(self, careful):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 8)
        self.careful, self.garbage = careful, itertools.count()

    def forward(self, images):
        last = images.is_contiguous(memory_format=torch.channels_last)
        found = self.layer(images).flatten(1)
        return found if self.careful or not last else found * next(self.garbage)


def fastest_last(candidates, timed):
    return candidates[-1]


@pytest.mark.slow
def test_numerics_that_do_not_repeat_are_not_chosen(monkeypatch):
    """Kernels that read unwritten memory make gradients that differ: they stay out of the race."""
    monkeypatch.setattr(room, "_fastest", fastest_last)

    careful = choose_numerics("auto", "cpu", lambda: Careless(True), 8, 4)
    careless = choose_numerics("auto", "cpu", lambda: Careless(False), 8, 4)
    assert careful.memory_format == "channels_last"
    assert (careless.dtype, careless.memory_format) == ("float32", "contiguous")
