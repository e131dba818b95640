"""Arms that keep a classifier, may be partial or are fed otherwise; rates that are shared."""

import csv
import functools
import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import radstart
from conftest import QUICK, made_once, prepared_again, write_weights
from radstart.backbones import Backbone, build
from radstart.core.errors import RadstartError
from radstart.core.files import read_json, read_toml, write_json
from radstart.study import checked, read_spec
from radstart.training import Recipe
from radstart.weights import (
    HEAD_KEPT,
    ArmSpec,
    named_in_full,
    parse_arm,
    resolve_arms,
    start_model,
    with_options,
)

SMALL = ("--seeds", "1", "--image-size", "32", "--epochs", "1", "--numerics", "fp32")
GLOB = "layer4.*"
PART = f"p (partial {GLOB})"


@pytest.fixture(scope="module")
def run(tmp_path_factory, images, weights):
    """Return a finished full run of a study of these classes."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("radstart.study.prepare.Recipe", functools.partial(Recipe, **QUICK))
            radstart.compare(
                images, out=folder, arms=[f"w=file:{weights}"], policies=["full"], seeds=1,
                image_size=32, epochs=1, numerics="fp32",
            )  # fmt: skip

    (found,) = (made_once(tmp_path_factory, "heads", make) / "runs").iterdir()
    return found


@pytest.fixture(scope="module")
def one_channel(tmp_path_factory):
    """Return a weights folder of one channel, fed -1024..1024 as TorchXRayVision's are."""

    def make(folder):
        write_weights(folder)
        model = build(Backbone("test_resnet"), 10, 3, channels=1)
        save_file(model.state_dict(), folder / "model.safetensors")
        config = read_json(folder / "config.json")
        stated = {"input_size": [1, 64, 64], "mean": [0.5], "std": [1 / 2048]}
        write_json(folder / "config.json", {**config, "pretrained_cfg": stated})

    return made_once(tmp_path_factory, "one_channel", make)


@pytest.fixture(scope="module")
def cut(tmp_path_factory, weights):
    """Return weights without one layer, and with one that no network has."""

    def make(folder):
        shutil.copytree(weights, folder)
        tensors = load_file(folder / "model.safetensors")
        tensors = {name: t for name, t in tensors.items() if not name.startswith("layer4.")}
        tensors["layer4.strange"] = torch.zeros(3)
        save_file(tensors, folder / "model.safetensors")

    return made_once(tmp_path_factory, "cut", make)


@pytest.fixture(scope="module")
def words(images, weights, run, cut, one_channel):
    """Return the words of a study with every kind of arm, but for its folder."""
    arms = f"p=file:{cut},h=run:{run},moments:p,w=file:{weights},fed=file:{weights}"
    return [
        *("compare", images, "--arms", f"{arms},grey=file:{one_channel},random", *SMALL),
        *("--policies", "full,frozen", "--rates", "0.002", "--positive", "normal"),
        *("--reference", "p", "--seen", "mark", "--keep-head", "h", "--convention", "fed=0to255"),
        *("--allow-partial", f"p={GLOB}"),
    ]


@pytest.fixture(scope="module")
def study(tmp_path_factory, words):
    """Return the finished study."""
    from radstart.cli import main

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("radstart.study.prepare.Recipe", functools.partial(Recipe, **QUICK))
            with pytest.raises(SystemExit) as end:
                main([*map(str, words), "--out", str(folder)])
        assert end.value.code == 0

    return made_once(tmp_path_factory, "odd_arms", make)


@pytest.fixture(scope="module")
def facts(study):
    return read_json(study / "facts.json")


def arm_of(facts, name):
    """Return the facts of an arm."""
    return next(arm for arm in facts["arms"] if arm["name"] == name)


@pytest.mark.slow
def test_a_kept_classifier_is_the_runs_own_in_the_order_of_the_classes(study, run):
    """--positive turns the classes; the rows turn with them; nothing else differs."""
    prepared = prepared_again(study)
    own, ours = load_file(run / "model.safetensors"), prepared.dataset.classes
    theirs = read_toml(run / "receipt.toml")["classes"]
    assert (list(ours), theirs) == (["nodule", "normal"], ["normal", "nodule"])

    arm = next(arm for arm in prepared.arms if arm.name == "h")
    for seed in (0, 1):
        model, receipt = start_model(arm, 2, seed)
        state = model.state_dict()
        assert torch.equal(state["fc.weight"], own["fc.weight"][[1, 0]])
        assert torch.equal(state["fc.bias"], own["fc.bias"][[1, 0]])
        assert all(torch.equal(state[n], own[n]) for n in own if not n.startswith("fc."))
        assert receipt.dropped == ()
    features, receipt = start_model(arm, 0, 0)
    assert "fc.weight" not in features.state_dict()
    assert receipt.dropped == ("fc.bias", "fc.weight")
    fresh = next(arm for arm in prepared.arms if arm.name == "w")
    assert not torch.equal(start_model(fresh, 2, 0)[0].state_dict()["fc.weight"], own["fc.weight"])


