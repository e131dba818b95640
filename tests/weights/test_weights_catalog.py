"""The catalog: every value is checked, every reference leads somewhere, overlap is explained."""

import re
from dataclasses import fields, replace
from urllib.parse import urlparse

import pytest
import torch

import radstart.weights
from radstart.backbones import Backbone, build, check_name
from radstart.core.errors import RadstartError
from radstart.weights.adapters import ADAPTERS
from radstart.weights.catalog import (
    CATALOG,
    GROUPS,
    LOADABLE,
    TERMS,
    Entry,
    ancestry,
    entries,
    families,
    find,
    find_set,
    read_catalog,
    related,
)
from radstart.weights.convention import stated_convention

AWAITED = {
    *("torchvision", "keras", "radimagenet_torch", "radimagenet_port", "radiologynet", "ssl"),
    *("torchxrayvision", "dino", "dinov2", "dinov3", "hf_dinov2", "mae", "eva02"),
}
SETS = {known.name: known for known in read_catalog(CATALOG).sets}
NAMED = [entry for entry in entries() if entry.backbone]


@pytest.fixture(scope="module")
def timm():
    """Return timm, imported where its torchvision has no operators."""
    check_name("resnet18")
    import timm

    return timm


# --- every reference leads somewhere ---------------------------------------------------------


def test_the_families_of_the_source_papers_are_there():
    """And what cannot be loaded is listed too."""
    names = {family.name for family in families()}

    assert names >= {"imagenet", "torchvision", "radimagenet", "radiologynet", "cpmid", "mimic-vit"}
    assert names >= {"torchxrayvision", "dino", "dinov2", "dinov3", "rad-dino", "medical-mae"}
    assert names >= {"eva-x", "ark", "biomedclip", "medclip", "chexzero", "medimageinsight"}
    assert names >= {"lvm-med", "usfm", "ultrasam", "medsam", "medicalnet", "cxr-foundation", "own"}
    assert {family.group for family in families()} == set(GROUPS)


def test_every_backbone_of_the_source_papers_has_an_imagenet_start():
    """One name each, with timm's full tag behind it."""
    papers = (
        "resnet18 resnet34 resnet50 resnet101 resnet152 vgg16 densenet121 inception_v3 "
        "inception_resnet_v2 efficientnet_b3 efficientnet_b4 mobilenetv3_small_100 "
        "mobilenetv3_large_100 vit_small_patch16_224 vit_base_patch16_224 vit_large_patch16_224 "
        "swin_tiny_patch4_window7_224 swin_base_patch4_window7_224 convnext_tiny convnext_base"
    )
    for backbone in papers.split():
        entry = find("imagenet", backbone)
        assert entry.name == f"imagenet/{backbone}"
        assert re.fullmatch(rf"timm/{backbone}\.\w+", entry.hub)
    for size in ("small", "base", "large"):
        assert find("dinov2", f"vit_{size}_patch14_dinov2").loadable == "yes"


def test_sets_are_known_by_one_name_each_and_their_parents_exist():
    """No alias means two sets; nobody is their own ancestor."""
    owner = {}
    for known in SETS.values():
        assert set(known.parents) <= set(SETS), known.name
        above = {up for parent in known.parents for up in ancestry([parent])}
        assert known.name not in above
        for text in (known.name, *known.aliases, *known.folders):
            plain = re.sub(r"[^a-z0-9]", "", text.casefold())
            assert owner.setdefault(plain, known.name) == known.name, text
            assert find_set(text) == known.name
            assert find_set(text.upper().replace("-", "_")) == known.name


def test_what_weights_have_seen_are_sets_of_the_catalog():
    """Also where the list is not complete, and then it says so."""
    for entry in entries():
        assert set(entry.saw) <= set(SETS), entry.name
        assert entry.saw or entry.saw_note or entry.loadable == "no", entry.name


def test_conventions_are_names_or_numbers_that_make_one():
    """The main one stands among those in circulation once."""
    for entry in entries():
        for stated in (entry.convention, *entry.also) if entry.convention else entry.also:
            known = stated_convention(stated, entry.size or 224, entry.name)
            assert len(known.mean) == len(known.std)
            if isinstance(stated, dict) and "channels" in stated:
                assert stated["channels"] == len(known.mean)
        assert entry.convention not in entry.also
        assert len({str(one) for one in entry.also}) == len(entry.also)


def test_origins_are_adapters():
    """Those in AWAITED have no file yet: an adapter that comes is taken off the list."""
    assert {entry.origin for entry in entries()} - {""} <= set(ADAPTERS) | AWAITED


