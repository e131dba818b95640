"""Numerics: what does not come out the same twice is not chosen."""

import itertools

import torch
from torch import nn

from radstart.backbones import choose_numerics
from radstart.backbones import numerics as room

SIDE = 8


class Careless(nn.Module):
    """A network whose outputs depend on something else than its input."""

    def __init__(self, careful):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, SIDE)
        self.careful, self.garbage = careful, itertools.count()

    def forward(self, images):
        last = images.is_contiguous(memory_format=torch.channels_last)
        found = self.layer(images).flatten(1)
        return found if self.careful or not last else found * next(self.garbage)


def fastest_last(candidates, timed):
    return candidates[-1]


def test_numerics_that_do_not_repeat_are_not_chosen(monkeypatch):
    """Kernels that read unwritten memory make gradients that differ: they stay out of the race."""
    monkeypatch.setattr(room, "_fastest", fastest_last)

    careful = choose_numerics("auto", "cpu", lambda: Careless(True), SIDE, 4)
    careless = choose_numerics("auto", "cpu", lambda: Careless(False), SIDE, 4)
    assert careful.memory_format == "channels_last"
    assert (careless.dtype, careless.memory_format) == ("float32", "contiguous")
