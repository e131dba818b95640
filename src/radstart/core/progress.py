"""Progress on stderr: one line that moves on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PLAIN_SECONDS = 20.0  # without a terminal: at most one line in this time


def duration(seconds: float) -> str:
    """Return "45 s", "12 min" or "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass
class Task:
    """One piece of work under way; this one is silent, its two kinds below are not.

    A `total` of 0 is one that is not known.
    """

    name: str
    total: float
    done: float = 0.0
    text: str = ""
    started: float = field(default_factory=time.monotonic)
    start: float | None = None

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Move on by `amount` of `total`; `note` says what is being done."""
        self.done += amount
        self.text = note or self.text
        self.show()

    def at(self, done: float, total: float) -> None:
        """Say where the work stands: `done` of `total`; what was there at first took no time."""
        if self.start is None:
            self.start = done
        self.done, self.total = done, total
        self.show()

    def note(self, text: str) -> None:
        """Say what is being done."""
        self.text = text
        self.show()

    def show(self) -> None:
        """Show the state; silent here."""

    def line(self) -> str:
        """Return the state as one line with the time left."""
        if not self.total:
            return f"{self.name}  {self.text}".rstrip()
        share = min(1.0, self.done / self.total)
        spent, gained = time.monotonic() - self.started, self.done - (self.start or 0.0)
        known = gained > 0.01 * self.total and share < 1
        left = f", {duration(spent * (self.total - self.done) / gained)} left" if known else ""
        return f"{self.name} {share:4.0%}{left}  {self.text}".rstrip()


@dataclass
class _PlainTask(Task):
    printed: float = field(default_factory=time.monotonic)

    def show(self) -> None:
        now = time.monotonic()
        if now - self.printed >= PLAIN_SECONDS:
            self.printed = now
            print(self.line(), file=sys.stderr, flush=True)


@dataclass
class _TerminalTask(Task):
    status: object = None

    def show(self) -> None:
        from rich.status import Status

        assert isinstance(self.status, Status)
        self.status.update(self.line())


@dataclass(frozen=True)
class Progress:
    """Where progress goes; `Progress()` is silent (the library's default)."""

    shown: bool = False

    def line(self, text: str) -> None:
        """Print one line of plain text."""
        if self.shown:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Show a task of `total` pieces while the block runs."""
        if not self.shown:
            yield Task(name, total)
        elif not sys.stderr.isatty():
            yield _PlainTask(name, total)
        else:
            from rich.console import Console

            console = Console(stderr=True, highlight=False)
            with console.status(name) as status:
                yield _TerminalTask(name, total, status=status)
