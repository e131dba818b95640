"""Coverage of the intervals: simulated studies with known truth, written into docs/statistics.md.

score = separation(arm, seed) * y + noise, noise of variance 1 with a patient part (share ICC) and
an image part; 60 % of either is common to all runs, 25 % an arm's and 15 % one run's. With rho the
arms' separations correlate over seeds and 0.6 rho of the run's noise is shared as well. The
separations are normal; their mean and SD give the stated E[AUROC] and SD of AUROC exactly. Images
per patient are geometric (mean 4.9, at most 20); labels correlate inside a patient.
"""

import argparse
import datetime
import math
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, ndtr, ndtri

from radstart.core.random import stream
from radstart.stats import interval, paired_difference

Floats = NDArray[np.float64]
ICC, LABEL_ICC = 0.5, 0.5
SHARES = (0.60, 0.25, 0.15)
IMAGES, MOST_IMAGES = 4.9, 20
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
BEGIN, END = "<!-- coverage:begin -->", "<!-- coverage:end -->"


@dataclass(frozen=True)
class Setting:
    """One row of the table: what differs from the base."""

    name: str
    rho: float = 0.0
    seeds: int = 3
    patients: int = 120
    prevalence: float = 0.3
    aurocs: tuple[float, float] = (0.85, 0.85)
    sds: tuple[float, float] = (0.015, 0.015)
    metric: str = "auroc"
    classes: int = 2
    units: str = "patients"
    random_runs: bool = True


SETTINGS = (
    Setting("base"),
    Setting("base", rho=0.5),
    Setting("base", rho=0.9),
    Setting("SD .03", rho=0.5, sds=(0.03, 0.03)),
    Setting("SD .05", sds=(0.05, 0.05)),
    Setting("SD .05", rho=0.9, sds=(0.05, 0.05)),
    Setting("5 seeds, SD .05", rho=0.5, seeds=5, sds=(0.05, 0.05)),
    Setting("10 seeds, SD .05", seeds=10, sds=(0.05, 0.05)),
    Setting("60 patients, SD .03", rho=0.5, patients=60, sds=(0.03, 0.03)),
    Setting("400 patients, SD .03", patients=400, sds=(0.03, 0.03)),
    Setting("400 patients, SD .03", rho=0.9, patients=400, sds=(0.03, 0.03)),
    Setting(".97 v .90, SD .015 v .05", rho=0.5, aurocs=(0.97, 0.90), sds=(0.015, 0.05)),
    Setting(
        "60 patients, .99 v .95, SD .004 v .01",
        patients=60,
        aurocs=(0.99, 0.95),
        sds=(0.004, 0.01),
    ),
    Setting(
        "60 patients, .995 v .995, SD .002",
        patients=60,
        aurocs=(0.995, 0.995),
        sds=(0.002, 0.002),
    ),
    Setting("prevalence 5%", prevalence=0.05),
    Setting("prevalence 5%, SD .03", rho=0.5, prevalence=0.05, sds=(0.03, 0.03)),
    Setting("no seed effect", sds=(0.0, 0.0)),
    Setting("runs without randomness", sds=(0.0, 0.0), random_runs=False),
    Setting("macro AUROC, 3 classes", rho=0.5, metric="auroc", classes=3),
    Setting("balanced accuracy", rho=0.5, metric="balanced_accuracy"),
    Setting(
        "balanced accuracy, 400 patients, 5 seeds, SD .03",
        *(0.0, 5, 400, 0.3, (0.9, 0.85), (0.03, 0.03), "balanced_accuracy"),
    ),
    Setting("Brier", rho=0.5, metric="brier"),
    Setting(
        "Brier, .90 v .85, 10 seeds, SD .03",
        *(0.9, 10, 120, 0.3, (0.9, 0.85), (0.03, 0.03), "brier"),
    ),
    Setting("patients unknown: base", rho=0.0, units="images"),
    Setting(
        "patients unknown: runs without randomness",
        sds=(0.0, 0.0),
        units="images",
        random_runs=False,
    ),
)


@dataclass(frozen=True)
class Arm:
    """Separation of the classes in one arm: normal over seeds with this mean and SD."""

    mean: float
    sd: float

    def averaged(self, of_separation: Floats) -> float:
        """Return the expectation over seeds of values at `mean + sd * NODES`."""
        return float(WEIGHTS @ of_separation)


