"""The worked examples of the method page, to the printed digits."""

import numpy as np
import pytest

from radstart.stats import interval, paired_difference
from radstart.stats.limits import Pair

I = np.arange(40)  # noqa: E741
Y = (I % 3 == 0).astype(int)
S = np.arange(3)[:, None]
A = (1 + 0.4 * S) * Y + np.sin(1.3 * I + 0.5 * S)
B = (0.5 + 0.4 * S) * Y + np.sin(1.3 * I + 0.7 * S + 1)
PATIENT = I // 2


def close(got, printed, digits):
    np.testing.assert_allclose(got, printed, rtol=0, atol=0.5001 * 10.0**-digits)


def pair_of(result) -> Pair:
    assert result.pair is not None
    return result.pair


def test_one_arm():
    a, b = interval(A, Y, PATIENT), interval(B, Y, PATIENT)
    close(a.seed_values, [0.829670, 0.909341, 0.967033], 6)
    close(b.seed_values, [0.711538, 0.796703, 0.890110], 6)
    close([a.ci_low, a.ci_high], [0.626165, 0.980618], 6)
    close([b.ci_low, b.ci_high], [0.541568, 0.930802], 6)


def test_crossed():
    d = paired_difference(A, B, Y, PATIENT)
    pair = pair_of(d)
    close([pair.a.variance, pair.b.variance], [0.00294255, 0.00469551], 8)
    close([d.difference, d.nu], [0.102564, 19], 6)
    close(d.seed_sd_difference**2, 0.00050064, 8)
    close([d.omega_D / 20, d.omega_B / 20], [0.00186162, 0.00315577], 8)
    total = d.omega_B / 20 / d.share_patients
    close([total * d.share_seeds, total], [0.00062054, 0.00377631], 8)
    close(pair.r, 0.519459, 6)
    close(d.df, 14.93659, 5)
    close([d.ci_low, d.ci_high, d.p], [-0.049635, 0.255507, 0.139048], 6)
    close(pair.limits(1.0), [0.040582, 0.168148], 6)


def test_nested():
    d = paired_difference(A, B, Y, PATIENT, design="nested")
    pair = pair_of(d)
    shared = pair.r * np.sqrt(pair.a.variance * pair.b.variance)
    close([shared, d.omega_B / 20], [0.00042551, 0.00254206], 8)
    close(d.omega_B / 20 / d.share_patients, 0.00678705, 8)
    close(d.df, 6.23741, 5)
    close([d.ci_low, d.ci_high, d.p], [-0.141146, 0.320522, 0.283598], 6)


@pytest.mark.parametrize("design", ["crossed", "nested"])
def test_metrics_with_labels_and_patients_as_text(design):
    named = np.array([f"patient {p}" for p in PATIENT])
    one = paired_difference(A, B, Y, PATIENT, design=design)
    two = paired_difference(A, B, Y.astype(bool), named, design=design)
    assert (one.ci_low, one.p) == (two.ci_low, two.p)
