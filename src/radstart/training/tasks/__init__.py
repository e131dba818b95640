"""Tasks: what is predicted. A task is one file with a `Task` and one line in TASKS."""

from radstart.training.tasks.classification import CLASSIFICATION
from radstart.training.tasks.task import Probe, Task

TASKS: dict[str, Task] = {"classification": CLASSIFICATION}

__all__ = ["TASKS", "Probe", "Task"]