def test_switches_are_the_ones_that_the_adapter_sets():
    """The catalog does not contradict an adapter."""
    for entry in NAMED:
        if entry.origin in ADAPTERS:
            of_adapter = ADAPTERS[entry.origin].switches(entry.backbone)
            assert {**of_adapter, **entry.switches} == {**entry.switches, **of_adapter}, entry.name


@pytest.mark.slow
def test_backbones_exist_and_take_their_switches(timm):
    """Those with switches are built, the others' names are looked up."""
    switched = {(e.backbone, tuple(sorted(e.switches.items()))) for e in NAMED if e.switches}

    assert len(switched) > 5
    assert [e.name for e in NAMED if not timm.is_model(e.backbone)] == []
    for backbone, switches in switched:
        with torch.device("meta"):
            build(Backbone(backbone, dict(switches)), 0)


def test_timms_weights_are_as_timm_states_them(timm):
    """Tag, size, mean and std, licence: by timm's own table of weights."""
    ours = [entry for entry in NAMED if entry.hub.startswith("timm/")]
    assert len(ours) > 60
    for entry in ours:
        stated = timm.get_pretrained_cfg(entry.hub.removeprefix("timm/"))
        convention = stated_convention(entry.convention, entry.size, "")
        assert stated is not None, entry.hub
        assert stated.hf_hub_id == entry.hub
        assert entry.hub.startswith(f"timm/{entry.backbone}.")
        assert stated.input_size == (3, entry.size, entry.size), entry.name
        assert convention.mean == pytest.approx(stated.mean), entry.name
        assert convention.std == pytest.approx(stated.std), entry.name
        assert stated.license.replace("-license", "") in entry.licence.casefold(), entry.name


def test_addresses_that_timm_knows_too_are_the_same(timm):
    """The publishers' files of DINO, DINOv2 and Segment Anything, as timm names them."""
    known = {
        timm.get_pretrained_cfg(name).url: name.partition(".")[0]
        for pattern in ("*.dino", "*dinov2*", "samvit*")
        for name in timm.list_pretrained(pattern)
    }
    ours = [entry for entry in NAMED if entry.name.endswith("-meta") and entry.url]
    assert len(ours) == 13
    assert {entry.url: entry.backbone for entry in ours}.items() <= known.items()


def test_names_without_a_tag_mean_timms_default_recipe(timm):
    """imagenet/resnet50 is what timm.create_model("resnet50", pretrained=True) loads."""
    plain = [entry for entry in find_family("imagenet").entries if "." not in entry.name]
    assert len(plain) > 20
    for entry in plain:
        assert entry.hub == f"timm/{entry.backbone}.{timm.get_pretrained_cfg(entry.backbone).tag}"


def find_family(name):
    return next(family for family in families() if family.name == name)


def test_torchvisions_addresses_and_hashes_are_its_own(timm):
    """As they stand in the installed torchvision; the digits in a name are the hash's first."""
    import torchvision

    theirs = {
        weights.url: weights
        for name in torchvision.models.list_models(module=torchvision.models)
        for weights in torchvision.models.get_model_weights(name)
    }
    for entry in find_family("torchvision").entries:
        weights = theirs[entry.url]
        assert entry.url.endswith(f"-{entry.sha256}.pth")
        assert entry.mib == pytest.approx(weights.meta["_file_size"])
        assert entry.size == weights.transforms().crop_size[0]
        assert (entry.name.endswith("-v2")) == weights.name.endswith("V2")
        if "inception" not in entry.name:  # which scales by itself from these to -1..1
            assert tuple(weights.transforms().mean) == pytest.approx((0.485, 0.456, 0.406))
            assert entry.convention == "imagenet"


def test_addresses_are_plain_and_secure_but_for_the_one_that_says_so():
    """https, no parameters; RadiologyNET publishes http alone."""
    for entry in entries():
        for url in filter(None, (entry.url, entry.home)):
            parsed = urlparse(url)
            secure = parsed.scheme == "https"
            assert parsed.netloc
            assert not parsed.query
            assert secure or (entry.family == "radiologynet" and "plain http" in entry.notes[1])
        assert not entry.hub or re.fullmatch(r"[\w.-]+/[\w.-]+", entry.hub)


def test_an_entry_is_fit_for_the_table_and_says_nothing_of_memory():
    """Names are short; sentences end; nobody is told how the catalog was written."""
    for entry in entries():
        said = " ".join((entry.why, entry.saw_note, *entry.notes, *entry.steps, entry.licence))
        assert len(entry.name) <= 60
        assert not entry.why or re.fullmatch(r"[A-Z].*\.", entry.why), entry.name
        assert not re.search(r"\b(memory|remember\w*|guess\w*)\b", said)
        assert entry.terms in TERMS
        if entry.loadable == "yes":
            assert (entry.why, entry.steps) == ("", ())


