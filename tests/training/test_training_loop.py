"""The loop: plateau, decay, stop; converged or not; failures; averages; the same bits twice."""

import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from radstart.backbones import Backbone, Numerics, build
from radstart.training import (
    LADDER,
    POLICIES,
    TASKS,
    Augmentation,
    Batches,
    Objective,
    Recipe,
    RunFailed,
    fine_tune,
    fit,
    grown_grid,
)
from radstart.training.policies import Policy, policy_named, set_trainable
from radstart.weights import Convention

PLAIN = Numerics("float32", "contiguous", 1, "", "cpu")
RECIPE = Recipe(warmup_steps=1, plateau_checks=2, final_checks=2, decay=0.1)


def linear():
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def square(module, batch, seed):
    pixels, targets = batch
    return ((module(pixels)[:, 0] - targets) ** 2).mean()


def detached(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def batches(first=0):
    draw = torch.Generator().manual_seed(1)
    while True:
        pixels = torch.randn(8, 2, generator=draw)
        yield pixels, pixels @ torch.tensor([1.0, -2.0]) + 0.5


def train(losses, recipe=RECIPE, loss=square, init=linear, **options):
    """Fit with validation losses that are given, not measured; 0 is the last one, for ever."""
    given = itertools.chain(losses, itertools.repeat(losses[-1] if losses else 1.0))
    settings = {"rate": 0.1, "check_steps": 3, "step_limit": 60, "numerics": PLAIN, "seed": 0}
    return fit(
        Objective(init, loss, lambda module, step: None, detached),
        batches,
        lambda module: next(given),
        recipe=recipe,
        **(settings | options),
    )


def test_plateau_then_decay_then_stop_is_converged():
    """Two looks without improvement: the rate falls; two more: the training stops, converged."""
    fitted = train([5.0, 4.0, 4.5, 4.5, 3.0, 3.5, 3.5, 1.0])

    rates = [row["rate"] for row in fitted.history]
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 3)
    assert [row["step"] for row in fitted.history] == [3, 6, 9, 12, 15, 18, 21]
    assert (fitted.converged, fitted.steps, fitted.validation_loss) == (True, 21, 3.0)


def test_an_improvement_starts_the_wait_anew():
    """Only looks in a row count."""
    fitted = train([5, 6, 4, 6, 3, 6, 2, 9, 9, 9, 9])

    assert [row["rate"] for row in fitted.history] == pytest.approx([0.1] * 9 + [0.01] * 2)


def test_the_step_limit_first_is_not_converged():
    """Neither while it still improves nor between decay and stop."""
    improving = train([20 - k for k in range(20)])
    assert (improving.converged, improving.steps, improving.validation_loss) == (False, 60, 1)

    decayed = train([5.0, 6.0, 6.0, 6.0], step_limit=12)
    assert decayed.history[-1]["rate"] == pytest.approx(0.01)
    assert not decayed.converged


def test_the_last_steps_are_looked_at_also_when_they_are_few():
    """A limit between two looks is looked at, and the mean training loss is over those steps."""
    looked = []
    fitted = train([3, 2, 1], step_limit=7, on_check=looked.append)

    assert [row["step"] for row in fitted.history] == [3, 6, 7]
    assert looked == [3, 3, 1]
    assert fitted.validation_loss == 1


def test_the_state_kept_is_that_of_the_best_look():
    """Not the last one: what validation saw when its loss was smallest."""
    seen = []

    def validate(module):
        seen.append(detached(module))
        return [3.0, 1.0, 2.0, 2.0, 2.0, 2.0][len(seen) - 1]

    objective = Objective(linear, square, lambda module, step: None, detached)
    fitted = fit(
        objective, batches, validate, recipe=RECIPE, rate=0.1, check_steps=3, step_limit=60,
        numerics=PLAIN, seed=0,
    )  # fmt: skip
    assert len(seen) == 6
    assert all(torch.equal(fitted.state[k], seen[1][k]) for k in fitted.state)
    assert not torch.equal(fitted.state["weight"], seen[2]["weight"])


