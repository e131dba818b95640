"""Weights are fetched once and held, or taken in by hand; terms; what `weights get` prints."""

import hashlib
import shutil
import tarfile

import pytest
import torch
from evil_server import Server, give, status, with_token
from safetensors.torch import load_file, save_file

from conftest import snapshot
from radstart.core.errors import RadstartError
from radstart.core.files import read_toml
from radstart.weights import find
from radstart.weights.remote.download import Access
from radstart.weights.remote.store import folder_of, get, get_hub, held, hub_place
from radstart.weights.source import source_of_hub
from shelf import COMMITS, clear_catalog, no_sockets


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "weights"


ACCEPT, OFFLINE = Access(accept=True), Access(offline=True)


def refused(call, *words, **options):
    """Return the one line of a refusal."""
    with pytest.raises(RadstartError) as error:
        call(*words, **options)
    line = str(error.value)
    assert "\n" not in line
    return line


def test_an_entry_is_fetched_once_and_what_is_known_of_it_is_written_down(shelf, cache):
    """From then on no server is asked, though the branch has moved."""
    entry = find("imagenet")
    got = get(entry)

    assert got.path.read_bytes() == shelf.files["model.safetensors"]
    assert got.sha256 == hashlib.sha256(shelf.files["model.safetensors"]).hexdigest()
    assert folder_of(entry) == cache / "imagenet" / "test_resnet"
    note = read_toml(folder_of(entry) / "source.toml")
    assert note.items() >= {
        "name": "imagenet/test_resnet", "from": "timm/test_resnet.x", "commit": COMMITS[0],
        "sha256": got.sha256, "licence": "Apache-2.0",
    }.items()  # fmt: skip
    shelf.publish("timm/test_resnet.x", {"model.safetensors": b"another"}, COMMITS[1])
    shelf.forget()
    assert get(entry) == got
    assert shelf.asked == []


def test_a_held_file_that_changed_is_refused_and_one_that_is_gone_is_fetched_again(shelf):
    """Nobody computes with a file of unknown origin under a known name."""
    entry = find("chest")
    path = get(entry).path
    body = path.read_bytes()

    path.write_bytes(body[:-1] + b"x")
    assert "is not the file that was fetched" in refused(get, entry)
    path.unlink()
    path.with_name(f"{path.name}.origin.json").unlink()
    assert get(entry).path.read_bytes() == body


def test_an_archive_is_held_against_its_hash_and_gives_its_weights(shelf):
    """The published hash is the archive's."""
    got = get(find("radiologynet"), ACCEPT)
    assert got.path.read_bytes() == shelf.files["model.safetensors"]

    shelf.store.serve("/R.tar.gz", give(b"something else"))
    shutil.rmtree(folder_of(find("radiologynet")))
    assert "SHA-256" in refused(get, find("radiologynet"))
    assert held(folder_of(find("radiologynet"))) is None


def test_terms_are_accepted_once_for_a_family(shelf, cache):
    """Until then nothing is fetched, and the line says how."""
    line = refused(get, find("radiologynet"))
    assert "radiologynet/test_resnet: no licence is stated for the weights" in line
    assert "radstart weights get radiologynet/test_resnet --accept" in line
    assert shelf.asked == []
    assert not cache.exists()

    get(find("radiologynet"), ACCEPT)
    assert [*read_toml(cache / "accepted.toml")] == ["radiologynet: GPL"]
    assert get(find("radiologynet/other")).path.is_file()


def test_weights_to_be_got_by_hand_say_the_steps_and_take_what_a_person_got(shelf, tmp_path):
    """As a file or packed; the file may lie anywhere and go afterwards."""
    entry = find("radimagenet")
    line = refused(get, entry)
    assert (
        "R.safetensors has to be got by hand. It lies behind a form. (1) Fill in the form." in line
    )
    assert "radstart weights get radimagenet/test_resnet --from FILE --accept" in line
    mine = shutil.copy(shelf.weights / "model.safetensors", tmp_path / "mine.safetensors")
    assert "for research only" in refused(get, entry, given=tmp_path / "mine.safetensors")

    got = get(entry, ACCEPT, given=tmp_path / "mine.safetensors")
    (tmp_path / "mine.safetensors").unlink()
    assert mine != got.path
    assert get(entry) == got
    assert got.path.read_bytes() == shelf.files["model.safetensors"]
    shutil.rmtree(folder_of(entry))
    assert get(entry, given=shelf.archive).path.name == "model.safetensors"
    assert shelf.asked == []


