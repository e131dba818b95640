"""Generated malformed inputs: never a traceback, never a half-written file."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from input_case import Case, run
from malformed import SPOILED

from radstart.dataset import open_dataset

COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def holds(kind, data):
    """Spoil an input and run the command on it: DATA is as it was, OUT as well or it is whole."""
    with tempfile.TemporaryDirectory() as place:
        case = Case(kind, kind, lambda work: SPOILED[kind](work, data.draw))
        work, outcome = run(case, Path(place))  # anything but an exit is an error here
        assert outcome.code in (0, 2), outcome.err
        lines = [line for line in outcome.err.splitlines() if line.startswith("radstart: ")]
        assert len(lines) == (outcome.code == 2)
        if lines:
            assert outcome.line == lines[0]
            assert outcome.out == ""
        assert outcome.data_after == outcome.data_before
        new = {name for name in outcome.after if name not in outcome.before} - {"."}
        assert {name.split("/")[0] for name in new} <= {"dataset"}
        assert not [name for name in outcome.after if name.endswith(".tmp")]
        if new:
            open_dataset(work.out / "dataset")
        if outcome.code == 2 and not new:
            assert outcome.after == outcome.before


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPOILED)
@settings(max_examples=5, derandomize=True, **COMMON)
@given(data=st.data())
def test_a_malformed_input_ends_in_a_plan_or_in_one_line(kind, data):
    """A few of each kind, the same ones every time."""
    holds(kind, data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPOILED)
@settings(max_examples=25, **COMMON)
@given(data=st.data())
def test_many_malformed_inputs_end_in_a_plan_or_in_one_line(kind, data):
    """Others in every run: 25 of each kind, 150 in all."""
    holds(kind, data)
