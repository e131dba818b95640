"""An arm whose input is in doubt is asked for it before anything trains."""

import shutil
from pathlib import Path

import pytest

import radstart
from radstart.core.files import read_toml
from radstart.study import fed

SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.fixture
def bare(weights, tmp_path):
    """Return a file of weights with nothing beside it: its input is assumed."""
    return Path(shutil.copyfile(weights / "model.safetensors", tmp_path / "bare.safetensors"))


def study(images, out, *arms):
    return radstart.compare(
        images, out=out, arms=arms, backbone="test_resnet", image_size=32, policies=["frozen"],
        seeds=1, numerics="fp32",
    )  # fmt: skip


@pytest.mark.slow
def test_a_bare_file_is_asked_once_and_a_folder_is_not(
    images, weights, bare, tmp_path, monkeypatch
):
    """What was found stands in the study; the second call does not look again."""
    arms = (f"bare=file:{bare}", f"w=file:{weights}", "random", "moments:bare")
    study(images, tmp_path / "s", *arms)
    assert read_toml(tmp_path / "s" / "inputs.toml").keys() == {"bare"}

    monkeypatch.setattr(fed, "detect", None)
    study(images, tmp_path / "s", *arms)


@pytest.mark.slow
def test_an_input_that_was_asked_for_is_in_no_doubt(images, bare, tmp_path, monkeypatch):
    """A person decided."""
    monkeypatch.setattr(fed, "detect", None)
    arm = radstart.ArmSpec("bare", f"file:{bare}", convention="0to1")
    study(images, tmp_path / "s", arm)

    assert not (tmp_path / "s" / "inputs.toml").exists()


@pytest.mark.slow
def test_an_input_that_clearly_loses_is_warned_of(images, bare, tmp_path, monkeypatch, capsys):
    """On the screen, in the facts."""
    monkeypatch.setattr(fed, "detect", lambda *given, **named: None)
    monkeypatch.setattr(fed, "warning", lambda found, convention: "imagenet loses to 0to1")
    found = study(images, tmp_path / "s", f"bare=file:{bare}")

    assert any("imagenet loses to 0to1" in line for line in found.facts["warnings"])
    assert any("imagenet loses to 0to1" in note for note in found.facts["arms"][0]["notes"])


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent: NOT TESTED")
def test_a_wrong_default_of_timm_is_seen_on_radiographs(tmp_path):
    """MobileNetV2 was fed -1 to 1; timm's default for its name is another."""
    data = SHARED / "data" / "chest_xray_kermany"
    file = SHARED / "weights" / "mobilenetv2_100_imagenet_tf2" / "model.safetensors"
    found = radstart.compare(
        data, out=tmp_path / "s", label_column="binary", leakage="regroup",
        arms=[f"bare=file:{file}"], backbone="mobilenetv2_100", image_size=64,
        policies=["frozen"], seeds=1, numerics="fp32",
    )  # fmt: skip

    assert any("-1to1 fits" in line for line in found.facts["warnings"])