# --- finding ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "backbone", "found"),
    [
        ("radimagenet/densenet121", "", "radimagenet/densenet121"),
        ("RadImageNet", "", "radimagenet/resnet50"),
        ("radimagenet", "inception_v3", "radimagenet/inception_v3"),
        ("radimagenet", "inception_resnet_v2", "radimagenet/inception_resnet_v2"),
        ("radimagenet", "resnet50.a1_in1k", "radimagenet/resnet50"),
        ("imagenet", "resnet50.tv_in1k", "imagenet/resnet50.tv_in1k"),
        ("imagenet", "resnet50.a1_in1k", "imagenet/resnet50"),
        ("imagenet/resnet50.a1_in1k", "", "imagenet/resnet50"),
        ("imagenet", "convnext_tiny", "imagenet/convnext_tiny"),
        ("torchxrayvision", "densenet121", "torchxrayvision/densenet121-res224-all"),
        ("torchvision", "resnet50", "torchvision/resnet50"),
        ("cpmid", "", "cpmid"),
        ("cpmid", "resnet50", "cpmid"),
    ],
)
def test_an_entry_is_found_by_its_name_or_by_family_and_backbone(name, backbone, found):
    """A tag chooses among timm's files, and is nothing to the others."""
    assert find(name, backbone).name == found


@pytest.mark.parametrize(
    ("name", "backbone", "said"),
    [
        ("radimagnet", "", "unknown weights.*did you mean radimagenet"),
        ("radimagenet/resnet5", "", "did you mean radimagenet/resnet50"),
        ("radimagnet/resnet50", "", "did you mean radimagenet/resnet50"),
        (
            *("radimagenet", "vit_base_patch16_224"),
            "radimagenet: no weights for vit_base_patch16_224: it has resnet50, densenet121, "
            "inception_v3, inception_resnet_v2",
        ),
        (
            *("imagenet", "resnet18.xyz"),
            r"imagenet: no resnet18.xyz: it has resnet18.a1_in1k, resnet18.tv_in1k; "
            r"hub:timm/resnet18.xyz",
        ),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(name, backbone, said):
    """One line: the nearest names, or the family's backbones."""
    with pytest.raises(RadstartError, match=said):
        find(name, backbone)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("chest_xray_kermany", "kermany-chest-xray"),
        ("Dataset_BUSI_with_GT", "busi"),
        ("pneumoniamnist_224.npz", "pneumoniamnist"),
        ("ChestX-ray14", "chestx-ray14"),
        ("NIH", "chestx-ray14"),
        ("CheXpert-v1.0-small", "chexpert"),
        ("mimic-cxr-jpg-2.0.0", "mimic-cxr"),
        ("chest_xray", "kermany-chest-xray"),
        ("our chest_xray of 2024", None),  # a folder's name counts alone
        ("NIH pancreas", None),
        ("knees", None),
        ("busi and ddti", None),  # two sets
        ("", None),
    ],
)
def test_a_set_is_known_by_a_folder_like_name(text, name):
    """Where two sets, or only words that many sets share, stand in it, none is."""
    assert find_set(text) == name


def test_ancestry_goes_all_the_way_up():
    """RSNA pneumonia is ChestX-ray14; unknown sets have only themselves."""
    assert ancestry(["rsna-pneumonia"]) == {"rsna-pneumonia", "chestx-ray14"}
    assert ancestry(["covid-19-radiography"]) >= {"chestx-ray14", "kermany-chest-xray", "padchest"}
    assert ancestry(["Our Archive"]) == {"our-archive"}
    assert ancestry([]) == frozenset()


@pytest.mark.parametrize(
    ("saw", "test", "said"),
    [
        (["chestx-ray14"], "NIH ChestX-ray14", ["were trained on chestx-ray14"]),
        (["chestx-ray14"], "rsna-pneumonia", ["rsna-pneumonia is made from chestx-ray14"]),
        (["rsna-pneumonia"], "chestx-ray14", ["rsna-pneumonia, which is made from chestx-ray14"]),
        (["chestmnist"], "rsna-pneumonia", ["both made from chestx-ray14"]),
        (["chestx-ray14", "nih-google"], "chestmnist", ["made from chestx-ray14"]),
        (["kermany-chest-xray"], "pneumoniamnist", ["made from kermany-chest-xray"]),
        (["lits"], "organamnist", ["made from lits"]),
        (["our archive"], "Our-Archive", ["trained on our-archive"]),
        (["imagenet-1k", "radimagenet"], "busi", []),
        ([], "busi", []),
        (["mimic-cxr", "padchest"], ["padchest", "mimic-cxr"], ["on padchest", "on mimic-cxr"]),
    ],
)
def test_overlap_with_a_test_set_is_explained(saw, test, said):
    """The same set, one made from the other, or both made from a third: the most direct."""
    lines = related(saw, test)

    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


