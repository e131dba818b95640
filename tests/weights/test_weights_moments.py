"""`moments`: each tensor's mean and variance, and none of its values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from radstart.weights.moments import moments_like


def kept(tensor):
    """Tell whether a tensor has nothing to redraw: counters, single numbers, constants."""
    return not tensor.is_floating_point() or tensor.numel() < 2 or bool((tensor == tensor[0]).all())


@pytest.mark.slow
def test_each_tensor_keeps_mean_and_variance_and_none_of_its_values(weights):
    """Every tensor of a real architecture: same moments, other values; constants stay."""
    tensors = load_file(weights / "model.safetensors")
    drawn = moments_like(tensors, 0)

    assert drawn.keys() == tensors.keys()
    redrawn = 0
    for name, old in tensors.items():
        new = drawn[name]
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
        if kept(old.flatten()):
            assert torch.equal(new, old)
            continue
        redrawn += 1
        old, new = old.double(), new.double()
        assert new.mean().item() == pytest.approx(old.mean().item(), rel=1e-5, abs=1e-7)
        assert new.var(correction=0).item() == pytest.approx(old.var(correction=0).item(), rel=1e-5)
        # Two float32 numbers may meet by chance; none stays where it was, and none goes together.
        assert (new != old).double().mean() > 0.999
        together = torch.corrcoef(torch.stack([new.flatten(), old.flatten()]))[0, 1].abs()
        assert together < 5 / old.numel() ** 0.5
        small = old.numel() < 1000
        assert not (small and set(new.flatten().tolist()) & set(old.flatten().tolist()))
    assert redrawn > len(tensors) / 3


@pytest.mark.slow
def test_running_variances_stay_positive(weights):
    """Batch norm divides by their root."""
    drawn = moments_like(load_file(weights / "model.safetensors"), 1)

    variances = [tensor for name, tensor in drawn.items() if name.endswith("running_var")]
    assert len(variances) > 5
    assert all((tensor > 0).all() for tensor in variances)


@pytest.mark.slow
def test_seeds_draw_other_values_and_the_same_seed_the_same(weights):
    """Seed s is a draw of its own, whatever the order of the tensors."""
    tensors = load_file(weights / "model.safetensors")
    one, again = moments_like(tensors, 3), moments_like(dict(reversed(tensors.items())), 3)
    two = moments_like(tensors, 4)

    for name, tensor in tensors.items():
        assert torch.equal(one[name], again[name])
        assert torch.equal(one[name], two[name]) == kept(tensor.flatten())


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1e4), min_size=4, max_size=300),
    st.floats(0.1, 3),
    st.integers(0, 5),
)
def test_running_variances_of_any_spread_keep_their_moments(values, power, seed):
    """Skewed ones, as trained networks have them, too; what was redrawn is positive."""
    old = torch.tensor(values, dtype=torch.float64) ** power
    new = moments_like({"bn.running_var": old}, seed)["bn.running_var"]

    assert (new > 0).all()
    assert new.mean().item() == pytest.approx(old.mean().item(), rel=1e-6)
    assert new.std(correction=0).item() == pytest.approx(
        old.std(correction=0).item(), rel=1e-5, abs=1e-9 * old.mean().item()
    )


def test_counters_constants_and_single_numbers_stay():
    """There is nothing to redraw in them."""
    tensors = {
        "bn.num_batches_tracked": torch.tensor(7),
        "bn.weight": torch.ones(5),
        "scale": torch.tensor([0.3]),
    }

    drawn = moments_like(tensors, 0)
    assert all(torch.equal(drawn[name], tensor) for name, tensor in tensors.items())
    assert not any(drawn[name] is tensor for name, tensor in tensors.items())


def test_rotary_periods_stay():
    """They belong to the architecture: a negative period would be another one."""
    tensors = {"rope.periods": torch.rand(16), "blocks.0.norm1.weight": torch.rand(16)}
    drawn = moments_like(tensors, 0)
    assert torch.equal(drawn["rope.periods"], tensors["rope.periods"])
    assert not torch.equal(drawn["blocks.0.norm1.weight"], tensors["blocks.0.norm1.weight"])


def test_half_precision_keeps_its_dtype():
    """The moments hold as far as the dtype can say."""
    old = torch.from_numpy(np.random.default_rng(0).normal(2, 3, 4000)).to(torch.bfloat16)

    new = moments_like({"w": old}, 0)["w"]
    assert new.dtype == torch.bfloat16
    assert new.float().mean().item() == pytest.approx(2, abs=0.2)
    assert new.float().std().item() == pytest.approx(3, rel=0.05)