def arm(auroc: float, sd: float) -> Arm:
    """Return the arm with E[Phi(x / sqrt 2)] = auroc and SD[Phi(x / sqrt 2)] = sd."""

    def mean(spread: float) -> float:
        return float(ndtri(auroc)) * math.sqrt(2.0 + spread**2)

    def excess(spread: float) -> float:
        values = ndtr((mean(spread) + spread * NODES) / math.sqrt(2.0))
        return math.sqrt(max(0.0, float(WEIGHTS @ values**2) - float(WEIGHTS @ values) ** 2)) - sd

    if sd == 0.0:
        return Arm(mean(0.0), 0.0)
    spread = float(brentq(excess, 0.0, 3.0))
    return Arm(mean(spread), spread)


def truth(setting: Setting, one: Arm) -> float:
    """Return the metric expected over patients and seeds, by quadrature."""
    x = one.mean + one.sd * NODES
    if setting.metric == "auroc":
        return one.averaged(ndtr(x / math.sqrt(2.0)))
    if setting.metric == "balanced_accuracy":  # decided at z = mean / 2, see `outputs`
        return one.averaged((ndtr(x - one.mean / 2) + ndtr(one.mean / 2)) / 2)
    z = NODES[:, None]
    miss = WEIGHTS @ (1.0 - posterior(one, z + x, setting.prevalence)) ** 2
    alarm = float(WEIGHTS @ posterior(one, NODES, setting.prevalence) ** 2)
    return setting.prevalence * one.averaged(miss) + (1.0 - setting.prevalence) * alarm


def posterior(one: Arm, z: Floats, prevalence: float) -> Floats:
    """Return the calibrated probability of the positive class at the arm's mean separation."""
    prior = math.log(prevalence / (1.0 - prevalence))
    return np.asarray(expit(one.mean * z - one.mean**2 / 2.0 + prior))


def outputs(setting: Setting, one: Arm, z: Floats) -> Floats:
    """Return what the metric is given: scores, or probabilities."""
    if setting.metric == "auroc":
        return z
    prevalence = 0.5 if setting.metric == "balanced_accuracy" else setting.prevalence
    return posterior(one, z, prevalence)


