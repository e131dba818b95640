"""The one recipe that every arm is trained with; only the learning rate is an arm's own."""

from dataclasses import dataclass

LADDER = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


@dataclass(frozen=True)
class Recipe:
    """AdamW with a rate that stays up until validation stops improving, then decays, then stops.

    Attributes:
        batch_size: images in a step (the last ones of an epoch are spread evenly).
        weight_decay: AdamW's, on tensors of two or more dimensions only.
        clip: largest norm of the gradient.
        warmup_steps: linear rise of the rate at the start.
        average: share of the past that the moving average of all tensors keeps for each step; it
            moves at every second step, and it is what is validated and kept, since single states
            are noisy.
        epochs: the step limit, in epochs of the whole training part, for every budget alike.
        check_steps: fewest steps between two looks at validation (else one epoch).
        plateau_checks: looks without improvement before the rate decays.
        decay: the factor of that decay; training goes on from the best state so far.
        final_checks: looks without improvement, after the decay, before training stops.
        grid: learning rates that every arm tries first (values of LADDER).
        grid_growth: how many values the grid may grow beyond either edge.
    """

    batch_size: int = 32
    weight_decay: float = 0.01
    clip: float = 1.0
    warmup_steps: int = 10
    epochs: int = 30
    average: float = 0.95
    check_steps: int = 10
    plateau_checks: int = 4
    decay: float = 0.1
    final_checks: int = 2
    grid: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    grid_growth: int = 2


def grown_grid(
    tried: tuple[float, ...], winners: list[float], first: tuple[float, ...], growth: int
) -> tuple[float, ...]:
    """Return the grid after it grew by one value beyond each edge where some arm's best lies.

    Args:
        tried: rates that every arm has tried.
        winners: each arm's best rate.
        first: the grid before any growth.
        growth: values allowed beyond either edge of `first`; 0 = the rates stay as they are.
    """
    if not growth:
        return tried
    lowest = max(0, LADDER.index(min(first)) - growth)
    highest = min(len(LADDER) - 1, LADDER.index(max(first)) + growth)
    low, high = LADDER.index(min(tried)), LADDER.index(max(tried))
    if min(tried) in winners and low > lowest:
        low -= 1
    if max(tried) in winners and high < highest:
        high += 1
    return LADDER[low : high + 1]