@pytest.mark.slow
def test_a_kept_classifier_is_said_in_facts_report_and_methods(study, facts):
    """Where all layers are trained; the probe of a frozen backbone is new for every arm."""
    arm = arm_of(facts, "h")
    assert any(note.startswith(HEAD_KEPT) for note in arm["notes"])
    assert arm["receipt"]["head"].startswith("classifier kept")
    assert any(line.startswith(f"h {HEAD_KEPT}") for line in facts["warnings"])
    said = {(r["arm"], r["policy"]): HEAD_KEPT in r["qualifiers"] for r in facts["comparisons"]}
    assert [key for key, value in said.items() if value] == [("h", "full")]
    assert "The classifier is new but for h, which brought a trained one" in facts["methods"]
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "classifier kept, rows in the order of the classes" in page
    receipts = [read_toml(path) for path in (study / "runs").glob("*/receipt.toml")]
    heads = {r["arm"] for r in receipts if r.get("receipt", {}).get("head") and not r["probe"]}
    assert heads == {"h"}


def refused(cli, words, *more):
    """Return the one line with which a command is refused."""
    code, _, err = cli(*words, *more)
    assert code == 2
    assert len(err.splitlines()) == 1
    return err


@pytest.mark.slow
def test_a_classifier_of_other_classes_is_refused(
    cli, images, table, write_labels, run, weights, tmp_path
):
    """Of a run with other labels, of a file that states none, of random values."""
    words = ("compare", images, "--out", tmp_path / "s", *SMALL)
    other = write_labels([{**row, "label": row["label"].upper()} for row in table])
    line = refused(
        cli, words, "--labels", other, "--arms", f"h=run:{run}", "--keep-head", "h",
        "--seen", "mark",
    )  # fmt: skip
    assert "the classes are not those of the study (got normal, nodule; the study has NO" in line
    assert line.rstrip().endswith("leave --keep-head out")

    line = refused(cli, words, "--arms", f"w=file:{weights}", "--keep-head", "w")
    assert "(got none stated; the study has" in line
    both = ("--arms", f"random,w=file:{weights},moments:w", "--keep-head")
    assert "random: cannot keep its classifier" in refused(cli, words, *both, "random")
    assert "moments:w: cannot keep" in refused(cli, words, *both, "moments:w")
    assert "no arm of this name (got v); known: random, w" in refused(cli, words, *both, "v")
    assert not (tmp_path / "s" / "study.toml").exists()


@pytest.mark.slow
def test_a_partial_arm_is_called_so_in_every_table(study, facts):
    """Also its moments, and where it is the reference by the name that was written."""
    names = [arm["name"] for arm in facts["arms"]]
    assert names == [PART, "h", f"moments:{PART}", "w", "fed", "grey", "random"]
    assert facts["question"]["reference"] == PART
    assert {row["reference"] for row in facts["comparisons"]} == {PART}
    results = pd.read_parquet(study / "results.parquet")
    assert PART in set(results["arm"])
    assert "p" not in set(results["arm"])
    for name in ("results.csv", "comparisons.csv"):
        with (study / "tables" / name).open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert f"moments:{PART}" in {row["arm"] for row in rows}
    assert escaped(PART) in (study / "tables" / "results.tex").read_text(encoding="utf-8")
    assert PART in (study / "report.html").read_text(encoding="utf-8").replace(":<wbr>", ":")
    assert f"{PART}: a weights file" in facts["methods"]


def escaped(text):
    return text.replace("_", r"\_")