def draw_labels(
    setting: Setting, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return labels (N,) and patients (N,) of one test set.

    An image has its patient's label with probability sqrt(LABEL_ICC), else one of its own, so two
    labels of a patient correlate by LABEL_ICC.
    """
    size = np.minimum(random.geometric(1.0 / IMAGES, setting.patients), MOST_IMAGES)
    unit = np.repeat(np.arange(setting.patients), size)
    shared = random.random(len(unit)) < math.sqrt(LABEL_ICC)
    place = np.where(shared, random.random(setting.patients)[unit], random.random(len(unit)))
    cuts = [0.3, 0.6] if setting.classes == 3 else [setting.prevalence]
    return len(cuts) - np.searchsorted(cuts, place), unit


def draw_study(
    setting: Setting, arms: tuple[Arm, Arm], random: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Return scores (2 arms, seeds, cases[, classes]), labels and patients of one study."""
    labels, unit = draw_labels(setting, random)
    columns = 1 if setting.classes == 2 else setting.classes

    def noise(*runs: int) -> Floats:
        patient = random.standard_normal((*runs, setting.patients, columns))[:, :, unit]
        image = random.standard_normal((*runs, len(unit), columns))
        return np.asarray(math.sqrt(ICC) * patient + math.sqrt(1.0 - ICC) * image)

    common, of_arm, of_run = (math.sqrt(share) for share in SHARES)
    shared = 0.6 * setting.rho
    distinct = setting.seeds if setting.random_runs else 1
    runs = math.sqrt(1.0 - shared) * noise(2, distinct)
    if shared:
        runs += math.sqrt(shared) * noise(1, setting.seeds)
    z = common * noise(1, 1) + of_arm * noise(2, 1) + of_run * runs
    z = np.broadcast_to(z, (2, setting.seeds, *z.shape[2:]))
    own, both = random.standard_normal((2, setting.seeds)), random.standard_normal(setting.seeds)
    effect = math.sqrt(1.0 - setting.rho) * own + math.sqrt(setting.rho) * both
    means, sds = np.array([[one.mean, one.sd] for one in arms]).T[:, :, None]
    separation = (means + sds * effect)[:, :, None, None]
    truth = labels[:, None] == (np.arange(columns) if columns > 1 else 1)
    z = z + separation * truth
    z = z[..., 0] if columns == 1 else z
    return np.stack([outputs(setting, one, z[k]) for k, one in enumerate(arms)]), labels, unit


def study(setting: Setting, arms: tuple[Arm, Arm], number: int) -> list[float]:
    """Return what one study says: see `row` for the columns."""
    random = stream(0, "coverage", *(str(v) for v in vars(setting).values()), number)
    scores, labels, unit = draw_study(setting, arms, random)
    units = unit if setting.units == "patients" else np.arange(len(unit))
    crossed = paired_difference(scores[0], scores[1], labels, units, setting.metric)
    nested = paired_difference(scores[0], scores[1], labels, units, setting.metric, design="nested")
    one = interval(scores[0], labels, units, setting.metric)
    true_a, true_b = (truth(setting, each) for each in arms)
    d = true_a - true_b
    return [
        float(crossed.ci_low > d),
        float(crossed.ci_high < d),
        float(nested.ci_low <= d <= nested.ci_high),
        float(one.ci_low <= true_a <= one.ci_high),
        crossed.ci_high - crossed.ci_low,
        nested.ci_high - nested.ci_low,
        float((crossed.p < 0.05) == (not crossed.ci_low <= 0.0 <= crossed.ci_high)),
        float(crossed.p < 0.05),
        float(math.isnan(crossed.ci_low)),
    ]


def row(setting: Setting, studies: int, report: bool = True) -> tuple[str, Floats]:
    """Return the table's row of one setting, and all its studies (studies, 9)."""
    start = time.perf_counter()
    arms = (arm(setting.aurocs[0], setting.sds[0]), arm(setting.aurocs[1], setting.sds[1]))
    each = np.array([study(setting, arms, number) for number in range(studies)])
    seconds = time.perf_counter() - start
    kept = each[each[:, 8] == 0.0]
    low, high, nested, one, _, _, agree, rejected, _ = kept.mean(axis=0)
    width, width_nested = np.median(kept[:, 4:6], axis=0)
    covered = 1.0 - low - high
    text = (
        f"| {setting.name} | {setting.rho:g} | {covered:.1%} | {low:.1%} / {high:.1%} "
        f"| {one:.1%} | {nested:.1%} | {width:.3f} / {width_nested:.3f} | {rejected:.1%} "
        f"| {agree:.1%} | {len(each) - len(kept)} |"
    ).replace("%", " %")
    if report:
        print(text, f"<!-- {1e3 * seconds / studies:.1f} ms per study -->", flush=True)
    return text, each


def table(settings: tuple[Setting, ...], studies: int, processes: int) -> list[str]:
    """Return the Markdown table of these settings."""
    head = [
        "| setting | rho | coverage | too high / too low | one arm | nested form "
        "| median width, crossed / nested | p < .05 | p agrees | no interval |",
        "|" + " --- |" * 10,
    ]
    if processes == 1:
        return head + [row(setting, studies)[0] for setting in settings]
    with ProcessPoolExecutor(processes) as pool:
        return head + [text for text, _ in pool.map(row, settings, [studies] * len(settings))]


def machine() -> str:
    """Return the CPU's model and the number of cores."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of the intervals by simulation.")
    parser.add_argument("--studies", type=int, default=2000, help="studies per setting")
    parser.add_argument("--quick", action="store_true", help="200 studies of the first 4 settings")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="Markdown file with the coverage markers")
    options = parser.parse_args()
    settings: tuple[Setting, ...] = SETTINGS
    studies: int = options.studies
    if options.quick:
        settings, studies = SETTINGS[:4], 200
    start = time.perf_counter()
    lines = table(settings, studies, options.processes)
    minutes = (time.perf_counter() - start) / 60.0
    command = f"python benchmarks/coverage.py --studies {studies}" + " --quick" * options.quick
    made = (
        f"{studies} studies per setting; {machine()}, {options.processes} process(es), "
        f"{minutes:.0f} minutes, {datetime.date.today().isoformat()}: `{command}`"
    )
    print(made)
    if options.out:
        page = options.out.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN, 1)
        after = rest.split(END, 1)[1]
        block = "\n".join([BEGIN, "", *lines, "", made, "", END])
        options.out.write_text(before + block + after, encoding="utf-8")


if __name__ == "__main__":
    main()
