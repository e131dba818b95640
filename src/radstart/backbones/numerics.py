"""Numerics: chosen once per study by a short measurement, then written down.

Within one choice, results on a CPU are bit-identical. Only training steps run in bfloat16;
validation, features and predictions are always float32, since rounded scores tie.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from radstart.core.errors import RadstartError
from radstart.core.files import read_toml

GAIN = 1.05  # a choice must be this much faster than the simpler one before it


@dataclass(frozen=True)
class Numerics:
    """How numbers are computed.

    Attributes:
        dtype: of the training steps' matrix products, `float32` or `bfloat16`.
        memory_format: `contiguous` or `channels_last`.
        threads: of torch inside an operation.
        instructions: the processor's instruction set as torch names it.
        device: `cpu`, `cuda`, `cuda:1`, ...
        images_per_second: training and evaluation, as measured when it was chosen.
    """

    dtype: str
    memory_format: str
    threads: int
    instructions: str
    device: str
    train_rate: float = 0.0
    evaluation_rate: float = 0.0

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
    device = _device(device)
    threads = torch.get_num_threads()  # the processor's cores, or OMP_NUM_THREADS
    plain = Numerics("float32", "contiguous", threads, _instructions(), device)
    if asked not in ("auto", "fp32"):
        stated = read_toml(Path(asked))
        try:
            return Numerics(**stated)
        except TypeError as error:
            raise RadstartError("not a numerics file", asked, str(error)) from error
    candidates = [plain]
    if asked == "auto":
        candidates += [
            Numerics(dtype, "channels_last", threads, plain.instructions, device)
            for dtype in ("float32", "bfloat16")
        ]
    best = None
    for candidate in candidates:
        measured = _measure(candidate, model(), size, batch_size)
        if best is None or measured.train_rate > GAIN * best.train_rate:
            best = measured
    assert best is not None
    if asked == "auto" and best.threads > 1:  # small networks gain nothing from a second thread
        alone = _measure(replace(best, threads=1), model(), size, batch_size)
        if alone.train_rate * GAIN > best.train_rate:
            best = alone
    return best


def _device(asked: str) -> str:
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        raise RadstartError("no such device here", "--device", asked, "use --device cpu") from error
    return asked


def _instructions() -> str:
    return str(torch.backends.cpu.get_cpu_capability())


def _measure(numerics: Numerics, model: nn.Module, size: int, batch_size: int) -> Numerics:
    """Time training steps and evaluation on noise; the least of several is the machine's rate."""
    with computing(numerics):
        model = place(model, numerics)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(batch_size, 3, size, size, generator=generator)
        images = place_images(images, numerics)
        targets = torch.zeros(batch_size, dtype=torch.long, device=numerics.device)

        def step() -> None:
            with mixed(numerics):
                loss = nn.functional.cross_entropy(model(images), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        model.train()
        train = _fastest(step, numerics)
        model.eval()
        with torch.inference_mode():
            evaluation = _fastest(lambda: model(images), numerics)
    rates = {"train_rate": batch_size / train, "evaluation_rate": batch_size / evaluation}
    return Numerics(**{**asdict(numerics), **{k: round(v, 1) for k, v in rates.items()}})


def _fastest(work: Callable[[], object], numerics: Numerics) -> float:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        if numerics.device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


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
