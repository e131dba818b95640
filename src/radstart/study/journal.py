"""The study's log: which process did what, when. One file per process, lines only added."""

import datetime
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radstart.core.errors import RadstartError
from radstart.core.files import os_reason


@dataclass(frozen=True)
class Journal:
    """Where this process writes what it does: STUDY/log/HOST-PID.jsonl."""

    folder: Path

    def write(self, event: str, **facts: object) -> None:
        """Add one line: time, host, pid, event and its facts.

        Raises:
            RadstartError: the study's folder cannot be written.
        """
        host, pid = socket.gethostname(), os.getpid()
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "host": host, "pid": pid, "event": event, **facts}
        path = self.folder / "log" / f"{host}-{pid}.jsonl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise RadstartError(
                "cannot write",
                str(path),
                os_reason(error),
                "free space; the same command continues",
            ) from error


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Return what all processes did in a study, by time; a line cut short is left out."""
    lines = []
    for path in sorted((folder / "log").glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
    return sorted(lines, key=lambda line: str(line["time"]))