def test_after_the_decay_training_goes_on_from_the_best_state():
    """What was learned on the plateau's way down is given up."""
    seen = []

    def validate(module):
        seen.append(detached(module))
        return [1.0, 2.0, 2.0, 2.0, 2.0][len(seen) - 1]

    still = dataclasses.replace(RECIPE, decay=0.0, weight_decay=0.0)
    objective = Objective(linear, square, lambda module, step: None, detached)
    fit(
        objective, batches, validate, recipe=still, rate=0.1, check_steps=3, step_limit=60,
        numerics=PLAIN, seed=0,
    )  # fmt: skip
    assert not torch.equal(seen[2]["weight"], seen[0]["weight"])
    assert torch.allclose(seen[3]["weight"], seen[0]["weight"])  # at rate 0 it stands still


def test_what_is_validated_is_the_moving_average_of_the_weights():
    """After k steps at rate r with kept share a_k = min(average, (1+k)/(10+k)), checked by hand."""
    weights, seen = [], []

    def after(module, step):
        weights.append(module.weight.detach().clone())

    def validate(module):
        seen.append(module.weight.detach().clone())
        return 1.0

    start = linear().weight.detach().clone()
    fit(
        Objective(linear, square, after, detached), batches, validate, recipe=RECIPE, rate=0.1,
        check_steps=4, step_limit=4, numerics=PLAIN, seed=0,
    )  # fmt: skip
    expected = start
    for step, weight in list(enumerate(weights, 1))[1::2]:
        kept = min(RECIPE.average, step / (9 + step)) ** 2
        expected = kept * expected + (1 - kept) * weight
    torch.testing.assert_close(seen[0], expected)
    assert not torch.allclose(seen[0], weights[-1])


def test_the_rate_rises_over_the_warm_up():
    """Step k of the first w has k / w of the rate: with plain AdamW steps of that size."""
    moved = []

    def after(module, step):
        moved.append(module.bias.detach().clone())

    recipe = dataclasses.replace(RECIPE, warmup_steps=4, clip=1e9)
    fit(
        Objective(linear, square, after, detached), batches, lambda module: 1.0, recipe=recipe,
        rate=0.01, check_steps=4, step_limit=4, numerics=PLAIN, seed=0,
    )  # fmt: skip
    first = (moved[0] - linear().bias).abs().item()
    assert first == pytest.approx(0.01 / 4, rel=1e-3)  # Adam's first step is the rate itself


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_fails_the_run(bad):
    """The reason names the step and the rate."""
    calls = itertools.count()

    def loss(module, batch, seed):
        return square(module, batch, seed) * (bad if next(calls) == 4 else 1.0)

    with pytest.raises(RunFailed, match=r"not a number at step 5, learning rate 0\.1"):
        train([1.0], loss=loss)


def test_a_validation_loss_that_is_never_a_number_fails_the_run():
    """No state was ever worth keeping."""
    with pytest.raises(RunFailed, match=r"validation loss was never a number, learning rate 0\.1"):
        train([math.nan])


def test_a_look_that_is_no_number_is_no_improvement():
    """One NaN among numbers is waited out, not kept."""
    fitted = train([2.0, math.nan, 1.0, 3.0, 3.0, 3.0, 3.0])

    assert fitted.validation_loss == 1.0
    assert fitted.converged


def test_the_gradient_is_clipped_and_norms_are_not_decayed():
    """Biases and norms get no weight decay: at a zero gradient only matrices shrink."""
    recipe = dataclasses.replace(RECIPE, weight_decay=0.5)
    fitted = train([3, 2, 1], recipe, loss=lambda m, b, s: 0.0 * square(m, b, s), step_limit=9)

    assert (fitted.state["weight"].abs() < linear().weight.abs()).all()
    assert torch.equal(fitted.state["bias"], linear().bias)


def problem(seed=3, side=16):
    rng = np.random.default_rng(0)
    targets = np.arange(24) % 2
    pixels = rng.integers(0, 100, (24, side, side), dtype=np.uint8)
    pixels[targets == 1, 4:10, 4:10] += 120
    rows = np.arange(16)
    return Batches(pixels, targets, rows, 8, Augmentation(), seed), np.arange(16, 24)


def tuned(seed=3, policy="full", workers=0, rate=3e-3, recipe=None, targets=None, limit=8):
    made, validation = problem(seed)
    if targets is not None:
        made = dataclasses.replace(made, targets=targets)
    return fine_tune(
        functools.partial(build, Backbone("test_resnet", {"drop_rate": 0.5}), 2, 1),
        TASKS["classification"],
        POLICIES[policy],
        Convention(16, (0.3,) * 3, (0.2,) * 3, ""),
        made,
        validation,
        recipe=recipe or Recipe(check_steps=4),
        rate=rate,
        step_limit=limit,
        numerics=PLAIN,
        workers=workers,
    )


