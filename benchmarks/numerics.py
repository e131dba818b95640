"""Chosen numerics beside plain fp32, channels first: a training step at 128 px, batches of 32.

    python benchmarks/numerics.py [--turns 12]

`auto` chooses dtype, memory format and threads as a study does (`radstart.backbones.
choose_numerics`); then bare training steps of the choice and of plain float32 with all cores take
turns. "Slower on none" allows 5 %, below which two choices cannot be told apart here.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

from radstart.backbones import Backbone, Numerics, build, choose_numerics, computing
from side_by_side import Row, bare_step, figure, in_turns, keep, paired_ratio, plain_beside

SIDE, BATCH = 128, 32
NETWORKS = ("mobilenetv2_100", "mobilenetv3_small_100", "resnet18")


def within(numerics: Numerics, work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with computing(numerics):
            work()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=12)
    given = parser.parse_args()
    rows, details, ratios = [], {}, []
    for name in NETWORKS:
        fresh = partial(build, Backbone(name), 2)
        started = time.perf_counter()
        chosen = choose_numerics("auto", "cpu", fresh, SIDE, BATCH)
        planning = time.perf_counter() - started
        plain = plain_beside(chosen)
        steps = {
            label: within(one, bare_step(fresh(), one, SIDE, BATCH))
            for label, one in (("plain", plain), ("chosen", chosen))
        }
        seconds = in_turns(steps, given.turns)
        ratio = paired_ratio(seconds["plain"], seconds["chosen"])
        ratios.append(ratio)
        rate = {label: BATCH / statistics.median(values) for label, values in seconds.items()}
        said = f"{chosen.dtype}, {chosen.memory_format.replace('_', ' ')}"
        rows.append(
            Row(
                f"{name} at 128 px, {said}, threads {chosen.threads}, images/s",
                figure(rate["chosen"]),
                f"float32, channels first, threads {plain.threads}",
                figure(rate["plain"]),
                f"{ratio:.2f}x",
                "not slower",
                ratio >= 0.95,
            )
        )
        details[name] = {
            "chosen": chosen.record(),
            "planning_seconds": round(planning, 1),
            "ratio": ratio,
            "ratio_of_least": min(seconds["plain"]) / min(seconds["chosen"]),
            "seconds": seconds,
        }
    enough = sum(ratio >= 1.4 for ratio in ratios)
    rows.append(
        Row(
            "of these, how many gain 1.4x",
            str(enough),
            "",
            str(len(ratios)),
            "",
            "at least 2",
            enough >= 2,
        )
    )
    keep("numerics", rows, details)


if __name__ == "__main__":
    main()
