"""A finished study as data frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radstart.core.errors import RadstartError
from radstart.core.files import read_json
from radstart.study.facts import SCHEMA


@dataclass(frozen=True)
class Study:
    """A study's tables.

    Attributes:
        path: the study's folder.
        facts: facts.json.
        results: one row per run and metric, then one per cell and metric (`seed` is null).
        comparisons: every arm against the reference, primary metric.
        policy_comparisons: every policy against the first one.
        runs: settings, convergence and time of every run.
    """

    path: Path
    facts: dict[str, Any]
    results: pd.DataFrame
    comparisons: pd.DataFrame
    policy_comparisons: pd.DataFrame
    runs: pd.DataFrame

    def cases(self, run: str) -> pd.DataFrame:
        """Return a run's case table: one row per case of validation and test."""
        return pd.read_parquet(self.path / "runs" / run / "cases.parquet")


def open_study(path: str | Path) -> Study:
    """Open a finished study.

    Raises:
        RadstartError: no study there, or one of a newer radstart.
    """
    folder = Path(path)
    facts = read_facts(folder)
    return Study(
        path=folder,
        facts=facts,
        results=pd.read_parquet(folder / "results.parquet"),
        comparisons=pd.DataFrame(facts["comparisons"]),
        policy_comparisons=pd.DataFrame(facts["policy_comparisons"]),
        runs=pd.DataFrame(facts["runs"]).drop(columns="values", errors="ignore"),
    )


def read_facts(folder: Path) -> dict[str, Any]:
    """Return a study's facts.json.

    Raises:
        RadstartError: no finished study there, or one of a newer radstart.
    """
    if not (folder / "facts.json").is_file():
        begun = (folder / "study.toml").is_file()
        raise RadstartError(
            "this study is not finished" if begun else "no study here",
            str(folder),
            remedy="run radstart compare with the same --out" if begun else "",
        )
    facts: dict[str, Any] = read_json(folder / "facts.json")
    if facts.get("schema", 0) > SCHEMA:
        raise RadstartError(
            "made by a newer radstart", str(folder), f"schema {facts['schema']}", "update radstart"
        )
    return facts
