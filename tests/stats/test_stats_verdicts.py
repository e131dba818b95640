"""Holm's adjustment and the verdicts."""

import math

import numpy as np
import pytest

from radstart.core.errors import RadstartError
from radstart.stats import WITHIN, holm, verdict


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert holm([0.02])[0] == 0.02
    assert len(holm([])) == 0


def test_an_undefined_p_stays_undefined_and_does_not_count():
    adjusted = holm([0.01, math.nan, 0.04])
    np.testing.assert_allclose(adjusted, [0.02, math.nan, 0.04])


def test_a_p_outside_its_range_is_refused():
    with pytest.raises(RadstartError, match=r"0\.\.1"):
        holm([1.2])


@pytest.mark.parametrize(
    ("difference", "p", "equivalence", "higher", "expected"),
    [
        (0.1, 0.01, None, True, ("better", ())),
        (-0.1, 0.01, None, True, ("worse", ())),
        (0.1, 0.01, 0.9, False, ("worse", ())),
        (-0.1, 0.01, 0.9, False, ("better", ())),
        (0.01, 0.01, 0.01, True, ("better", (WITHIN,))),
        (0.01, 0.01, 0.01, False, ("worse", (WITHIN,))),
        (0.0, 0.5, 0.01, True, ("practically_equal", ())),
        (0.0, 1.0, None, True, ("cannot_tell", ())),
        (0.0, 1.0, 0.05, True, ("cannot_tell", ())),
        (0.1, 0.05, 0.9, True, ("cannot_tell", ())),
        (math.nan, math.nan, math.nan, True, ("cannot_tell", ())),
        (0.1, math.nan, None, True, ("cannot_tell", ())),
    ],
)
def test_verdicts(difference, p, equivalence, higher, expected):
    assert verdict(difference, p, equivalence, higher) == expected
