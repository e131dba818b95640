"""Starting weights: arms, conventions, loading whole or not at all, receipts."""

from radstart.weights.arms import (
    STARTS,
    Arm,
    ArmSpec,
    empty_model,
    parse_arm,
    resolve_arms,
    start_model,
    with_heads,
    with_options,
)
from radstart.weights.convention import Convention, apply_convention
from radstart.weights.inventory import Inventory, inventory, inventory_lines
from radstart.weights.receipt import Receipt

__all__ = [
    "STARTS",
    "Arm",
    "ArmSpec",
    "Convention",
    "Inventory",
    "Receipt",
    "apply_convention",
    "empty_model",
    "inventory",
    "inventory_lines",
    "parse_arm",
    "resolve_arms",
    "start_model",
    "with_heads",
    "with_options",
]