def test_the_same_seed_gives_the_same_bits_however_many_threads_make_batches():
    """Dropout, order and augmentation derive from the seed; the global generator is not read."""
    torch.manual_seed(1)
    one = tuned()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    two = tuned(workers=2)

    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.history == two.history
    assert all(torch.equal(one.state[k], two.state[k]) for k in one.state)
    other = tuned(seed=4)
    assert not torch.equal(one.state["conv1.0.weight"], other.state["conv1.0.weight"])


def test_the_kept_state_gives_the_validation_loss_that_was_reported():
    """Loaded into a fresh network, in evaluation mode, it is the same number."""
    fitted = tuned()
    made, validation = problem()
    model = build(Backbone("test_resnet"), 2)
    model.load_state_dict(fitted.state)
    images = torch.from_numpy(made.pixels[validation])[:, None].expand(-1, 3, -1, -1).float()

    with torch.inference_mode():
        outputs = model.eval()((images / 255 - 0.3) / 0.2)
    expected = nn.functional.cross_entropy(outputs, torch.from_numpy(made.targets[validation]))
    assert fitted.validation_loss == pytest.approx(expected.item(), rel=1e-5)
    assert fitted.validation_loss == min(row["validation_loss"] for row in fitted.history)


def test_a_policy_trains_what_it_names_and_nothing_else(monkeypatch):
    """Tensors that the policy leaves out keep their bits."""
    head = Policy("head", False, lambda name: name.startswith("fc"), "the classifier")
    monkeypatch.setitem(POLICIES, "head", head)
    fitted = tuned(policy="head")
    start = build(Backbone("test_resnet", {"drop_rate": 0.5}), 2, 1).state_dict()

    trained = {n for n, t in fitted.state.items() if not torch.equal(t, start[n])}
    parameters = {name for name, _ in build(Backbone("test_resnet"), 2).named_parameters()}
    assert trained & parameters == {"fc.weight", "fc.bias"}
    model = build(Backbone("test_resnet"), 2)
    set_trainable(model, head)
    assert sum(p.requires_grad for p in model.parameters()) == 2


def test_an_unknown_policy_is_answered_with_the_nearest():
    """The known ones are named."""
    from radstart.core.errors import RadstartError

    with pytest.raises(RadstartError, match=r"unknown policy .*did you mean frozen\?"):
        policy_named("frozn")


FIRST = (3e-4, 1e-3, 3e-3)


@pytest.mark.parametrize(
    ("tried", "winners", "growth", "expected"),
    [
        (FIRST, [1e-3, 1e-3], 2, FIRST),
        (FIRST, [1e-3, 3e-3], 2, (*FIRST, 1e-2)),
        (FIRST, [3e-4, 1e-3], 2, (1e-4, *FIRST)),
        (FIRST, [3e-4, 3e-3], 2, (1e-4, *FIRST, 1e-2)),
        (FIRST, [3e-4, 3e-3], 0, FIRST),
        ((*FIRST, 1e-2), [1e-2], 1, (*FIRST, 1e-2)),
        ((*FIRST, 1e-2), [1e-2], 2, (*FIRST, 1e-2, 3e-2)),
        ((*FIRST, 1e-2), [3e-3, 1e-3], 2, (*FIRST, 1e-2)),
        ((*FIRST, 1e-2, 3e-2), [3e-2], 9, (*FIRST, 1e-2, 3e-2, 1e-1)),
        ((*FIRST, 1e-2, 3e-2, 1e-1), [1e-1], 9, (*FIRST, 1e-2, 3e-2, 1e-1)),
    ],
)
def test_the_grid_grows_beyond_the_edges_that_win(tried, winners, growth, expected):
    """By one value, for every arm alike, as far as allowed and as the ladder goes."""
    assert grown_grid(tried, winners, FIRST, growth) == pytest.approx(expected)


def test_the_recipes_grid_stands_on_the_ladder():
    """Growth means the ladder's next value."""
    assert set(Recipe().grid) <= set(LADDER)
    assert list(LADDER) == sorted(LADDER)
