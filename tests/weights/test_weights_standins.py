"""One contract for every published layout: the loader's network gives the original's features.

A stand-in is random weights in the exact layout of a published file (standins/); docs/weights.md
lists them all; families_page.py proves those of larger networks in the same layout, too.
"""

import shutil
from dataclasses import replace

import pytest
import torch
from standins.every import ONE_OF_EACH, layout
from standins.proof import prove

from radstart import load_weights
from radstart.weights.catalog import entries, find
from radstart.weights.convention import stated_convention

pytestmark = pytest.mark.slow

SAME_NAMES = ("torchvision", "dino")
"""Origins some of whose files have timm's own names: then nothing tells them apart, or needs to."""


def _name(standin):
    return f"{standin.entry}-{standin.verified}".replace(" ", "_")


@pytest.fixture
def folder(tmp_path):
    """Yield a folder whose files (up to 2 GB) are gone at once; pytest would keep three runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("standin", ONE_OF_EACH, ids=_name)
def test_a_published_file_gives_the_originals_features(standin, folder):
    """Whole, by its name in the catalog and with the catalog's input; recognised without it."""
    entry = find(standin.entry)
    proof = prove(standin, folder)
    known = stated_convention(entry.convention, entry.size, f"catalog, {entry.name}")

    assert entry.name == standin.entry
    assert proof.spread > 1e-3  # features tell images apart
    assert proof.apart <= standin.tolerance <= 1e-5
    receipt = proof.receipt
    assert receipt.parameters_assigned == receipt.parameters_total > 100_000
    assert receipt.partial == ()
    assert (receipt.entry, receipt.origin) == (entry.name, entry.origin)
    assert receipt.licence == entry.licence
    assert replace(proof.convention, size=entry.size) == known
    assert len(known.mean) == standin.channels
    _assert_recognised(entry, standin, proof)


def _assert_recognised(entry, standin, proof):
    """The file alone, with the backbone's name: the same network, by names and shapes."""
    chosen = {k: v for k, v in entry.switches.items() if entry.origin == "timm"}
    model, _, receipt = load_weights(
        proof.path, backbone=entry.backbone, switches=chosen, convention=entry.convention,
        image_size=standin.size,
    )  # fmt: skip

    assert receipt.origin == entry.origin or (
        entry.origin in SAME_NAMES and receipt.origin == "timm" and receipt.renamed == 0
    )
    own = proof.receipt.switches
    said = {"img_size": standin.size} if own.get("img_size") == standin.size else {}  # by the entry
    assert {**said, **receipt.switches} == own
    ours, theirs = model.state_dict(), proof.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


GIANTS = {"vit_giant_patch14_dinov2", "vit_giant_patch14_reg4_dinov2"}
"""More than 10 GB of memory: proved with fewer and narrower blocks, in test_adapters_dino.py."""


def test_every_loadable_entry_has_its_proof():
    """A stand-in in its layout; files of timm's own names are loaded as they are."""
    proved = {layout(find(standin.entry)) for standin in ONE_OF_EACH}
    asked = [
        entry
        for entry in entries()
        if entry.backbone and entry.loadable != "no" and entry.origin not in ("timm", "ssl")
    ]

    unproved = [entry.name for entry in asked if layout(entry) not in proved]
    assert {find(name).backbone for name in unproved} == GIANTS
