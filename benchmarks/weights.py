"""What a load with its receipt costs beside torch's own, and what `radstart weights list` costs.

Both sides of the load build the network from nothing; both read one file of 98 MiB that lies in
the page cache (ResNet50, random values, as torch.save writes it). The files are made here.

python benchmarks/weights.py [--turns 15]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import Row, figure, in_turns, keep, paired_ratio

NAME = "resnet50"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    given = parser.parse_args()
    listed = listing(given.turns)
    loaded, details = loading(given.turns)
    keep("weights", [*loaded, listed], details)


def loading(turns: int) -> tuple[list[Row], dict[str, object]]:
    """Return the rows of a load: with and without building the network on torch's side."""
    import torch

    from radstart.backbones import Backbone, build
    from radstart.weights import load_weights
    from radstart.weights.reading.files import read_container

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(build(Backbone(NAME), 1000).state_dict(), path)
        counted = load_weights(path, backbone=NAME)[2]

        def ours() -> None:
            read_container.cache_clear()
            load_weights(path, backbone=NAME)

        def theirs() -> None:
            model = build(Backbone(NAME), 1000)
            model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

        seconds = in_turns({"ours": ours, "theirs": theirs}, turns)
    ratio = paired_ratio(seconds["ours"], seconds["theirs"])
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    row = Row(
        f"load {NAME} whole, with receipt and sha256, s",
        figure(middle["ours"]),
        "build, torch.load, load_state_dict(strict)",
        figure(middle["theirs"]),
        f"{ratio:.2f}x the time",
        "under 1.2x",
        ratio < 1.2,
    )
    return [row], {"seconds": seconds, "assigned": counted.assigned}


def listing(turns: int) -> Row:
    """Return the row of `radstart weights list` as a whole process."""

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    seconds = in_turns(
        {
            "bare": lambda: run("-c", "pass"),
            "list": lambda: run("-m", "radstart.cli", "weights", "list"),
        },
        turns,
    )
    over = statistics.median(a - b for a, b in zip(seconds["list"], seconds["bare"], strict=True))
    return Row(
        "radstart weights list, s",
        figure(statistics.median(seconds["list"])),
        "bare Python",
        figure(statistics.median(seconds["bare"])),
        f"+{over:.2f} s",
        "under +0.3 s",
        over < 0.3,
    )


if __name__ == "__main__":
    main()
