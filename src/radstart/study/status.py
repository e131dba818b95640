"""Who is at work in a study, and what is finished: read from its folder, changing nothing."""

import textwrap
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from radstart.core.claims import Claims
from radstart.core.errors import RadstartError
from radstart.core.progress import duration
from radstart.study.journal import read_journal
from radstart.study.runs import RunSpec, is_done
from radstart.study.spec import read_spec


def status_lines(folder: Path, last: int = 5) -> list[str]:
    """Return the state of a study as lines for a person.

    Args:
        folder: of the study.
        last: how many of the log's latest events to list.

    Raises:
        RadstartError: no study there.
    """
    if not (folder / "study.toml").exists():
        raise RadstartError("no study here", str(folder), "", "give the --out of radstart compare")
    spec, log = read_spec(folder / "study.toml"), read_journal(folder)
    asked = len(spec.arm) * len(spec.policies) * len(spec.budgets) * spec.seeds
    runs = sum(is_done(path) for path in (folder / "runs").glob("*"))
    trainings = sum(is_done(path) for path in (folder / "trials").glob("*"))
    answer = "no answer yet"
    if (folder / "facts.json").exists():
        answer = "facts.json and report.html are there"
    lines = [f"finished    {runs} of {asked} runs, {trainings} trainings; {answer}"]
    lines += [f"at work     {line}" for line in _at_work(folder, log)] or ["at work     nobody"]
    lines += [f"log         {_told(line)}" for line in log[max(0, len(log) - last) :]]
    return [part for line in lines for part in textwrap.wrap(line, 79, subsequent_indent=" " * 12)]


def _at_work(folder: Path, log: list[dict[str, Any]]) -> list[str]:
    jobs = {line.get("job"): line for line in log if line["event"] == "began"}
    found = []
    for claim in Claims(folder / "claims").listed():
        said = claim.said
        sign = f"last sign of life {duration(max(0.0, time.time() - claim.beat))} ago"
        if claim.ended:
            sign = "dead, to be taken over by the next process"
        job = _job(jobs.get(claim.name, {"job": claim.name}))
        found.append(f"process {said['pid']} on {said['host']}, {sign}: {job}")
    return found


def _told(line: dict[str, Any]) -> str:
    moment = line["time"][5:16].replace("T", " ")
    step = f" at step {line['step']}" if "step" in line else ""
    reason = f" ({line['reason']})" if "reason" in line else ""
    return f"{moment}  {line['host']} {line['pid']} {line['event']}{step}: {_job(line)}{reason}"


def _job(line: dict[str, Any]) -> str:
    if "arm" not in line:
        return str(line["job"])
    kind = line["job"].partition("-")[0]
    run = RunSpec(**{item.name: line[item.name] for item in fields(RunSpec)})
    if kind == "features":
        return f"features of {run.arm}"
    return f"{kind} of {run.text()}" + (f", lr {run.lr:g}" if run.lr else "")
