"""Batches: a function of (seed, step) alone; every row once an epoch; augmentation as listed."""

import itertools

import numpy as np
import pytest
import torch

from radstart.training import Augmentation, Batches
from radstart.training.augment import augment, draw_augmentation
from radstart.training.batches import batch_at, training_batches

STILL = Augmentation(zoom=1.0, turn=0.0, shift=0.0, contrast=0.0, brightness=0.0)


def made(seed=0, size=8, augmentation=STILL, n=30):
    pixels = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((1, 6, 6), np.uint8)
    targets = np.arange(40)
    return Batches(pixels, targets, np.arange(5, 5 + n), size, augmentation, seed)


@pytest.mark.parametrize(("n", "size", "steps"), [(30, 8, 4), (30, 32, 1), (3, 8, 1), (33, 8, 4)])
def test_an_epoch_shows_every_row_once_in_even_steps(n, size, steps):
    """Not one row is left out or repeated, and no step is a small remainder."""
    batches = made(size=size, n=n)
    shown = [batch_at(batches, step)[1] for step in range(steps)]

    assert batches.steps_per_epoch == steps
    assert sorted(torch.cat(shown).tolist()) == list(range(5, 5 + n))
    assert max(map(len, shown)) - min(map(len, shown)) <= 1


def test_pixels_and_targets_belong_together():
    """Row k's pixels come with row k's target."""
    pixels, targets = batch_at(made(), 2)

    assert pixels.dtype == torch.uint8
    assert (pixels[:, 0, 0].long() == targets).all()


def test_order_differs_between_epochs_and_seeds_and_is_the_same_each_time():
    """The order derives from the seed and the epoch."""
    orders = [
        torch.cat([batch_at(made(seed), 4 * epoch + k)[1] for k in range(4)]).tolist()
        for seed, epoch in itertools.product((0, 1), (0, 1))
    ]
    again = torch.cat([batch_at(made(0), k)[1] for k in range(4)]).tolist()

    assert len({tuple(order) for order in orders}) == 4
    assert again == orders[0]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_threads_change_no_batch_and_a_run_can_begin_anywhere(workers):
    """Step k is step k."""
    batches = made(augmentation=Augmentation())
    stream = training_batches(batches, 3, workers)
    taken = [next(stream) for _ in range(6)]
    stream.close()

    for k, (pixels, targets) in enumerate(taken):
        expected = batch_at(batches, 3 + k)
        assert torch.equal(pixels, expected[0])
        assert torch.equal(targets, expected[1])


def test_augmentation_stays_in_its_ranges_and_never_flips_unasked():
    """Zoom, turn, shift, contrast, brightness as listed; a flip only when asked for, then half."""
    rng = np.random.default_rng(0)
    drawn = draw_augmentation(Augmentation(), 4000, rng)
    asked = draw_augmentation(Augmentation(flip=True), 4000, rng)

    zoom, turn, shift_x, shift_y, contrast, brightness, flip = drawn.T
    assert 1 / 1.15 <= zoom.min() < 0.88
    assert 1.14 < zoom.max() <= 1.15
    assert 9.9 < np.degrees(np.abs(turn)).max() <= 10
    assert 0.059 < max(np.abs(shift_x).max(), np.abs(shift_y).max()) <= 0.06
    assert 0.8 <= contrast.min() < contrast.max() <= 1.2
    assert np.abs(brightness).max() <= 25.5
    assert (flip == 1).all()
    assert (asked[:, 6] == -1).mean() == pytest.approx(0.5, abs=0.05)
    assert "no flip" in Augmentation().described()
    assert "left-right flip" in Augmentation(flip=True).described()


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 3)])
def test_a_still_augmentation_changes_nothing_and_a_flip_mirrors_left_and_right(shape):
    """Grey and colour."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    still, mirrored = np.empty_like(pixels), np.empty_like(pixels)

    augment(pixels, np.array([1, 0, 0, 0, 1, 0, 1.0]), still)
    augment(pixels, np.array([1, 0, 0, 0, 1, 0, -1.0]), mirrored)
    np.testing.assert_array_equal(still, pixels)
    np.testing.assert_array_equal(mirrored, pixels[:, ::-1])


def test_a_shift_moves_by_its_share_and_brings_black():
    """What comes from outside the image is black, as the letterbox is."""
    pixels = np.full((10, 10), 200, np.uint8)
    out = np.empty_like(pixels)

    augment(pixels, np.array([1, 0, 0.2, 0, 1, 0, 1.0]), out)
    assert (out[:, :2] == 0).all()
    assert (out[:, 2:] == 200).all()


def test_contrast_turns_about_mid_grey_and_brightness_adds():
    """value * contrast + 127.5 * (1 - contrast) + brightness, rounded and clipped."""
    pixels = np.array([[0, 100], [127, 255]], np.uint8)
    out = np.empty_like(pixels)

    augment(pixels, np.array([1, 0, 0, 0, 1.2, 10, 1.0]), out)
    expected = np.clip(np.rint(pixels * 1.2 - 25.5 + 10), 0, 255)
    np.testing.assert_array_equal(out, expected)
