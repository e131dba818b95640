"""One more process on a study: `python -m radstart.study.worker STUDY DEVICE WORKERS PARENT`.

It does jobs until none is left, and ends when the process that started it is gone.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from radstart.core.claims import Claims
from radstart.core.errors import RadstartError
from radstart.core.progress import Progress
from radstart.study.compare import work
from radstart.study.prepare import prepare
from radstart.study.spec import read_spec

WATCH = 1.0  # seconds between two looks whether the starting process lives


def main(folder: Path, device: str, workers: int, parent: int) -> None:
    """Work on the study in `folder` until it is finished or the process `parent` is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os.kill(os.getpid(), signal.SIGTERM)

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=watch, name="radstart-watch", daemon=True).start()
    silent = Progress()
    spec = read_spec(folder / "study.toml")
    prepared = prepare(
        spec, folder, device=device, workers=workers, numerics="auto", progress=silent
    )
    claims = Claims(folder / "claims")
    try:
        with silent.task("training", 1) as task:
            work(prepared, claims, task)
    finally:
        claims.close()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    except RadstartError as error:
        sys.exit(f"radstart: {error}")
    except KeyboardInterrupt:
        sys.exit(0)
