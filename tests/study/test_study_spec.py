"""The question: one value from command line, TOML and Python; unknown names meet the nearest."""

import dataclasses
from typing import get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from radstart.core.errors import RadstartError
from radstart.core.files import write_toml
from radstart.study import DataSpec, Leakage, StudySpec, checked, read_spec, write_spec
from radstart.weights import ArmSpec, parse_arm

NAME = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
OPTIONAL = st.none() | NAME
SHARE = st.floats(0, 1, exclude_min=True)
PATH = st.text("abcé _-=.'\"#", min_size=1, max_size=12).map(lambda text: f"/data/{text}x")
ARM = st.one_of(
    st.builds(ArmSpec, NAME.filter(bool), st.just("random")),
    st.builds(ArmSpec, NAME.filter(bool), NAME.filter(str.strip).map(lambda t: f"moments:{t}x")),
    st.builds(ArmSpec, NAME.filter(bool), PATH.map(lambda path: f"file:{path}")),
    st.builds(ArmSpec, NAME.filter(bool), PATH.map(lambda path: f"run:{path}")),
)
FED = st.builds(
    dataclasses.replace,
    ARM,
    convention=st.sampled_from(["", "0to1", "caffe-bgr"]),
    head=st.booleans(),
    partial=st.lists(NAME, max_size=2).map(tuple),
)
COLUMNS = {
    field.name: OPTIONAL for field in dataclasses.fields(DataSpec) if field.name.endswith("_column")
}
SPECS = st.builds(
    StudySpec,
    data=st.builds(
        DataSpec,
        path=PATH,
        labels=st.just("") | PATH,
        positive=OPTIONAL,
        known_as=NAME,
        **COLUMNS,
    ),
    arm=st.lists(FED, min_size=1, max_size=3).map(tuple),
    policies=st.lists(st.sampled_from(["full", "frozen"]), min_size=1, unique=True).map(tuple),
    budgets=st.lists(SHARE, min_size=1, max_size=3).map(tuple),
    seeds=st.integers(1, 1000),
    seed=st.integers(0, 2**60),
    reference=NAME,
    metric=NAME,
    margin=st.just(0.0) | SHARE,
    level=st.floats(0.5, 0.999),
    backbone=NAME,
    image_size=st.none() | st.integers(16, 1024),
    epochs=st.integers(1, 10_000),
    rates=st.lists(SHARE, max_size=2).map(tuple),
    flip=st.booleans(),
    seen=st.sampled_from(["stop", "mark"]),
    leakage=st.sampled_from(get_args(Leakage)),
    test_fold=NAME,
    validation_fold=NAME,
)


@settings(max_examples=60, deadline=None)
@given(SPECS)
def test_a_question_comes_back_from_its_file(tmp_path_factory, spec):
    """study.toml round-trips, whatever stands in the names and paths."""
    path = tmp_path_factory.mktemp("spec") / "study.toml"
    write_spec(spec, path)

    again = read_spec(path)
    for field in dataclasses.fields(spec):
        assert getattr(again, field.name) == getattr(spec, field.name)


KNOWN = {
    "": [field.name for field in dataclasses.fields(StudySpec)] + ["schema"],
    "[[data]]": [field.name for field in dataclasses.fields(DataSpec)],
    "[[arm]]": [field.name for field in dataclasses.fields(ArmSpec)],
}
BARE = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=10)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(KNOWN)), BARE | st.text(max_size=8), st.integers())
def test_any_unknown_key_is_refused_by_its_name(tmp_path_factory, table, key, value):
    """Wherever it stands; one line."""
    assume(key not in KNOWN[table])
    tables = {"": {}, "[[data]]": {"path": "x"}, "[[arm]]": {"start": "random"}}
    tables[table][key] = value
    path = tmp_path_factory.mktemp("spec") / "study.toml"
    write_toml(path, {**tables[""], "data": [tables["[[data]]"]], "arm": [tables["[[arm]]"]]})

    with pytest.raises(RadstartError) as caught:
        read_spec(path)
    assert caught.value.what == "unknown key"
    assert caught.value.where == f"{path}: {table + ' ' if table else ''}{key}"
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([name for name in KNOWN[""] if len(name) > 4]), st.data())
def test_a_misspelt_key_is_answered_with_the_right_one(tmp_path_factory, name, data):
    """One letter lost, doubled, or two of them swapped."""
    at = data.draw(st.integers(1, len(name) - 2))
    swapped = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    slips = [name[:at] + name[at + 1 :], name[:at] + name[at - 1 :], swapped]
    misspelt = data.draw(st.sampled_from(slips))
    assume(misspelt not in KNOWN[""])
    path = tmp_path_factory.mktemp("spec") / "study.toml"
    write_toml(path, {misspelt: 1, "data": [{"path": "x"}], "arm": [{"start": "random"}]})

    with pytest.raises(RadstartError) as caught:
        read_spec(path)
    meant = str(caught.value).split("did you mean ")[1].split("?")[0]
    assert name in meant.split(" or ")


def spec(**changes):
    return dataclasses.replace(StudySpec(DataSpec("/x"), (parse_arm("random"),)), **changes)


def test_no_margin_comes_back_as_no_margin(tmp_path):
    """A study without equivalence claims is the same study on the second call."""
    write_spec(spec(margin=0.0), tmp_path / "study.toml")

    assert read_spec(tmp_path / "study.toml").margin == 0


def test_every_default_stands_in_the_file(tmp_path):
    """A reader of study.toml needs no other page."""
    write_spec(checked(spec()), tmp_path / "study.toml")

    text = (tmp_path / "study.toml").read_text()
    none = {"image_size"}
    for field in dataclasses.fields(StudySpec):
        assert field.name in none or f"\n{field.name} =" in text or f"[[{field.name}]]" in text
    assert "schema = 1" in text


def test_paths_are_relative_to_the_file(tmp_path):
    """A study folder can be moved with its data."""
    (tmp_path / "labels.csv").touch()
    (tmp_path / "study.toml").write_text(
        '[[data]]\npath = "images"\nlabels = "labels.csv"\n'
        '[[arm]]\nname = "w"\nstart = "file:weights"\n[[arm]]\nstart = "run:/s/runs/1"\n'
    )

    found = read_spec(tmp_path / "study.toml")
    assert found.data.path == str(tmp_path / "images")
    assert found.data.labels == str(tmp_path / "labels.csv")
    assert found.arm[0] == ArmSpec("w", f"file:{tmp_path / 'weights'}")
    assert found.arm[1].start == "run:/s/runs/1"


def test_defaults_are_decided_when_checked():
    """The first arm is the reference, the task's first metric the primary one."""
    found = checked(spec(arm=(parse_arm("a=random"), parse_arm("b=random"))))

    assert (found.reference, found.metric) == ("a", "auroc")
