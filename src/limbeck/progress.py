"""What long work says while it runs: a bar on a terminal, plain lines in a log, nothing in a library call."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import Protocol, TextIO


class Progress(Protocol):
    """Told by stages how far they are."""

    def line(self, text: str) -> None:
        """Say something that stays."""

    def start(self, title: str, total: int) -> None:
        """A stage of `total` steps begins."""

    def at(self, done: int, note: str = "") -> None:
        """`done` steps are done; `note` says how it stands, such as the loss."""

    def end(self, note: str = "") -> None:
        """The stage has ended; `note` says with what."""


class Silent:
    """Says nothing."""

    def line(self, text: str) -> None:
        """Say nothing."""

    def start(self, title: str, total: int) -> None:
        """Say nothing."""

    def at(self, done: int, note: str = "") -> None:
        """Say nothing."""

    def end(self, note: str = "") -> None:
        """Say nothing."""


class Share(Silent):
    """A stage's share of a longer one: how far it is counts there, and its own beginning and end are not said."""

    def __init__(self, whole: Progress, before: int) -> None:
        self.whole, self.before = whole, before

    def line(self, text: str) -> None:
        """One line."""
        self.whole.line(text)

    def at(self, done: int, note: str = "") -> None:
        """So many steps after those before it."""
        self.whole.at(self.before + done, note)


class Interruptible:
    """Tells another, and raises Ctrl-C again where it was lost.

    Python loses it where it comes while a finaliser or a callback runs, whose exceptions are ignored.
    """

    def __init__(self, told: Progress) -> None:
        self.told, self.interrupted = told, False

    @contextlib.contextmanager
    def heeding(self) -> Iterator[Progress]:
        """Heed Ctrl-C in here, in the main thread."""

        def interrupt(*_: object) -> None:
            self.interrupted = True
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    def _heed(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt

    def line(self, text: str) -> None:
        """One line."""
        self.told.line(text)

    def start(self, title: str, total: int) -> None:
        """A stage begins."""
        self._heed()
        self.told.start(title, total)

    def at(self, done: int, note: str = "") -> None:
        """So many steps are done."""
        self._heed()
        self.told.at(done, note)

    def end(self, note: str = "") -> None:
        """The stage has ended."""
        self.told.end(note)


class Lines:
    """Plain lines for a log: one when a stage ends, and one every `every` seconds while it runs."""

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.every = every
        self.title, self.total = "", 0
        self.began = self.said = 0.0
        self.first: tuple[float, int] | None = None

    def line(self, text: str) -> None:
        """One line."""
        print(text, file=self.stream, flush=True)

    def start(self, title: str, total: int) -> None:
        """Remember the stage; say nothing yet."""
        self.title, self.total = title, total
        self.began = self.said = time.monotonic()
        self.first = None

    def at(self, done: int, note: str = "") -> None:
        """A line if the last one is long ago."""
        now = time.monotonic()
        if self.first is None:  # what a run before this one did says nothing of the pace
            self.first = now, done
        if now - self.said < self.every or done >= self.total:
            return
        self.said = now
        since, before = self.first
        left = (now - since) * (self.total - done) / (done - before) if done > before else None
        ends = "" if left is None else f", about {duration(left)} left"
        self.line(f"{self.title}: {100 * done // max(self.total, 1)}%{_after(note)}{ends}")

    def end(self, note: str = "") -> None:
        """The line that stays."""
        self.line(f"{self.title}: done in {duration(time.monotonic() - self.began)}{_after(note)}")


class Bar(Lines):
    """A rich progress bar on a terminal; what has ended stays as a line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.console = Console(file=self.stream)
        self.columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
        )
        self.make = RichProgress
        self.bar: RichProgress | None = None

    def line(self, text: str) -> None:
        """One line, above the bar."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, title: str, total: int) -> None:
        """Show a bar."""
        super().start(title, total)
        self.bar = self.make(*self.columns, console=self.console, transient=True)
        self.task = self.bar.add_task(title, total=total, note="")
        self.bar.start()

    def at(self, done: int, note: str = "") -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update(self.task, completed=done, note=note)

    def end(self, note: str = "") -> None:
        """Take the bar away and leave a line."""
        self.stop()
        super().end(note)

    def stop(self) -> None:
        """Take the bar away, for an error or an interruption."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def duration(seconds: float) -> str:
    """Seconds for a person: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _after(note: str) -> str:
    return f", {note}" if note else ""
