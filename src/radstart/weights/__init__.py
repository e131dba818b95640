"""Starting weights: the catalog, arms, conventions, loading whole or not at all, receipts.

What is named here is imported on first use: the catalog is read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radstart.weights.arms import (
        ASSUMED,
        HEAD_KEPT,
        STARTS,
        Arm,
        ArmSpec,
        empty_model,
        named_in_full,
        parse_arm,
        resolve_arms,
        start_model,
        with_heads,
        with_options,
    )
    from radstart.weights.catalog import (
        TERMS,
        Entry,
        Family,
        ancestry,
        entries,
        families,
        find,
        find_set,
        related,
        set_names,
    )
    from radstart.weights.convention import Convention, apply_convention, stated_convention
    from radstart.weights.detective.detect import detect, features_of
    from radstart.weights.detective.detection import Answer, Detection, ProbeScore, Scored, Value
    from radstart.weights.detective.detection_words import (
        detection_lines,
        detection_record,
        sentences,
        use,
        warning,
    )
    from radstart.weights.inspecting.inventory import Inventory, inventory_lines, inventory_of
    from radstart.weights.listing import (
        catalog_lines,
        convention_words,
        entry_lines,
        family_lines,
        set_lines,
        shown_lines,
    )
    from radstart.weights.open import Loaded, decided, load_weights, network_of
    from radstart.weights.receipt import Receipt
    from radstart.weights.remote.getting import fetching, get_lines, steps_lines
    from radstart.weights.source import Source
    from radstart.weights.whereabouts import locate
    from radstart.weights.writing.convert import Converted, convert_weights, read_switches
    from radstart.weights.writing.export import (
        GIVES_SCORES,
        Exported,
        Network,
        export_network,
        format_of,
        network_of_weights,
        outputs_of,
    )

_NAMES = {
    "arms": (
        *("STARTS", "Arm", "ArmSpec", "empty_model", "parse_arm", "resolve_arms", "start_model"),
        *("ASSUMED", "HEAD_KEPT", "named_in_full", "with_heads", "with_options"),
    ),
    "catalog": (
        *("TERMS", "Entry", "Family", "ancestry", "entries", "families", "find", "find_set"),
        *("related", "set_names"),
    ),
    "convention": ("Convention", "apply_convention", "stated_convention"),
    "writing.convert": ("Converted", "convert_weights", "read_switches"),
    "detective.detection": ("Answer", "Detection", "ProbeScore", "Scored", "Value"),
    "detective.detection_words": (
        *("detection_lines", "detection_record", "sentences", "use", "warning"),
    ),
    "detective.detect": ("detect", "features_of"),
    "writing.export": (
        *("GIVES_SCORES", "Exported", "Network", "export_network", "format_of"),
        *("network_of_weights", "outputs_of"),
    ),
    "remote.getting": ("fetching", "get_lines", "steps_lines"),
    "inspecting.inventory": ("Inventory", "inventory_lines", "inventory_of"),
    "listing": (
        *("catalog_lines", "convention_words", "entry_lines", "family_lines", "set_lines"),
        "shown_lines",
    ),
    "whereabouts": ("locate",),
    "open": ("Loaded", "decided", "load_weights", "network_of"),
    "receipt": ("Receipt",),
    "source": ("Source",),
}

__all__ = [
    "ASSUMED",
    "GIVES_SCORES",
    "HEAD_KEPT",
    "STARTS",
    "TERMS",
    "Answer",
    "Arm",
    "ArmSpec",
    "Convention",
    "Converted",
    "Detection",
    "Entry",
    "Exported",
    "Family",
    "Inventory",
    "Loaded",
    "Network",
    "ProbeScore",
    "Receipt",
    "Scored",
    "Source",
    "Value",
    "ancestry",
    "apply_convention",
    "catalog_lines",
    "convention_words",
    "convert_weights",
    "decided",
    "detect",
    "detection_lines",
    "detection_record",
    "empty_model",
    "entries",
    "entry_lines",
    "export_network",
    "families",
    "family_lines",
    "features_of",
    "fetching",
    "find",
    "find_set",
    "format_of",
    "get_lines",
    "inventory_lines",
    "inventory_of",
    "load_weights",
    "locate",
    "named_in_full",
    "network_of",
    "network_of_weights",
    "outputs_of",
    "parse_arm",
    "read_switches",
    "related",
    "resolve_arms",
    "sentences",
    "set_lines",
    "set_names",
    "shown_lines",
    "start_model",
    "stated_convention",
    "steps_lines",
    "use",
    "warning",
    "with_heads",
    "with_options",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that has it."""
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
