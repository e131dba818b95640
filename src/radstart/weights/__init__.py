"""Starting weights: the catalog, arms, conventions, loading whole or not at all, receipts.

What is named here is imported on first use: the catalog is read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radstart.weights.arms import (
        ASSUMED,
        HEAD_KEPT,
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
    from radstart.weights.inspecting.inventory import inventory_of
    from radstart.weights.listing import (
        catalog_lines,
        convention_words,
        entry_lines,
        family_lines,
        set_lines,
        shown_lines,
    )
    from radstart.weights.open import Wanted, decided, load_wanted, load_weights, network_of
    from radstart.weights.receipt import Receipt
    from radstart.weights.remote.getting import fetching, get_lines, steps_lines
    from radstart.weights.source import Source, locate
    from radstart.weights.writing.convert import convert_weights, read_switches
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
    "arms": "ASSUMED HEAD_KEPT Arm ArmSpec empty_model named_in_full parse_arm resolve_arms "
    "start_model with_heads with_options",
    "catalog": "TERMS ancestry entries families find find_set related set_names",
    "convention": "Convention apply_convention stated_convention",
    "detective.detect": "detect features_of",
    "detective.detection": "Answer Detection ProbeScore Scored Value",
    "detective.detection_words": "detection_lines detection_record sentences use warning",
    "inspecting.inventory": "inventory_of",
    "listing": "catalog_lines convention_words entry_lines family_lines set_lines shown_lines",
    "open": "Wanted decided load_wanted load_weights network_of",
    "receipt": "Receipt",
    "remote.getting": "fetching get_lines steps_lines",
    "source": "Source locate",
    "writing.convert": "convert_weights read_switches",
    "writing.export": "GIVES_SCORES Exported Network export_network format_of network_of_weights "
    "outputs_of",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that has it."""
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
