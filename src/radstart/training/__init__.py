"""Training: one recipe, one loop, tasks, policies, probes, numerics."""

from radstart.training.augment import Augmentation
from radstart.training.batches import Batches
from radstart.training.checkpoint import Checkpoints
from radstart.training.crossval import PairedLoss, folds_of, paired_loss, probe_losses
from radstart.training.finetune import fine_tune
from radstart.training.loop import Fitted, Objective, RunFailed, fit
from radstart.training.policies import POLICIES, Policy, policy_named
from radstart.training.probe import PENALTIES, ProbeFit, fit_probe
from radstart.training.recipe import LADDER, Recipe, grown_grid
from radstart.training.tasks import TASKS, Probe, Task

__all__ = [
    "LADDER",
    "PENALTIES",
    "POLICIES",
    "TASKS",
    "Augmentation",
    "Batches",
    "Checkpoints",
    "Fitted",
    "Objective",
    "PairedLoss",
    "Policy",
    "Probe",
    "ProbeFit",
    "Recipe",
    "RunFailed",
    "Task",
    "fine_tune",
    "fit",
    "fit_probe",
    "folds_of",
    "grown_grid",
    "paired_loss",
    "policy_named",
    "probe_losses",
]
