"""Starting weights: arms, conventions, loading whole or not at all, receipts."""

from radstart.weights.arms import STARTS, Arm, ArmSpec, parse_arm, resolve_arms, start_model
from radstart.weights.convention import Convention, apply_convention
from radstart.weights.load import Receipt

__all__ = [
    "STARTS",
    "Arm",
    "ArmSpec",
    "Convention",
    "Receipt",
    "apply_convention",
    "parse_arm",
    "resolve_arms",
    "start_model",
]