def test_a_file_that_is_given_is_held_against_the_published_hash(shelf, tmp_path):
    """Of an archive that is the archive's: what was unpacked already cannot be held against it."""
    entry = find("radiologynet")
    other = tmp_path / "other.tar.gz"
    other.write_bytes(shelf.archive.read_bytes() + b"\0")

    assert "its sha256 begins with" in refused(get, entry, ACCEPT, given=other)
    assert "no such file" in refused(get, entry, given=tmp_path / "absent")
    assert held(folder_of(entry)) is None
    assert get(entry, given=shelf.weights / "model.safetensors").path.is_file()


def test_what_is_held_stays_where_what_is_given_is_refused(shelf, tmp_path):
    """Another archive with a file of the same name; one that does not load; and nothing is left."""
    entry = find("radimagenet")
    got = get(entry, ACCEPT, given=shelf.archive)
    body = got.path.read_bytes()
    save_file({"w": torch.ones(3)}, tmp_path / "model.safetensors")
    another = (tmp_path / "model.safetensors").read_bytes()
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(tmp_path / "model.safetensors", "model.safetensors")

    def check(path):
        assert path.read_bytes() == another
        raise RadstartError("does not load")

    assert "does not load" in refused(get, entry, given=tmp_path / "other.tar", check=check)
    assert got.path.read_bytes() == body
    assert get(entry) == got
    assert [path.name for path in folder_of(entry).parent.iterdir()] == [folder_of(entry).name]
    again = get(entry, given=tmp_path / "other.tar", check=lambda path: None)
    assert (again.path, again.path.read_bytes()) == (got.path, another)

    held_too = get(find("radiologynet"), ACCEPT)
    line = refused(get, find("radiologynet"), given=tmp_path / "other.tar")
    assert "its sha256 begins with" in line
    assert get(find("radiologynet")) == held_too


def test_a_folder_and_a_file_of_ones_own_are_arms(cli, alone, tmp_path):
    """--from is for the publisher's file; an entry without a backbone has none."""
    file = tmp_path / "mine.pt"
    file.touch()
    assert f"NAME=file:{file}" in cli("weights", "get", "own", "--from", file)[2]
    line = cli("weights", "get", "radimagenet/resnet50", "--from", tmp_path, "--accept")[2]
    assert f"is an arm as it is; name it as an arm: NAME=file:{tmp_path}" in line


@pytest.mark.parametrize("name", ["torchxrayvision", "ultrasam", "own"])
def test_steps_that_end_in_an_arm_promise_nothing_that_cannot_work(cli, alone, name):
    """--from would refuse what they give."""
    code, out, err = cli("weights", "get", name)
    assert code == 2
    assert "--from" not in out + err
    assert "then:" not in out
    assert "file:F" in " ".join(out.split())
    assert err.endswith("has to be got by hand; then an arm: NAME=file:PATH\n")
    assert "--from" not in cli("weights", "show", name)[1]


def test_what_cannot_be_loaded_is_not_fetched(shelf):
    """The reason is the catalog's."""
    assert "cannot be loaded; It is for volumes." in refused(get, find("volume"))


def test_offline_uses_what_is_held_and_opens_no_connection(shelf, monkeypatch):
    """What is not held says so in one line."""
    got, own = get(find("chest")), get_hub("me/net")
    opened = no_sockets(monkeypatch)

    assert get(find("chest"), OFFLINE) == got
    assert get_hub("me/net", OFFLINE) == own
    assert "--offline, and not in the hub's cache" in refused(get, find("imagenet"), OFFLINE)
    line = refused(get, find("imagenet/test_efficientnet"), OFFLINE)
    assert "--offline, and the file" in line
    assert "--offline" in refused(get_hub, "me/other", OFFLINE)
    assert opened == []


@pytest.mark.parametrize(
    ("place", "read"),
    [
        ("me/net", ("me/net", "", "main")),
        ("me/net@v1", ("me/net", "", "v1")),
        ("me/net/a/b.pt@refs/pr/1", ("me/net", "a/b.pt", "refs/pr/1")),
    ],
)
def test_a_place_in_the_hub_is_owner_name_file_and_revision(place, read):
    """OWNER/NAME[/FILE][@REVISION]."""
    assert hub_place(place) == read


@pytest.mark.parametrize("place", ["", "net", "me/", "/net", "me//f", "@v1"])
def test_what_is_no_place_in_the_hub_is_refused(place):
    """The form is named."""
    assert "write hub:OWNER/NAME" in refused(hub_place, place)


