"""Permuted labels: does the interval of a model that learned nothing contain AUROC 0.5?

    python benchmarks/permuted_labels.py --data ../shared/data/chest_xray_kermany \
        --weights ../shared/weights/mobilenetv2_100_imagenet_tf2 [--studies 100] [--write]

Each study: three seeds, each with its own permutation of the labels within the training part;
frozen probes on real features, penalty chosen on the (true) validation labels; the 95 % AUROC
interval on the true test labels. Between 90 and 99 of 100 intervals should contain 0.5.
`--write` puts the result, with machine and date, between the markers in docs/statistics.md.
"""

import argparse
import datetime
import re
import tempfile
from pathlib import Path

import numpy as np

from radstart.core.progress import Progress
from radstart.core.random import stream
from radstart.features import frozen_features
from radstart.stats import interval
from radstart.study import DataSpec, StudySpec, absolute_arm, checked
from radstart.study.facts import processor
from radstart.study.prepare import prepare
from radstart.training import fit_probe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--label-column", default="binary")
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    spec = StudySpec(
        data=DataSpec(
            str(given.data.resolve()),
            str((given.data / "labels.csv").resolve()),
            label_column=given.label_column,
        ),
        arm=(absolute_arm(f"imagenet=file:{given.weights}"),),
        policies=("frozen",),
        seeds=given.seeds,
        image_size=96,
        leakage="regroup",
    )
    progress = Progress(shown=True)
    with tempfile.TemporaryDirectory() as folder:
        study = prepare(
            checked(spec), Path(folder), device="cpu", workers=1, numerics="fp32",
            progress=progress,
        )  # fmt: skip
        arm = study.arms[0]
        features = frozen_features(
            arm, 0, study.pixels(arm), study.dataset.content, Path(folder), study.numerics
        )
    train = np.flatnonzero(study.parts.part == "train")
    validation = np.flatnonzero(study.parts.part == "validation")
    test = study.test_rows()
    found = []
    with progress.task("studies", given.studies) as task:
        for number in range(given.studies):
            runs = []
            for seed in range(given.seeds):
                targets = study.targets.copy()
                order = stream(number, "permutation", seed).permutation(len(train))
                targets[train] = study.targets[train][order]
                fitted = fit_probe(study.task, features, targets, train, validation)
                outputs = fitted.probe.outputs(features[test])
                scored = study.task.columns(outputs, study.dataset.classes)
                runs.append(scored[f"score_{study.dataset.classes[-1]}"])
            found.append(interval(np.stack(runs), study.targets[test], study.units.unit[test]))
            task.advance()
    inside = sum(f.ci_low <= 0.5 <= f.ci_high for f in found)
    values = np.array([f.value for f in found])
    width = np.median([f.ci_high - f.ci_low for f in found])
    text = (
        f"{study.dataset.name}, {given.studies} studies of {given.seeds} seeds: the 95 % AUROC "
        f"interval contains 0.5 in **{inside} of {given.studies}** (wanted: 90 to 99 %); mean "
        f"AUROC {values.mean():.3f}, spread over studies {values.std(ddof=1):.3f}, median width "
        f"{width:.3f}. {processor()}, {datetime.date.today().isoformat()}."
    )
    print(text)
    if given.write:
        page = Path(__file__).parents[1] / "docs" / "statistics.md"
        begin, end = "<!-- permuted:begin -->", "<!-- permuted:end -->"
        old = page.read_text(encoding="utf-8")
        new = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", old, flags=re.DOTALL)
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
