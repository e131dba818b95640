"""Numerics: chosen once per study by a short measurement, then written down.

Within one choice, results on a CPU are bit-identical. Only training steps run in bfloat16;
validation, features and predictions are always float32, since rounded scores tie.
"""

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from radstart.core.errors import RadstartError, nearest
from radstart.core.files import read_toml

GAIN = 1.05  # a choice must be this much faster than the simpler one before it
RACE_SECONDS = 6.0  # candidates take turns for about this long,
FEWEST_TURNS, MOST_TURNS = 2, 12  # but for no fewer and no more turns than these


@dataclass(frozen=True)
class Numerics:
    """How numbers are computed.

    Attributes:
        dtype: of the training steps' matrix products, `float32` or `bfloat16`.
        memory_format: `contiguous` or `channels_last`.
        threads: of torch inside an operation.
        instructions: the processor's instruction set as torch names it.
        device: `cpu`, `cuda`, `cuda:1`, ...
        train_rate, evaluation_rate: images per second, as measured when it was chosen.
    """

    dtype: str
    memory_format: str
    threads: int
    instructions: str
    device: str
    train_rate: float = 0.0
    evaluation_rate: float = 0.0

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers that come out: all but the rates and which GPU it is."""
        named = {k: v for k, v in asdict(self).items() if not k.endswith("_rate")}
        return named | {"device": self.device.partition(":")[0]}

    def record(self) -> dict[str, Any]:
        """Return it as numerics.toml states it."""
        return asdict(self)


def choose_numerics(
    asked: str, device: str, model: Callable[[], nn.Module], size: int, batch_size: int
) -> Numerics:
    """Return the numerics of a study: `auto` measures, `fp32` is plain, else a TOML file's.

    Args:
        asked: `auto`, `fp32` or the path of a numerics.toml.
        device: `auto`, `cpu`, `cuda`, ...
        model: makes the network (float (B, 3, S, S) -> (B, K)) to be timed.
        size: side of the input in pixels.
        batch_size: images in a training step.

    Raises:
        RadstartError: no such device; an unreadable file.
    """
    device = usable_device(device)
    if asked not in ("auto", "fp32"):
        return replace(read_numerics(Path(asked)), device=device)
    threads = torch.get_num_threads()  # the processor's cores, or OMP_NUM_THREADS
    plain = Numerics("float32", "contiguous", threads, instructions(), device)
    candidates = [plain]
    if asked == "auto":
        candidates += [
            replace(plain, dtype=dtype, memory_format="channels_last")
            for dtype in ("float32", "bfloat16")
        ]
    timed = {
        form: _Timed.made(model(), replace(plain, memory_format=form), size, batch_size)
        for form in dict.fromkeys(one.memory_format for one in candidates)
    }
    sound = [one for one in candidates[1:] if _repeats(one, timed[one.memory_format])]
    best = _fastest([plain, *sound], timed)
    if asked == "auto" and best.threads > 1:  # small networks gain nothing from a second thread
        best = _fastest([replace(best, threads=1), best], timed)
    chosen = timed[best.memory_format]
    evaluation = min([_seconds(chosen.evaluate, best) for _ in range(4)][1:])
    return replace(best, evaluation_rate=round(batch_size / evaluation, 1))


def read_numerics(path: Path) -> Numerics:
    """Read a numerics.toml.

    Raises:
        RadstartError: absent, not TOML, or a key that is missing, unknown or out of range.
    """
    stated = read_toml(path)
    fine: dict[str, Callable[[Any], bool]] = {
        "dtype": lambda x: x in ("float32", "bfloat16"),
        "memory_format": lambda x: x in ("contiguous", "channels_last"),
        "threads": lambda x: type(x) is int and x >= 1,
        "instructions": lambda x: isinstance(x, str),
        "device": lambda x: isinstance(x, str),
        "train_rate": lambda x: type(x) in (int, float) and x >= 0,
        "evaluation_rate": lambda x: type(x) in (int, float) and x >= 0,
    }
    for key in [*stated, *fine]:
        if key not in fine:
            raise RadstartError("unknown key", f"{path}: {key}", "", nearest(key, fine))
        if key not in stated and not key.endswith("_rate"):
            raise RadstartError("a key is missing", f"{path}: {key}", "", "copy a study's file")
        if key in stated and not fine[key](stated[key]):
            raise RadstartError(
                "out of range", f"{path}: {key}", repr(stated[key]), "copy a study's numerics.toml"
            )
    return Numerics(**stated)


def usable_device(asked: str) -> str:
    """Return the device: `auto` is the GPU where there is one.

    Raises:
        RadstartError: none of cpu, cuda, cuda:N, mps; or not here.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", asked):
        raise RadstartError("unknown device", "--device", asked, "use auto, cpu, cuda or cuda:1")
    try:
        torch.zeros(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        raise RadstartError("no such device here", "--device", asked, "use --device cpu") from error
    return asked


def instructions() -> str:
    """Return the instruction set that torch uses on this processor, by its own name."""
    return str(torch.backends.cpu.get_cpu_capability())


@dataclass(frozen=True, eq=False)
class _Timed:
    """A network with its optimiser and noise to train on, in one memory format."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    images: Tensor
    targets: Tensor

    @classmethod
    def made(cls, model: nn.Module, numerics: Numerics, size: int, batch_size: int) -> "_Timed":
        network = place(model, numerics)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(batch_size, 3, size, size, generator=generator)
        return cls(
            network,
            torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True),
            place_images(images, numerics),
            torch.zeros(batch_size, dtype=torch.long, device=numerics.device),
        )

    def step(self, numerics: Numerics) -> None:
        self.network.train()
        with mixed(numerics):
            loss = nn.functional.cross_entropy(self.network(self.images), self.targets)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def evaluate(self) -> None:
        self.network.eval()
        with torch.inference_mode():
            self.network(self.images)


def _repeats(numerics: Numerics, timed: _Timed) -> bool:
    """Return whether gradients come out the same, to the bit, whatever was in memory before.

    Some kernels read memory that nobody has written: bfloat16 channels-last convolutions with a
    stride of 2 on a 1 x 1 input do so in oneDNN. On a GPU nothing is promised and nothing tried.
    """
    if numerics.device != "cpu":
        return True
    images, targets = timed.images[:4], timed.targets[:4]
    kept: list[list[Tensor]] = []
    with computing(numerics), torch.random.fork_rng(devices=[]):
        timed.network.train()
        for _ in range(3):
            torch.manual_seed(0)
            dirty = [torch.full((size,), math.nan) for size in range(4, 20_000, 100)]
            del dirty
            with mixed(numerics):
                loss = nn.functional.cross_entropy(timed.network(images), targets)
            timed.optimiser.zero_grad()
            loss.backward()
            kept.append([p.grad.clone() for p in timed.network.parameters() if p.grad is not None])
    first = kept[0]
    return all(bool(g.isfinite().all()) for g in first) and all(
        torch.equal(a, b) for other in kept[1:] for a, b in zip(first, other, strict=True)
    )


def _fastest(candidates: list[Numerics], timed: dict[str, _Timed]) -> Numerics:
    """Return the first candidate, or a later one that is GAIN times as fast, with its rate.

    They take turns, so that whatever else the machine does meets all of them alike; the least of
    a candidate's times counts, since other work only ever adds to it.
    """
    least = [math.inf] * len(candidates)
    spent, turn = 0.0, 0
    budget = RACE_SECONDS if len(candidates) > 1 else 0.0
    while turn <= MOST_TURNS and (turn <= FEWEST_TURNS or spent < budget):
        for k, one in enumerate(candidates):
            seconds = _seconds(partial(timed[one.memory_format].step, one), one)
            spent += seconds
            least[k] = min(least[k], seconds) if turn else math.inf  # the first turn warms up
        turn += 1
    best = 0
    for k in range(1, len(candidates)):
        if least[best] > GAIN * least[k]:
            best = k
    images = len(timed[candidates[best].memory_format].images)
    return replace(candidates[best], train_rate=round(images / least[best], 1))


def _seconds(work: Callable[[], object], numerics: Numerics) -> float:
    with computing(numerics):
        started = time.perf_counter()
        work()
        if numerics.device.startswith("cuda"):
            torch.cuda.synchronize()
        elif numerics.device == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - started


def place(model: nn.Module, numerics: Numerics) -> nn.Module:
    """Move a network to the device and memory format."""
    return model.to(numerics.device, memory_format=_format(numerics))  # type: ignore[call-overload,no-any-return]


def place_images(images: Tensor, numerics: Numerics) -> Tensor:
    """Move float images (B, C, H, W) to the device and memory format."""
    return images.to(numerics.device, memory_format=_format(numerics))


def _format(numerics: Numerics) -> torch.memory_format:
    last = numerics.memory_format == "channels_last"
    return torch.channels_last if last else torch.contiguous_format


def mixed(numerics: Numerics) -> contextlib.AbstractContextManager[Any]:
    """Return the context of a training step's forward pass."""
    kind = numerics.device.partition(":")[0]
    return torch.autocast(kind, torch.bfloat16, enabled=numerics.dtype == "bfloat16")


@contextmanager
def computing(numerics: Numerics) -> Iterator[None]:
    """Compute with these threads, deterministically, while the block runs."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(numerics.threads)
    torch.use_deterministic_algorithms(numerics.device == "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