@pytest.mark.slow
def test_the_receipt_lists_what_was_let_pass(study, facts, cut, weights):
    """Missing and left over; the rest is the file's; what was let pass is fresh."""
    whole = load_file(weights / "model.safetensors")
    absent = sorted(
        name
        for name in whole
        if name.startswith("layer4.") and not name.endswith("num_batches_tracked")
    )
    receipt = arm_of(facts, PART)["receipt"]
    assert sorted(receipt["partial"]) == sorted([*absent, "layer4.strange"])
    assert receipt["parameters_assigned"] < receipt["parameters_total"]
    assert f"{len(absent) + 1} tensors let pass" in facts["methods"]
    kept = {
        tuple(sorted(stated["receipt"]["partial"]))
        for stated in map(read_toml, (study / "runs").glob("*/receipt.toml"))
        if stated["arm"] == PART
    }
    assert kept == {tuple(sorted(receipt["partial"]))}

    arm = next(a for a in prepared_again(study).arms if a.name == PART)
    state = start_model(arm, 0, 0)[0].state_dict()
    assert torch.equal(state["conv1.0.weight"], whole["conv1.0.weight"])
    (weight,) = [name for name in absent if name.endswith("conv1.weight")]
    assert not torch.equal(state[weight], whole[weight])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "4 of"),
        (("--allow-partial", "w=layer3.*"), "missing layer4"),
        (("--allow-partial", "v=layer4.*"), "no arm of this name (got v); known: w"),
        (("--allow-partial", "layer4.*"), "--allow-partial: not ARM=VALUE (got layer4.*)"),
    ],
)
def test_without_being_allowed_a_partial_file_is_refused(cli, images, cut, tmp_path, more, said):
    """Another glob does not help."""
    words = ("compare", images, "--out", tmp_path / "s", "--arms", f"w=file:{cut}", *SMALL, *more)
    line = refused(cli, words)

    assert said.replace("4 of", "weights do not fit test_resnet") in line
    assert not (tmp_path / "s").exists()


def test_names_of_partial_arms_are_completed_once():
    """In study.toml they stand in full, and are read so again."""
    arms = (
        ArmSpec("p", "file:x", partial=("a*", "b*")),
        *map(parse_arm, ("moments:p", "m=moments:p", "random", "imagenet")),
    )
    full, changed = named_in_full(arms)

    said = "(partial a* b*)"
    assert [arm.name for arm in full] == [
        *(f"p {said}", f"moments:p {said}", f"m {said}", "random", "imagenet"),
    ]
    assert [arm.start for arm in full][1:3] == [f"moments:p {said}"] * 2
    assert [arm.partial for arm in full] == [("a*", "b*")] * 3 + [()] * 2
    assert changed == {name: f"{name} {said}" for name in ("p", "moments:p", "m")}
    assert named_in_full(full) == (full, {})
    both = with_options(arms[3:], {}, partial={"imagenet": ("fc.*",)})
    assert named_in_full(both)[0][1].name == "imagenet (partial fc.*)"


@pytest.mark.slow
def test_the_question_comes_back_from_its_file_with_what_was_asked_of_each_arm(
    study, words, cli, quick
):
    """The same command is the same study; so is its study.toml."""
    spec = read_spec(study / "study.toml")

    assert checked(spec) == spec
    asked = {arm.name: (arm.convention, arm.head, arm.partial) for arm in spec.arm}
    assert asked["fed"] == ("0to255", False, ())
    assert asked["h"] == ("", True, ())
    assert asked[PART] == ("", False, (GLOB,))
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*.safetensors")}
    code, _, err = cli(*words, "--out", study, "--dry-run")
    assert code == 0, err
    assert f"({len(spec.arm) * 2} of them finished)" in " ".join(err.split())
    assert before == {path: path.stat().st_mtime_ns for path in study.rglob("*.safetensors")}


