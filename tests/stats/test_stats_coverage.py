"""A small simulation: the intervals cover, and p agrees with them.

benchmarks/coverage.py holds the simulator and the full table (2,000 studies per setting).
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def simulator():
    spec = importlib.util.spec_from_file_location("coverage_benchmark", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    ("change", "width"),
    [({"rho": 0.5, "sds": (0.03, 0.03)}, 0.140), ({"metric": "brier", "seeds": 5}, None)],
)
def test_intervals_cover(simulator, change, width):
    setting = simulator.Setting("quick", patients=120, **change)
    _, studies = simulator.row(setting, 150, report=False)
    low, high, nested, one, _, _, agree, _, undefined = studies.mean(axis=0)
    # 150 studies: standard error 1.8 points at 95 %; four of them below
    assert 1 - low - high > 0.88
    assert nested > 0.88
    assert one > 0.88
    assert max(low, high) < 0.09
    assert agree == 1.0
    assert undefined == 0.0
    if width is not None:
        assert np.median(studies[:, 4]) == pytest.approx(width, rel=0.15)


@pytest.mark.slow
def test_images_taken_for_patients_do_not_cover(simulator):
    setting = simulator.Setting("quick", sds=(0.0, 0.0), units="images", random_runs=False)
    _, studies = simulator.row(setting, 150, report=False)
    assert 1 - studies[:, :2].sum(axis=1).mean() < 0.88
