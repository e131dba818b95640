"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PLAIN_SECONDS = 15.0  # without a terminal: at most one line in this time


def duration(seconds: float) -> str:
    """Return "45 s", "12 min" or "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass
class Task:
    """One piece of work under way: `advance` moves it on, `note` says what is being done."""

    name: str
    total: float
    show: bool
    done: float = 0.0
    text: str = ""
    started: float = field(default_factory=time.monotonic)
    printed: float = 0.0

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Move on by `amount` of `total` and show it where it is due."""
        self.done += amount
        self.text = note or self.text
        self.draw()

    def note(self, text: str) -> None:
        """Say what is being done."""
        self.text = text
        self.draw()

    def draw(self) -> None:
        """Redraw the bar on a terminal, or print a line when one is due."""
        if not self.show:
            return
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self.printed < (0.2 if terminal else PLAIN_SECONDS) and self.done < self.total:
            return
        self.printed = now
        share = min(1.0, self.done / self.total) if self.total else 1.0
        left = (now - self.started) * (1 - share) / share if share > 0.005 else None
        time_left = "" if share >= 1 else f", {duration(left)} left" if left is not None else ""
        line = f"{self.name} {share:4.0%}{time_left}"
        line += f"  {self.text}" if self.text else ""
        if terminal:
            bar = "█" * round(20 * share) + "·" * (20 - round(20 * share))
            sys.stderr.write(f"\r\x1b[2K{bar} {line}"[:99])
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


@dataclass(frozen=True)
class Progress:
    """Where progress goes; `Progress(show=False)` is silent (the library's default)."""

    show: bool = False

    def line(self, text: str) -> None:
        """Print one line of plain text."""
        if self.show:
            sys.stderr.write(("\r\x1b[2K" if sys.stderr.isatty() else "") + text + "\n")
            sys.stderr.flush()

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Show a task of `total` pieces while the block runs."""
        task = Task(name, total, self.show)
        task.draw()
        try:
            yield task
        finally:
            if self.show and sys.stderr.isatty():
                sys.stderr.write("\r\x1b[2K")
                sys.stderr.flush()