def test_a_repository_is_held_until_it_is_asked_for_anew(shelf):
    """A branch that moves changes no study; revisions and files are held apart."""
    got = get_hub("me/net")
    assert (got.commit, got.config.read_bytes()) == (COMMITS[0], shelf.files["config.json"])
    changed = load_file(shelf.weights / "model.safetensors")
    changed["fc.bias"] = changed["fc.bias"] + 1
    save_file(changed, shelf.catalog.with_name("new.safetensors"))
    new = shelf.catalog.with_name("new.safetensors").read_bytes()
    shelf.publish("me/net", {**shelf.files, "model.safetensors": new}, COMMITS[1])

    assert get_hub("me/net") == got
    assert get_hub(f"me/net@{COMMITS[0]}").sha256 == got.sha256
    assert get_hub("me/net/model.safetensors").commit == COMMITS[1]
    assert get_hub("me/net", anew=True).commit == COMMITS[1]
    assert get_hub("me/net").sha256 == hashlib.sha256(new).hexdigest()


def test_a_repository_says_its_backbone_and_one_of_the_catalog_what_it_has_seen(shelf):
    """By its config.json; another kind of config.json says nothing."""
    own = source_of_hub("me/net", get_hub("me/net"))
    assert (own.backbone.name, own.convention.size, own.entry) == ("test_resnet", 64, "")
    assert "config.json of me/net" in own.convention.source
    known = source_of_hub("timm/test_resnet.x", get_hub("timm/test_resnet.x"))
    assert (known.entry, known.saw) == ("imagenet/test_resnet", ("imagenet-1k",))
    assert known.licence == "Apache-2.0"

    shelf.publish("me/bert", {**shelf.files, "config.json": b'{"architectures": ["Bert"]}'})
    assert source_of_hub("me/bert", get_hub("me/bert")).backbone is None


def test_a_config_that_cannot_be_fetched_is_not_taken_for_none(shelf):
    """Else a break of the network would change which network is built."""
    shelf.site.serve(f"/me/net/resolve/{COMMITS[0]}/config.json", status(403))

    assert "me/net" in refused(get_hub, "me/net")
    assert not (shelf.catalog.parents[1] / "cache" / "weights" / "hub").exists()


def test_terms_of_the_catalog_hold_for_its_repositories_too(shelf):
    """hub: is no way around them."""
    text = shelf.catalog.read_text()
    shelf.catalog.write_text(
        text.replace('licence = "Apache-2.0"', 'terms = "gated"\nlicence = "X"')
    )
    clear_catalog()

    assert "asks for an agreement first" in refused(get_hub, "timm/test_resnet.x")
    assert get_hub("timm/test_resnet.x", ACCEPT).commit == COMMITS[0]


def test_get_prints_where_the_file_lies_its_hash_its_licence_and_what_comes_next(shelf, cli):
    """stdout alone; twice the same."""
    code, out, err = cli("weights", "get", "imagenet")
    lines = out.splitlines()

    assert (code, err) == (0, "")
    assert lines[0] == "imagenet/test_resnet"
    words = " ".join(out.split())
    assert hashlib.sha256(shelf.files["model.safetensors"]).hexdigest() in words
    assert f"file {shelf.catalog.parents[1] / 'hub'}" in words
    assert "licence Apache-2.0" in words
    assert lines[-1] == "radstart compare DATA --out STUDY --arms random,imagenet/test_resnet"
    assert cli("weights", "get", "imagenet", "--offline") == (0, out, "")
    assert cli("weights", "get", "imagenet", "--backbone", "test_resnet")[1] == out


def test_get_of_a_repository_names_its_commit_and_asks_for_a_backbone_where_none_is_stated(
    shelf, cli
):
    """And asks the hub anew each time."""
    code, out, _ = cli("weights", "get", "hub:me/net")
    assert code == 0
    assert f"commit       {COMMITS[0]}" in out
    assert "licence      not stated" in out
    assert out.endswith("--arms random,hub:me/net\n")
    shelf.forget()
    cli("weights", "get", "hub:me/net")
    assert shelf.asked != []

    shelf.publish("me/bare", {"a.safetensors": shelf.files["model.safetensors"]})
    assert cli("weights", "get", "hub:me/bare")[1].endswith("hub:me/bare --backbone NAME\n")


