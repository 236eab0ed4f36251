"""Ratios of two durations, taken in turns so that a machine that slows down slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

REPEATS = 5


@dataclass(frozen=True)
class Entry:
    """A line of the table and of latest.json.

    Attributes:
        name: what is divided by what.
        ratio: the median of the repeats.
        low: the lowest of them.
        high: the highest.
        goal: what to reach; None where the line is only there to compare.
        better: which way is good.
        note: for the table alone.
    """

    name: str
    ratio: float
    low: float
    high: float
    goal: float | None
    better: Literal["lower", "higher"]
    note: str = field(default="", compare=False)

    @classmethod
    def of(
        cls,
        name: str,
        ratios: Sequence[float],
        goal: float | None,
        better: Literal["lower", "higher"],
        note: str = "",
    ) -> Entry:
        """The entry for a ratio that was measured several times."""
        return cls(name, statistics.median(ratios), min(ratios), max(ratios), goal, better, note)

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.better == "lower" else self.ratio >= self.goal

    def as_json(self) -> dict[str, Any]:
        """What latest.json says."""
        values = asdict(self)
        del values["note"]
        return values


@dataclass(frozen=True)
class Turns:
    """Seconds of several actions, one list for each, a number for each repeat.

    Attributes:
        seconds: by action, in the order in which the actions were given.
    """

    seconds: list[list[float]]

    def ratios(self, numerator: int, denominator: int) -> list[float]:
        """One action's seconds divided by another's, repeat by repeat."""
        pairs = zip(self.seconds[numerator], self.seconds[denominator], strict=True)
        return [above / below for above, below in pairs]

    def median(self, action: int) -> float:
        """An action's seconds."""
        return statistics.median(self.seconds[action])


def seconds_of(action: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turns(*actions: Callable[[], float], repeats: int = REPEATS, slices: int = 1) -> Turns:
    """Measure actions in turns, after a first round that warms up and does not count.

    Every second round goes backwards, so that none always comes after the same other one.

    Args:
        actions: each gives the seconds that it took.
        repeats: how many to count.
        slices: rounds that make one repeat; many short ones, where a machine's speed changes from second to second.
    """
    for action in actions:
        action()
    seconds = [[0.0] * repeats for _ in actions]
    for each in range(repeats * slices):
        order = range(len(actions)) if each % 2 == 0 else reversed(range(len(actions)))
        for number in order:
            seconds[number][each // slices] += actions[number]()
    return Turns(seconds)
