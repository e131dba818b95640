"""What the timings share: turns, the machine's name, and one file of results per benchmark.

Two things are only compared within one run of one benchmark, in which they take turns; what is
kept is the ratio, with the machine and the date.
"""

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from radstart.backbones import Numerics

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does, before torch comes

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One line of the README's table.

    Attributes:
        what: what was measured, with its unit.
        ours: radstart's figure.
        beside: what it is held against.
        theirs: that one's figure.
        ratio: how the two compare, with its unit.
        wanted: the target in words; "" = for information.
        met: whether the target is met; None = no target.
    """

    what: str
    ours: str
    beside: str
    theirs: str
    ratio: str
    wanted: str = ""
    met: bool | None = None


def in_turns(works: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Return the seconds of every work in every turn; each runs once before, untimed."""
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            seconds[name].append(timed(work))
    return seconds


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def paired_ratio(above: list[float], below: list[float]) -> float:
    """Return the median over turns of one's seconds by the other's."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def plain_beside(chosen: "Numerics") -> "Numerics":
    """Return float32, channels first, with all cores, where `chosen` was chosen."""
    import torch

    threads = torch.get_num_threads()
    return replace(chosen, dtype="float32", memory_format="contiguous", threads=threads)


def bare_step(
    module: "nn.Module", numerics: "Numerics", side: int, batch: int
) -> Callable[[], None]:
    """Return a training step without any loop: forward, backward, AdamW, one batch in memory."""
    import torch

    from radstart.backbones import mixed, place, place_images

    module = place(module, numerics).train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
    noise = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    images = place_images(noise, numerics)
    targets = torch.arange(batch) % 2

    def step() -> None:
        with mixed(numerics):
            outputs = module(images)
        loss = torch.nn.functional.cross_entropy(outputs.float(), targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def figure(value: float) -> str:
    """Return three significant digits, with thousands separated: 12,300, 4.56, 0.0789."""
    if value >= 100:
        digits = len(str(int(value)))
        return f"{round(value, 3 - digits):,.0f}"
    return f"{value:#.3g}"


def machine() -> dict[str, Any]:
    """Return the machine and the versions that the timings hold for."""
    import torch

    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        facts = {key.strip(): value.strip() for key, value in facts.items()}
    except OSError:
        facts = {}
    flags = set(facts.get("flags", "").split())
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": "avx512_bf16" in flags,
        "amx_bf16": "amx_bf16" in flags,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def keep(name: str, rows: list[Row], details: Mapping[str, Any]) -> None:
    """Write results/NAME.json and print the rows."""
    from radstart.core.files import write_json

    kept = {
        "name": name,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 2),
        "rows": [asdict(row) for row in rows],
        "details": dict(details),
    }
    write_json(RESULTS / f"{name}.json", kept)
    for row in rows:
        mark = {True: "met", False: "NOT MET", None: ""}[row.met]
        print(f"{row.what}: {row.ours} | {row.beside}: {row.theirs} | {row.ratio} {mark}")