def test_get_of_steps_prints_them_one_by_one_and_ends_with_2(shelf, cli, tmp_path):
    """--from takes only what loads whole as these weights; then the name is an arm."""
    code, out, err = cli("weights", "get", "radimagenet")
    assert code == 2
    assert "1. Fill in the form.\n" in out
    assert (
        "2. Download the file.\n\nthen: radstart weights get radimagenet/test_resnet --from" in out
    )
    assert "terms        research: for research only" in out
    assert len(err.splitlines()) == 1
    assert "radimagenet/test_resnet: has to be got by hand" in err

    tensors = load_file(shelf.weights / "model.safetensors")
    del tensors["conv1.0.weight"]
    save_file(tensors, tmp_path / "cut.safetensors")
    code, _, err = cli(
        "weights", "get", "radimagenet", "--from", tmp_path / "cut.safetensors", "--accept"
    )
    assert code == 2
    assert "missing conv1.0.weight" in err
    assert not folder_of(find("radimagenet")).exists()

    mine = shelf.weights / "model.safetensors"
    code, out, err = cli("weights", "get", "radimagenet", "--from", mine)  # terms hold by now
    assert (code, err) == (0, "")
    assert "--arms random,radimagenet/test_resnet" in out
    assert cli("weights", "get", "radimagenet")[:2] == (0, out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["radiologynet"], "accept that once: radstart weights get radiologynet/test_resnet"),
        (["volume"], "cannot be loaded; It is for volumes."),
        (["imagenot"], "unknown weights; did you mean imagenet"),
        (["imagenet", "--backbone", "test_vit"], "imagenet: no weights for test_vit: it has"),
        (["hub:net"], "write hub:OWNER/NAME"),
        (["hub:me/none"], "me/none: the hub does not give the file (got 404)"),
        (["hub:me/net", "--from", "x.pt"], "--arms NAME=file:x.pt"),
        (["chest", "--token-env", "NOT_SET"], "no such environment variable"),
        (["radimagenet", "--from", "absent.pt", "--accept"], "no such file"),
        (["imagenet/test_efficientnet"], "404"),
        (["imagenet", "--offline"], "--offline, and not in the hub's cache"),
    ],
)
def test_what_get_cannot_do_is_one_line(shelf, cli, words, said):
    """Exit 2, nothing on stdout, nothing held."""
    code, out, err = cli("weights", "get", *words)

    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not list((shelf.catalog.parents[1] / "cache").rglob("source.toml"))


def test_a_token_comes_from_the_variable_that_is_named(shelf, cli, monkeypatch):
    """To the file's host alone, and never onto the screen."""
    body = shelf.files["model.safetensors"]
    shelf.store.serve("/chest.safetensors", with_token("s3cret", give(body)))
    assert "--token-env" in cli("weights", "get", "chest")[2]

    monkeypatch.setenv("MINE", "s3cret")
    code, out, err = cli("weights", "get", "chest", "--token-env", "MINE")
    assert code == 0
    assert "s3cret" not in out + err


def test_a_long_download_says_how_far_it_is_and_how_long_it_takes(shelf, cli, monkeypatch):
    """Plain lines without a terminal."""
    monkeypatch.setattr("radstart.core.progress.PLAIN_SECONDS", 0.0)
    body = shelf.files["model.safetensors"]
    shelf.store.serve("/chest.safetensors", give(body, drip=(len(body) // 5, 0.02)))
    err = cli("weights", "get", "chest")[2]

    assert "fetching chest/test_resnet" in err
    assert " MiB" in err
    assert " left" in err
    assert "100%" in err


def test_a_hub_that_is_a_page_is_said_so(alone, cli, monkeypatch):
    """A captive portal in the place of the hub."""
    from huggingface_hub import constants

    portal = Server()
    monkeypatch.setattr(constants, "ENDPOINT", portal.base)
    portal.paths.update(
        {p: status(200, {}, b"<html>") for p in ("/api/models/me/net/revision/main",)}
    )
    try:
        code, _, err = cli("weights", "get", "hub:me/net")
    finally:
        portal.close()
    assert code == 2
    assert len(err.splitlines()) == 1


def test_getting_writes_below_its_cache_alone(shelf, cli, tmp_path):
    """Neither the working folder nor the file that was given is touched."""
    before = snapshot(shelf.weights)
    cli("weights", "get", "radimagenet", "--from", shelf.weights / "model.safetensors", "--accept")

    assert snapshot(shelf.weights) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "hub", "served"}
