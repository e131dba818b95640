"""Checkpoints: where a training stands, whole on disk, so that it goes on after a crash.

A checkpoint holds every tensor of the loop (network, its average, the best state, the optimiser's
moments) and its counters; everything random is a function of (seed, step), so a training that goes
on from one is bit-identical to one that was never stopped.
"""

import json
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from radstart.core.files import whole_file

SECONDS = 120.0  # the longest time between two checkpoints; else one at every look at validation
MOMENTS = ("exp_avg", "exp_avg_sq", "step")

State = dict[str, Tensor]


@dataclass
class Standing:
    """Where a training stands, besides its tensors.

    Attributes:
        rate: the learning rate now, before warm-up.
        step: steps taken.
        decayed: whether the rate has decayed.
        waited: looks at validation without improvement.
        losses: sum of the training losses since the last look.
        best_loss: smallest validation loss so far.
        converged: whether training is over.
        history: one record per look at validation.
        seconds: time spent, all processes together.
    """

    rate: float
    step: int = 0
    decayed: bool = False
    waited: int = 0
    losses: float = 0.0
    best_loss: float = math.inf
    converged: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


class Checkpoints:
    """The checkpoint file of one training, written by a thread while training goes on."""

    def __init__(self, path: Path) -> None:
        """Keep checkpoints of one training in the file `path`."""
        self.path = path
        self._writer = ThreadPoolExecutor(1, "radstart-checkpoint")
        self._writing: Future[float] | None = None
        self._kept = time.monotonic()
        self._cost = self._copied = 0.0

    def due(self, looked: bool) -> bool:
        """Return whether to keep the state now: after a look at validation, or after SECONDS.

        Looks that come faster than ten times what a checkpoint takes are passed over, so that a
        large network on a slow disk is not kept from training.

        Raises:
            RadstartError: the last one could not be written.
        """
        if self._writing is not None and self._writing.done():
            self._cost = self._copied + self._writing.result()
            self._writing = None
        since = time.monotonic() - self._kept
        wanted = since >= SECONDS or (looked and since >= 10 * self._cost)
        return wanted and self._writing is None

    def keep(
        self,
        standing: Standing,
        module: nn.Module,
        averaged: nn.Module,
        best: State,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        """Copy the state now and write it while training goes on."""
        started = time.monotonic()
        tensors = {f"module/{k}": v for k, v in module.state_dict().items()}
        tensors |= {f"averaged/{k}": v for k, v in averaged.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in best.items()}
        tensors |= {
            f"{moment}/{name}": optimiser.state[parameter][moment]
            for name, parameter in module.named_parameters()
            if parameter in optimiser.state
            for moment in MOMENTS
        }
        copies = {
            k: v.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for k, v in tensors.items()
        }
        described = {"standing": json.dumps(asdict(standing))}
        self._writing = self._writer.submit(self._write, copies, described)
        self._kept = time.monotonic()
        self._copied = self._kept - started

    def _write(self, tensors: State, described: dict[str, str]) -> float:
        """Write the file; return the seconds that it took."""
        started = time.monotonic()
        with whole_file(self.path) as temporary:
            temporary.write_bytes(save(tensors, described))
        return time.monotonic() - started

    def standing(self) -> Standing | None:
        """Return where the checkpoint stands; None without a sound one."""
        try:
            with safe_open(self.path, "pt") as file:
                return Standing(**json.loads(file.metadata()["standing"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def restore(
        self, module: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[Standing, State] | None:
        """Fill the loop's tensors; return where it stood and its best state, or None without one.

        A file that is damaged or of another network counts as none; the tensors may then hold
        part of it and are to be made anew.
        """
        standing = self.standing()
        if standing is None:
            return None
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            parts: dict[str, State] = {}
            for key, tensor in tensors.items():
                part, _, name = key.partition("/")
                parts.setdefault(part, {})[name] = tensor
            averaged.load_state_dict(parts["averaged"])
            module.load_state_dict(parts["module"])
            for name, parameter in module.named_parameters():
                if name in parts.get("step", {}):
                    moments = {
                        moment: torch.empty_like(parameter.detach()).copy_(parts[moment][name])
                        for moment in MOMENTS[:2]
                    }
                    steps = parts["step"][name].to(parameter.device)
                    optimiser.state[parameter] = {"step": steps, **moments}
        except (OSError, SafetensorError, KeyError, RuntimeError):
            return None
        return standing, {k: v.clone() for k, v in parts["best"].items()}  # not the mapped file

    def close(self) -> None:
        """Wait for the write that is under way.

        Raises:
            RadstartError: it could not be written.
        """
        self._writer.shutdown()
        if self._writing is not None:
            self._writing.result()
