"""The question: one value from command line, TOML and Python; unknown names meet the nearest."""

import dataclasses
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.study import DataSpec, Leakage, StudySpec, checked, read_spec, write_spec
from radstart.weights import ArmSpec, parse_arm

NAME = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
OPTIONAL = st.none() | NAME
SHARE = st.floats(0, 1, exclude_min=True)
PATH = st.text("abcé _-=.'\"#", min_size=1, max_size=12).map(lambda text: f"/data/{text}x")
ARM = st.one_of(
    st.builds(ArmSpec, NAME.filter(bool), st.just("random")),
    st.builds(ArmSpec, NAME.filter(bool), NAME.filter(str.strip).map(lambda t: f"moments:{t}x")),
    st.builds(ArmSpec, NAME.filter(bool), PATH.map(lambda path: f"file:{path}")),
    st.builds(ArmSpec, NAME.filter(bool), PATH.map(lambda path: f"run:{path}")),
)
COLUMNS = {
    field.name: OPTIONAL for field in dataclasses.fields(DataSpec) if field.name.endswith("_column")
}
SPECS = st.builds(
    StudySpec,
    data=st.builds(DataSpec, path=PATH, labels=st.just("") | PATH, positive=OPTIONAL, **COLUMNS),
    arm=st.lists(ARM, min_size=1, max_size=3).map(tuple),
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
    flip=st.booleans(),
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
