"""Arms of the catalog and of hubs: had, or named with the reason before anything is read."""

import shutil

import pandas as pd
import pytest

from conftest import prepared_again, snapshot
from radstart.core.errors import RadstartError
from radstart.core.files import read_json, read_toml
from radstart.weights import find, parse_arm
from shelf import no_network, no_sockets

FIVE = ("imagenet", "radimagenet", "radiologynet", "dinov2", "hub:owner/name")


@pytest.fixture
def ask(cli, images, tmp_path):
    """Return a function (arms, words) that asks a small question into tmp_path / study."""

    def run(arms, *words):
        return cli(
            *("compare", images, "--out", tmp_path / "study", "--arms", arms),
            *("--backbone", "test_resnet", "--image-size", "32", "--policies", "frozen"),
            *("--seeds", "1", "--numerics", "fp32", *words),
        )

    return run


def one_line(err):
    """Return the only line on stderr."""
    assert len(err.splitlines()) == 1, err
    return err.strip()


def test_the_five_names_are_arms_of_the_real_catalog():
    """A family's default is what its name alone means; a hub's arm is called as its repository."""
    assert [parse_arm(text).kind for text in FIVE] == ["catalog"] * 4 + ["hub"]
    assert [parse_arm(text).name for text in FIVE] == [*FIVE[:4], "name"]
    assert [find(name).name for name in FIVE[:4]] == [
        *("imagenet/resnet50", "radimagenet/resnet50", "radiologynet/resnet50"),
        "dinov2/vit_base_patch14_dinov2",
    ]
    assert parse_arm("radimagenet/resnet50").name == "radimagenet/resnet50"
    assert parse_arm("hub:me/net/a.pt@v1").name == "net@v1"
    with pytest.raises(RadstartError, match="unknown start"):
        parse_arm("catalog")


@pytest.mark.parametrize("words", [(), ("--skip-unavailable",)])
def test_without_network_each_has_its_own_reason_and_nothing_is_written(
    alone, cli, images, tmp_path, monkeypatch, words
):
    """One line, exit 2, before the images are read."""
    asked = no_network(monkeypatch)
    arms = ",".join(FIVE)
    code, out, err = cli("compare", images, "--out", tmp_path / "s", "--arms", arms, *words)
    line = one_line(err)

    assert (code, out) == (2, "")
    assert "no arm can be had" in line
    for said in (
        "imagenet: timm/resnet50.a1_in1k/model.safetensors: no connection to the hub",
        "radimagenet: radimagenet/resnet50: ResNet50.pt has to be got by hand. The publisher's",
        "drive.google.com",
        "radiologynet: radiologynet/resnet50: no licence is stated for the weights",
        "radstart weights get radiologynet/resnet50 --accept",
        "dinov2: timm/vit_base_patch14_dinov2.lvd142m/model.safetensors: no connection",
        "name: owner/name: no connection to the hub",
    ):
        assert said in line
    assert not (tmp_path / "s").exists()
    assert set(asked) == {"huggingface.co"}


def test_offline_asks_nobody(alone, cli, images, tmp_path, monkeypatch):
    """The same five; the reason is that they are not here."""
    opened = no_sockets(monkeypatch)
    arms = ",".join(("random", *FIVE))
    code, _, err = cli("compare", images, "--out", tmp_path / "s", "--arms", arms, "--offline")

    assert code == 2
    assert "5 of 6 arms cannot be had" in one_line(err)
    assert err.count("--offline") == 3
    assert "--skip-unavailable" in err
    assert opened == []
    assert not (tmp_path / "s").exists()


def test_one_arm_alone_says_its_reason_alone(shelf, ask):
    """No counting of one."""
    line = one_line(ask("radimagenet")[2])

    assert line.startswith("radstart: radimagenet/test_resnet: R.safetensors has to be got by hand")


@pytest.mark.slow
def test_a_study_goes_on_without_them_says_so_and_is_extended_later(
    shelf, ask, cli, tmp_path, monkeypatch, weights
):
    """Finished runs stay; what could be had by then is added; the rest is still named."""
    study = tmp_path / "study"
    arms = f"w=file:{weights},random,imagenet,moments:imagenet,radiologynet,radimagenet,hub:me/net"
    with monkeypatch.context() as patch:
        no_network(patch)
        code, _, err = ask(arms, "--skip-unavailable")
    assert code == 0, err
    assert "left out: imagenet: timm/test_resnet.x/model.safetensors: no connection" in err
    facts = read_json(study / "facts.json")
    assert [arm["name"] for arm in facts["arms"]] == ["w", "random"]
    assert [*facts["skipped"]] == [
        *("imagenet", "radiologynet", "radimagenet", "net", "moments:imagenet"),
    ]
    assert facts["skipped"]["moments:imagenet"] == "imagenet cannot be had"
    assert "no licence is stated" in facts["skipped"]["radiologynet"]
    assert "radimagenet was asked for and left out." in facts["methods"]
    page = (study / "report.html").read_text(encoding="utf-8")
    said = "<dt>radimagenet</dt><dd>radimagenet/test_resnet: R.safetensors has to be got"
    assert said in page.partition("Asked for and left out")[2]
    before = snapshot(study / "runs")

    code, _, err = ask(arms, "--skip-unavailable")
    assert code == 0, err
    facts = read_json(study / "facts.json")
    names = [arm["name"] for arm in facts["arms"]]
    assert names == ["w", "random", "imagenet", "moments:imagenet", "net"]
    assert [*facts["skipped"]] == ["radiologynet", "radimagenet"]
    assert snapshot(study / "runs").items() >= before.items()
    known = {arm["name"]: arm for arm in facts["arms"]}
    assert known["imagenet"]["convention"]["source"] == "catalog, imagenet/test_resnet"
    assert known["imagenet"]["convention"]["name"] == "imagenet"
    assert known["imagenet"]["receipt"]["entry"] == "imagenet/test_resnet"
    assert known["imagenet"]["saw"] == ["imagenet-1k"]
    assert "config.json of me/net" in known["net"]["convention"]["source"]
    assert "the published weights imagenet/test_resnet" in facts["methods"]
    assert "me/net of the Hugging Face hub" in facts["methods"]

    assert cli("weights", "get", "radiologynet", "--accept")[0] == 0
    file = weights / "model.safetensors"
    assert cli("weights", "get", "radimagenet", "--from", file, "--accept")[0] == 0
    code, _, err = ask(arms, "--offline")
    assert code == 0, err
    facts = read_json(study / "facts.json")
    assert facts["skipped"] == {}
    assert len(facts["arms"]) == 7
    assert "Asked for and left out" not in (study / "report.html").read_text(encoding="utf-8")
    assert snapshot(study / "runs").items() >= before.items()


