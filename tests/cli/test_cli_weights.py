"""radstart weights list and show: the catalog, readable at 80 columns and quickly there."""

import resource
import subprocess
import sys

import pytest

from radstart.weights import entries, families
from radstart.weights.convention import NAMED
from radstart.weights.listing import CONVENTIONS, catalog_lines, entry_lines, family_lines


def test_the_table_has_every_family_once_with_its_backbones(cli):
    """Grouped; columns for input, terms and loading; the footer counts."""
    code, out, err = cli("weights", "list")
    lines = out.splitlines()

    assert (code, err) == (0, "")
    assert out == "\n".join(catalog_lines()) + "\n"
    assert lines[0].split() == ["FAMILY", "INPUT", "TERMS", "LOADS"]
    rows = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert sorted(rows) == sorted(family.name for family in families())
    at = lines.index(next(line for line in lines if line.startswith("  radimagenet ")))
    assert lines[at].split()[1:] == ["-1to1-bgr,", "...", "224", "unclear", "steps"]
    assert lines[at + 1].split(", ") == [
        *("      resnet50", "densenet121", "inception_v3", "inception_resnet_v2"),
    ]
    assert f"{len(entries())} entries: " in out


def test_one_family_is_listed_file_by_file(cli):
    """With the backbone where the name does not say it."""
    code, out, _ = cli("weights", "list", "--family", "EVA-X")

    assert code == 0
    assert "eva-x/tiny   0.4919/0.2851 224  MIT    yes\n    eva02_tiny_patch14_224 (patch" in out
    for family in families():
        shown = family_lines(family.name)
        assert all(any(line.startswith(e.name + " ") for line in shown) for e in family.entries)


def test_everything_fits_into_80_columns():
    """Addresses and file names alone may be longer: they are not broken."""
    for family in families():
        lines = [*family_lines(family.name), *catalog_lines()]
        assert [line for line in lines if len(line) > 79] == []
    for entry in entries():
        for line in entry_lines(entry.name):
            assert len(line) <= 79 or max(map(len, line.split())) > 40, line


def test_every_convention_that_a_name_can_mean_is_put_into_words():
    """The words are those of NAMED, and of what stands in the catalog."""
    assert set(CONVENTIONS) == set(NAMED)
    for entry in entries():
        shown = " ".join(" ".join(entry_lines(entry.name)).split())
        for stated in (entry.convention, *entry.also):
            assert not isinstance(stated, str) or not stated or f" {stated}: " in shown
    sat = " ".join(" ".join(entry_lines("dinov3/vit_large_patch16_dinov3.sat493m")).split())
    assert "RGB 0..1 minus 0.43 0.411 0.296, divided by 0.213 0.156 0.143; 256 px" in sat


def test_show_says_all_inputs_what_was_seen_the_licence_and_the_steps(cli):
    """RadImageNet: seven inputs in circulation, one of them the catalog's."""
    code, out, err = cli("weights", "show", "radimagenet")
    words = " ".join(out.split())

    assert (code, err) == (0, "")
    assert out.startswith("radimagenet/resnet50\n")
    assert "input -1to1-bgr: BGR, -1..1; 224 px" in words
    for also in ("caffe-0to1: ", "caffe: ", "imagenet: ", "0to1: ", "minus 0.406 0.456 0.485"):
        assert also in words
    assert "terms unclear" in words
    assert "1. Open https://drive.google.com/" in words
    assert "radstart weights get radimagenet/resnet50 --from FILE --accept\n" in out
    assert "--arms random,radimagenet/resnet50\n" in out
    assert "others densenet121, inception_v3" in words


def test_show_names_the_ancestors_of_what_was_seen(cli):
    """A set that another is made from has been seen too."""
    _, out, _ = cli("weights", "show", "torchxrayvision/densenet121-res224-rsna")

    assert "saw          rsna-pneumonia\n             in turn made from chestx-ray14\n" in out
    assert "others" not in out  # one entry was asked for, not its family


def test_show_chooses_by_the_backbone_and_gives_no_command_for_what_is_not_loaded(cli):
    """The reason stands there instead."""
    _, out, _ = cli("weights", "show", "imagenet", "--backbone", "convnext_tiny")
    assert out.startswith("imagenet/convnext_tiny\n")
    assert "timm/convnext_tiny.in12k_ft_in1k" in out

    code, out, _ = cli("weights", "show", "cpmid")
    assert code == 0
    assert "no. No repository, weights or model card" in out
    assert "radstart weights get" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "radimagnet"], "unknown weights; did you mean radimagenet or imagenet"),
        (["show", "radimagenet", "--backbone", "vgg16"], "no weights for vgg16: it has resnet"),
        (["list", "--family", "radimagnet"], "unknown family (got radimagnet); did you mean radi"),
    ],
)
def test_a_misspelt_name_is_one_line(cli, words, said):
    """Exit 2, and what there is."""
    code, out, err = cli("weights", *words)

    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_list_costs_little_over_bare_python():
    """Processor time of whole processes, the least of three: a busy machine takes its time."""

    def seconds(*words):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare = min(seconds("-c", "pass") for _ in range(3))
    listed = min(seconds("-m", "radstart.cli", "weights", "list") for _ in range(3))
    assert listed - bare < 0.3
