"""What a person names: a path, a name, nothing; locked, too long, a device: one line each."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from radstart.core.errors import RadstartError
from radstart.weights import Wanted, load_weights
from radstart.weights.inspecting.inventory import inventory_of
from radstart.weights.reading.files import read_container
from radstart.weights.writing.convert import convert_weights


@pytest.fixture
def locked(weights, cli):
    """Return a folder that anybody reads, with a locked file and a locked folder; as nobody."""
    folder = Path(tempfile.mkdtemp(prefix="radstart-locked-"))
    folder.chmod(0o755)
    shutil.copy(weights / "model.safetensors", folder / "file")
    shutil.copytree(weights, folder / "dir")
    for verb in ("show", "check"):  # imports what there is to import
        assert cli("weights", verb, folder / "dir")[0] == 0
    (folder / "file").chmod(0)
    (folder / "dir").chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    (folder / "dir").chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["file", "dir", "dir/model.safetensors", "dir/absent"])
def test_what_is_locked_is_said_to_be(locked, cli, name):
    """By every verb; not that it is absent, nor with a traceback."""
    for verb in ("show", "check"):
        code, out, err = cli("weights", verb, locked / name)
        assert (code, out) == (2, "")
        assert "cannot read (got Permission denied)" in err
        assert len(err.splitlines()) == 1


def test_a_folder_cannot_be_made_in_a_locked_one(locked, weights):
    """Before anything is loaded there is nothing to be lost."""
    with pytest.raises(RadstartError, match="Permission denied"):
        convert_weights(Wanted(locked / "file", backbone="test_resnet"), locked / "dir" / "out")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 300, "File name too long"),
        ("/dev/zero", "is neither a file nor a folder"),
        ("/proc/self/mem", "Input/output error"),
        ("", "unknown weights|names nothing"),
    ],
)
def test_what_is_no_file_is_refused(cli, name, said):
    """Nothing waits for a device to end."""
    for verb in ("show", "check"):
        code, out, err = cli("weights", verb, name)
        assert (code, out) == (2, "")
        assert any(word in err for word in said.split("|"))
        assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_path_is_taken_where_it_is_there_and_no_name_of_the_catalog(
    cli, weights, tmp_path, monkeypatch
):
    """A folder of one's own may be called like a family; the catalog's names stay the catalog's."""
    shutil.copytree(weights, tmp_path / "sam")
    monkeypatch.chdir(tmp_path)

    assert "looks like  test_resnet" in cli("weights", "show", "sam/model.safetensors")[1]
    assert load_weights("sam/model.safetensors", backbone="test_resnet").receipt.entry == ""
    assert cli("weights", "show", "sam")[1].startswith("sam/")
    assert "unknown weights" in cli("weights", "show", "sam/absent")[2]


def test_a_folder_without_tensors_is_refused_alike(cli, tmp_path):
    """Shown or checked."""
    for verb in ("show", "check"):
        err = cli("weights", verb, tmp_path)[2]
        assert "no model.safetensors in this folder; name a file inside it" in err


def test_a_dictionary_that_is_not_there_is_not_taken_for_another(weights, tmp_path, cli):
    """Also where the file has one alone."""
    tensors = load_file(weights / "model.safetensors")
    torch.save({"state_dict": tensors}, tmp_path / "w.pth")

    for read in (
        lambda: inventory_of(tmp_path / "w.pth", "ema"),
        lambda: load_weights(tmp_path / "w.pth", backbone="test_resnet", take="ema"),
    ):
        with pytest.raises(RadstartError, match=r"--take: .*got ema.*there is state_dict"):
            read()
    taken = load_weights(tmp_path / "w.pth", backbone="test_resnet", take="state_dict")
    assert taken.receipt.container == "state_dict"


@pytest.mark.parametrize("name", ["example_model", "optimal", "scheduled_ema", "champion"])
def test_a_dictionary_is_no_ballast_for_a_part_of_its_name(weights, tmp_path, name):
    """amp is in example, optim in optimal: two networks, and none is chosen in silence."""
    tensors = load_file(weights / "model.safetensors")
    torch.save({"model": tensors, name: tensors}, tmp_path / "w.pth")
    with pytest.raises(RadstartError, match=f"several dictionaries.*model; {name}"):
        read_container(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "name",
    ["optimizer", "optim_G", "optimizer_states", "lr_schedulers", "LRScheduler", "grad_scaler"],
)
def test_what_an_optimizer_keeps_is_ballast(weights, tmp_path, name):
    """Under the names in use."""
    tensors = load_file(weights / "model.safetensors")
    torch.save({"model": tensors, name: {"state": tensors}}, tmp_path / "w.pth")
    assert read_container(tmp_path / "w.pth").path == "model"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("imagenet", "--take", "x"), "--take: is of files alone"),
        (("imagenet", "--tensors"), "--tensors: is of files alone"),
        (("FILE", "--backbone", "resnet50"), "--backbone: is of the catalog's families alone"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(cli, weights, words, said):
    """In silence it would look as if it had done something."""
    file = weights / "model.safetensors"
    code, out, err = cli("weights", "show", *(file if w == "FILE" else w for w in words))
    assert (code, out) == (2, "")
    assert said in err