def test_every_catalogued_chest_start_is_held_against_its_own_sets():
    """TorchXRayVision's and Ark's weights saw RSNA pneumonia, or what it is made from."""
    for name in ("torchxrayvision/densenet121-res224-nih", "ark/ark6-swin_base", "medical-mae"):
        assert related(find(name).saw, "rsna-pneumonia")
    assert not related(find("torchvision/resnet50").saw, "rsna-pneumonia")


# --- reading ---------------------------------------------------------------------------------

GOOD = """
schema = 1
set = [{ name = "a", title = "A" }]
[[family]]
name = "f"
title = "F"
group = "radiology"
licence = "MIT"
saw = ["a"]
origin = "timm"
size = 224
convention = "imagenet"
weights = [{ name = "resnet18", url = "https://example.org/x.pth" }]
"""


def read(tmp_path, text):
    path = tmp_path / "catalog.toml"
    path.write_text(text, encoding="utf-8")
    return read_catalog(path)


def test_a_line_takes_its_familys_values_and_overrides_them(tmp_path):
    """The backbone is the name where no other is given."""
    text = GOOD + '[[family]]\nname = "g"\ntitle = "G"\ngroup = "radiology"\nlicence = "none"\n'
    text += 'loadable = "no"\nwhy = "Gone."\n'

    catalog = read(tmp_path, text)
    (entry,), (gone,) = (family.entries for family in catalog.families)
    assert (entry.name, entry.backbone, entry.size) == ("f/resnet18", "resnet18", 224)
    assert (entry.saw, entry.licence, entry.loadable) == (("a",), "MIT", "yes")
    assert (gone.name, gone.backbone, gone.why) == ("g", "", "Gone.")
    assert catalog.families[1].default == "g"
    assert hash(entry) != hash(replace(entry, size=225))


def test_every_entry_says_enough_to_be_used_and_does_not_contradict_itself():
    """Rules for whoever adds one: types, words that are known, what each kind must say."""
    names = [e.name for e in entries()]
    assert len(set(names)) == len(names)
    for entry in entries():
        yes, fetched = entry.loadable == "yes", entry.hub or entry.url
        texts = [f.name for f in fields(Entry) if f.type is str]
        rules = {
            "texts": all(type(getattr(entry, name)) is str for name in texts),
            "lists": all(
                type(t) is str for k in ("saw", "steps", "notes") for t in getattr(entry, k)
            ),
            "numbers": type(entry.size) is int and type(entry.mib) in (int, float),
            "also": all(type(one) in (str, dict) for one in (entry.convention, *entry.also)),
            "numbers of an input": all(
                {"mean", "std"} <= set(one) <= {"mean", "std", "order", "channels", "per_image"}
                for one in (entry.convention, *entry.also)
                if isinstance(one, dict) and not one.get("per_image")
            ),
            "words": entry.terms in TERMS and entry.loadable in LOADABLE,
            "ends": entry.ends in ("file", "arm"),
            "name": entry.name == entry.name.casefold(),
            "licence": entry.licence,
            "why": yes or entry.why,
            "steps": entry.loadable != "steps" or entry.steps,
            "hub": (entry.file or not entry.hub) and not (entry.hub and entry.url),
            "url": not yes or fetched,
            "own": not yes or (entry.backbone and entry.origin and entry.size and entry.convention),
            "sha256": re.fullmatch(r"([0-9a-f]{8,64})?", entry.sha256),
        }
        assert [rule for rule, fine in rules.items() if not fine] == [], entry.name
    for family in families():
        assert family.group in GROUPS, family.name
        assert family.default in [entry.name for entry in family.entries], family.name
    assert len({family.name for family in families()}) == len(families())
    assert len(SETS) == len(read_catalog(CATALOG).sets)


def test_what_no_entry_has_is_refused(tmp_path):
    """A key that is written wrongly does not pass in silence."""
    for old, new in (("saw =", "sow ="), ("url =", "ulr ="), ('name = "a"', 'nam = "a"')):
        with pytest.raises((TypeError, KeyError)):
            read(tmp_path, GOOD.replace(old, new, 1))


def test_the_front_door_gives_what_it_names():
    """A name that is also a module's would be the module once that was imported."""
    import types

    for name in radstart.weights._MODULE_OF:
        assert not isinstance(getattr(radstart.weights, name), types.ModuleType), name
        assert not (CATALOG.parent / f"{name}.py").exists(), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = radstart.weights.nothing