@pytest.mark.slow
def test_an_arm_that_is_fed_otherwise_says_both_conventions(study, facts):
    """Its numbers are those that were asked for; the weights are the same."""
    fed, own = arm_of(facts, "fed"), arm_of(facts, "w")

    assert (fed["convention"]["name"], fed["convention"]["mean"]) == ("0to255", [0.0] * 3)
    assert own["convention"]["mean"] == [0.4, 0.5, 0.6]
    assert fed["receipt"]["sha256"] == own["receipt"]["sha256"]
    (note,) = fed["notes"]
    assert note == (
        "fed as 0to255: 0 to 255, RGB, 32 px; stated is -2 to 3, RGB, 32 px "
        "(config.json of the weights folder)"
    )
    assert note in (study / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    values = {
        row["arm"]: row["value"]
        for row in facts["results"]
        if (row["metric"], row["policy"]) == ("brier", "frozen")
    }
    assert values["fed"] != values["w"]


@pytest.mark.slow
def test_one_channel_stands_beside_three(study, facts):
    """Grey images, one kernel: its own convention; the backbone is the same, so not confounded."""
    grey = arm_of(facts, "grey")

    assert (grey["convention"]["channels"], grey["convention"]["order"]) == (1, "grey")
    assert grey["convention"]["name"] == "-1024to1024"
    assert grey["parameters"] < arm_of(facts, "w")["parameters"]
    rows = [row for row in facts["comparisons"] if row["arm"] == "grey"]
    assert len(rows) == 2
    assert not any("confounded" in row["qualifiers"] for row in rows)
    states = {run["arm"]: run["state"] for run in facts["runs"]}
    assert set(states.values()) == {"done"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("grey=imagenet",), "has another number of channels (got imagenet); these weights take 1"),
        (("w=-1024to1024",), "has another number of channels (got -1024to1024); these weights"),
        (("w=imagenot",), "unknown convention (got imagenot); did you mean imagenet"),
        (("v=imagenet",), "no arm of this name (got v); known: w, grey"),
        (("w=imagenet", "w=caffe"), "two conventions for one arm (got w); give one"),
        (("imagenet",), "--convention: not ARM=VALUE (got imagenet); write --convention ARM=VALUE"),
    ],
)
def test_a_convention_that_is_none_of_the_arms_is_refused(
    cli, images, weights, one_channel, tmp_path, more, said
):
    """Before anything is read."""
    options = [word for text in more for word in ("--convention", text)]
    line = refused(
        cli, ("compare", images, "--out", tmp_path / "s", *SMALL), "--arms",
        f"w=file:{weights},grey=file:{one_channel}", *options,
    )  # fmt: skip

    assert said in line
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_one_rate_is_shared_and_nothing_is_chosen(study, facts):
    """Every arm's runs have it; no warning of a grid's edge; the methods say what it costs."""
    lr = [row for row in facts["grid"] if row["setting"] == "lr"]

    assert {row["value"] for row in lr} == {0.002}
    assert {row["arm"] for row in lr} == {arm["name"] for arm in facts["arms"]}
    assert all(row["chosen"] for row in lr)
    assert {run["lr"] for run in facts["runs"] if run["policy"] == "full"} == {0.002}
    assert len(list((study / "trials").glob("*/done.json"))) == len(facts["arms"])
    assert (
        "All arms, policies and budgets were trained with one shared learning rate, 0.002"
        in (facts["methods"])
    )
    assert "grid" not in facts["methods"]
    assert not any("grid" in line for line in facts["warnings"])


def test_several_rates_are_tried_by_all_arms_and_do_not_grow():
    """The methods text says so; by default the grid grows."""
    from radstart.study.methods import _rates

    grid = [{"setting": "lr", "value": rate} for rate in (1e-4, 3e-3)]
    asked = {"question": {"recipe": {"grid": [1e-4, 3e-3], "grid_growth": 0}}, "grid": grid}
    assert _rates(asked).endswith("from one grid (0.0001, 0.003), the same for all.")
    asked["question"]["recipe"] = {"grid": [1e-4], "grid_growth": 2}
    assert _rates(asked).endswith("that grew for all arms alike where an edge won.")


@pytest.mark.slow
def test_torchxrayvisions_file_is_an_arm_of_one_channel_beside_colour(tmp_path):
    """Read by the catalog's entry; random beside it has the same network of three channels."""
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).parents[1] / "weights"))
    from standins import cnn

    from radstart.weights import find
    from radstart.weights.source import source_of_entry

    case = next(c for c in cnn.CASES if c.origin == "torchxrayvision" and c.backbone != "resnet50")
    path, _ = case.standin.write(tmp_path)
    entry = find("torchxrayvision/densenet121-res224-all")
    specs = (ArmSpec("xrv", entry.name), ArmSpec("random", "random"))
    xrv, random = resolve_arms(
        specs, "", 64, (0.5, 0.2), lambda spec, backbone: source_of_entry(entry, path)
    )

    assert (xrv.channels, random.channels) == (1, 3)
    assert xrv.backbone == random.backbone
    assert xrv.convention.name == "-1024to1024"
    model, receipt = start_model(xrv, 2, 0)
    assert receipt.parameters_assigned == receipt.parameters_total
    assert model.eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 2)


def test_arms_of_python_are_told_apart_by_their_names(images, cut, tmp_path):
    """ArmSpec says the same as the options do."""
    with pytest.raises(RadstartError, match="unknown reference"):
        radstart.compare(
            images, out=tmp_path / "s", reference="q",
            arms=[ArmSpec("p", f"file:{cut}", partial=(GLOB,)), "random"],
        )  # fmt: skip