@pytest.mark.slow
def test_what_is_here_is_used_without_any_connection(shelf, ask, tmp_path, monkeypatch):
    """With and without --offline: a study that goes on rests on what was fetched first."""
    arms = "random,imagenet,chest,hub:me/net"
    assert ask(arms, "--dry-run")[0] == 0
    opened = no_sockets(monkeypatch)

    assert ask(arms, "--offline")[0] == 0
    assert ask(arms)[0] == 0
    prepared = prepared_again(tmp_path / "study")  # as another process of the study does
    assert [arm.name for arm in prepared.arms] == ["random", "imagenet", "chest", "net"]
    assert opened == []

    facts = read_json(tmp_path / "study" / "facts.json")
    fed = {arm["name"]: arm["convention"] for arm in facts["arms"]}
    assert fed["chest"]["mean"] == [0.4, 0.5, 0.6]
    assert {one["size"] for one in fed.values()} == {32}
    table = pd.read_parquet(tmp_path / "study" / "results.parquet")
    assert set(table["arm"]) == {"random", "imagenet", "chest", "net"}
    runs = [read_toml(path) for path in (tmp_path / "study" / "runs").glob("*/receipt.toml")]
    assert {run["start"] for run in runs} == {"random", "imagenet", "chest", "hub:me/net"}


def test_the_reference_cannot_be_left_out(shelf, ask, tmp_path):
    """Neither the one that is asked for nor the first."""
    for arms, words in (
        ("radimagenet,random", ()),
        ("random,radimagenet,chest", ("--reference", "radimagenet")),
    ):
        code, _, err = ask(arms, "--skip-unavailable", *words)
        assert code == 2
        assert "the reference cannot be had: radimagenet: " in one_line(err)
        assert "choose another --reference" in err
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_study_that_has_begun_with_an_arm_does_not_go_on_without_it(shelf, ask, tmp_path):
    """Its results would stand in no table."""
    assert ask("random,chest", "--dry-run")[0] == 0
    assert ask("random,chest")[0] == 0
    before = snapshot(tmp_path / "study")
    shutil.rmtree(tmp_path / "cache")
    shelf.store.close()
    code, _, err = ask("random,chest", "--skip-unavailable", "--offline")

    assert code == 2
    assert "this study has begun with arms that cannot be had now: chest: " in one_line(err)
    assert snapshot(tmp_path / "study") == before


@pytest.mark.slow
def test_an_arm_that_is_left_out_does_not_decide_the_backbone_later(
    shelf, cli, images, tmp_path, weights
):
    """random would be another network once radimagenet, which stands first, can be had."""
    arms = f"random,radimagenet,w=file:{weights}"
    words = ("compare", images, "--out", tmp_path / "s", "--skip-unavailable", "--dry-run")
    code, _, err = cli(*words, "--arms", arms)

    assert code == 2
    assert one_line(err).endswith("add --backbone")
    later = f"random,w=file:{weights},radimagenet"
    assert cli(*words, "--arms", later, "--image-size", "32", "--numerics", "fp32")[0] == 0


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ("random,imagenet,imagenot", "unknown start (got imagenot); did you mean imagenet"),
        ("random,hub:net", "hub: not OWNER/NAME (got net); write hub:OWNER/NAME"),
        ("random,hub:", "incomplete start (got hub:); write NAME=hub:OWNER/NAME"),
        ("random,volume", "volume: cannot be loaded; It is for volumes."),
        ("random,imagenet/none", "unknown weights; did you mean imagenet/"),
        ("random,imagenet/test_efficientnet", "404"),
    ],
)
def test_what_is_no_arm_is_one_line(shelf, ask, tmp_path, arms, said):
    """With what would be one."""
    code, _, err = ask(arms)

    assert code == 2
    assert said in one_line(err)
    assert not (tmp_path / "study").exists()
