"""Studies: a question, its plan, its runs, its facts."""

from radstart.study.compare import Outcome, run_study
from radstart.study.detecting import check_convention
from radstart.study.exporting import export
from radstart.study.open import Study, open_study
from radstart.study.predictions import (
    PredictionColumns,
    PredictionComparison,
    compare_predictions,
    prediction_lines,
    prediction_rows,
)
from radstart.study.spec import (
    DataSpec,
    Leakage,
    Seen,
    StudySpec,
    absolute_arm,
    checked,
    found_labels,
    read_spec,
    write_spec,
)
from radstart.study.status import status_lines

__all__ = [
    "DataSpec",
    "Leakage",
    "Outcome",
    "PredictionColumns",
    "PredictionComparison",
    "Seen",
    "Study",
    "StudySpec",
    "absolute_arm",
    "check_convention",
    "checked",
    "compare_predictions",
    "export",
    "found_labels",
    "open_study",
    "prediction_lines",
    "prediction_rows",
    "read_spec",
    "run_study",
    "status_lines",
    "write_spec",
]
