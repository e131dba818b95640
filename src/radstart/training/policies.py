"""Policies: which tensors are trained. A policy is one entry in POLICIES."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from radstart.core.errors import RadstartError, nearest


@dataclass(frozen=True)
class Policy:
    """What is trained.

    Attributes:
        name: as written in a study.
        probe: True = the backbone is not trained; a linear probe is fitted to convergence on its
            features, computed once.
        trainable: (parameter name) -> whether the loop trains it; unused for a probe.
        text: one line for the report.
    """

    name: str
    probe: bool
    trainable: Callable[[str], bool]
    text: str


POLICIES = {
    policy.name: policy
    for policy in (
        Policy("full", False, lambda name: True, "every tensor is trained"),
        Policy("frozen", True, lambda name: False, "a linear probe on frozen features"),
    )
}


def policy_named(name: str) -> Policy:
    """Return the policy; raises RadstartError with the nearest names."""
    if name not in POLICIES:
        raise RadstartError("unknown policy", "policies", name, nearest(name, POLICIES))
    return POLICIES[name]


def set_trainable(model: nn.Module, policy: Policy) -> None:
    """Switch gradients on for what the policy trains and off for the rest."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(policy.trainable(name))
