"""What starting radstart costs: modules that `import radstart` loads, and `radstart --help`.

python benchmarks/start.py [--turns 15]
"""

import argparse
import json
import statistics
import subprocess
import sys

from side_by_side import Row, figure, in_turns, keep

HEAVY = ("torch", "timm", "torchvision", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "cv2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    given = parser.parse_args()
    text = "import sys, json, radstart; print(json.dumps(sorted(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True)
    modules = json.loads(shown.stdout)
    heavy = [name for name in HEAVY if name in modules]

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    seconds = in_turns(
        {
            "bare": lambda: run("-c", "pass"),
            "import": lambda: run("-c", "import radstart"),
            "help": lambda: run("-m", "radstart.cli", "--help"),
        },
        given.turns,
    )
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    over = statistics.median(h - b for h, b in zip(seconds["help"], seconds["bare"], strict=True))
    rows = [
        Row(
            "import radstart, s",
            figure(middle["import"]),
            "bare Python",
            figure(middle["bare"]),
            f"loads {', '.join(heavy) or 'no torch'}",
            "no torch",
            "torch" not in heavy,
        ),
        Row(
            "radstart --help, s",
            figure(middle["help"]),
            "bare Python",
            figure(middle["bare"]),
            f"+{over:.2f} s",
            "under +0.3 s",
            over < 0.3,
        ),
    ]
    keep("start", rows, {"modules": len(modules), "heavy": heavy, "seconds": seconds})


if __name__ == "__main__":
    main()
