"""Parts of a transfer set on the page: how sure the teacher is of each, beside rows that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.familiarity import FAR, familiarity, familiarity_words, part_words
from limbeck.familiarity import percent as percent_of
from limbeck.report.models import finite
from limbeck.report.svg import BAD, INK, MUTED, ROLE_COLOURS, inline_svg
from limbeck.report.wording import NOTHING, listed, percent, significant, whole
from limbeck.rows import row_id, row_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = 6
TOGETHER = 6  # rows of the table; of more, those of further teachers are folded
_SETS_NAMED = 3

COLUMNS = (
    ("Rows", "of the part; in brackets those that a filter by confidence keeps"),
    ("How sure", "the mean probability of the teacher's class"),
    ("Below 50%", "share of rows of which the teacher is less sure than that"),
    ("At least 99%", "share of rows of which the teacher is as sure as that"),
    ("Entropy", "of what the teacher says, the mean in nats"),
    ("Members apart", "how far the members' probabilities lie apart, the mean in nats"),
    ("Agrees with labels", "share of the labelled rows for which the teacher chooses the label"),
    ("Told apart", "chance that the teacher is surer of a validation row than of one of the part; 0.50: alike"),
    (
        "Classes differ",
        "share of rows that would have to be of another class for classes to come as often as in validation rows",
    ),
)


@dataclass(frozen=True)
class KnownPart:
    """A part, or the validation rows: its name, which teacher and transfer sets it is of, a text for each column.

    Attributes:
        teacher: in words.
        first: whether the teacher is the first that is described.
        sentence: what was found, in words; None of validation rows.
        verdict: the end of the sentence; None of validation rows, and without any to compare with.
        far: whether the part is far from what the teacher knows.
    """

    name: str
    teacher: str
    first: bool
    source: str
    cells: tuple[str, ...]
    sentence: str | None
    verdict: str | None
    far: bool
    facts: Mapping[str, Any]

    @property
    def found(self) -> str:
        """The sentence without the name and the verdict."""
        end = len(self.sentence or "") - (len(self.verdict) + 2 if self.verdict else 0)
        return (self.sentence or "")[len(self.name) : end]


def known_parts(results: Mapping[str, Any]) -> list[KnownPart]:
    """The parts that results.json describes, once each, every teacher's followed by its validation rows."""
    described = [facts for facts in results.get("parts") or () if facts.get("histogram")]
    teachers = list(dict.fromkeys(str(facts.get("teacher")) for facts in described))
    found: list[KnownPart] = []
    for teacher in teachers:
        called, is_first = _called(teacher, results), teacher == teachers[0]
        transfers: dict[str, list[str]] = {}
        first: dict[str, dict[str, Any]] = {}
        for facts in described:
            if str(facts.get("teacher")) != teacher:
                continue
            same = repr(_rounded({key: facts[key] for key in sorted(facts) if key != "transfer"}))
            first.setdefault(same, facts)
            transfers.setdefault(same, []).append(str(facts.get("transfer")))
        for same, facts in first.items():
            name = str(facts.get("part"))
            found.append(
                KnownPart(
                    name,
                    called,
                    is_first,
                    f"{_sets(list(dict.fromkeys(transfers[same])))}, by {called}",
                    _cells(facts),
                    part_words(name, facts),
                    familiarity_words(facts),
                    familiarity(facts) == FAR,
                    facts,
                )
            )
        yardstick = next((facts["validation"] for facts in first.values() if facts.get("validation")), None)
        if yardstick is not None:
            cells = _cells(yardstick)
            found.append(
                KnownPart("validation rows", called, is_first, f"by {called}", cells, None, None, False, yardstick)
            )
    return found


def folded(parts: Sequence[KnownPart]) -> tuple[list[KnownPart], list[KnownPart]]:
    """The table's rows, and those of further teachers that a long table folds away."""
    if len(parts) <= TOGETHER:
        return list(parts), []
    return [part for part in parts if part.first], [part for part in parts if not part.first]


def _called(teacher: str, results: Mapping[str, Any]) -> str:
    """A teacher's row in words: `ensemble, 2 members`."""
    row = next((row for row in results["models"] if row_id(row) == teacher), None)
    if row is None:
        return teacher.removeprefix("teacher/")
    variant = row["variant"] or {}
    return f"{row['name']}, {variant['members']} members" if set(variant) == {"members"} else row_label(row)


def _sets(names: Sequence[str]) -> str:
    """The names of transfer sets, of many the first."""
    further = len(names) - _SETS_NAMED + 1
    return listed(names if len(names) <= _SETS_NAMED else [*names[: _SETS_NAMED - 1], f"{further} more"])


def _rounded(facts: Any) -> Any:
    """Facts without their last digits: the same rows in another order have sums that differ there."""
    if isinstance(facts, Mapping):
        return {key: _rounded(value) for key, value in facts.items()}
    if isinstance(facts, list):
        return [_rounded(value) for value in facts]
    return float(f"{facts:.9g}") if isinstance(facts, float) else facts


def _cells(facts: Mapping[str, Any]) -> tuple[str, ...]:
    difference = facts.get("difference") or {}
    kept = facts.get("kept")
    agreement, apart = finite(facts.get("agreement")), finite(facts.get("disagreement"))
    told, classes = finite(difference.get("confidence_auc")), finite(difference.get("class_shares"))
    return (
        whole(facts["rows"]) + ("" if kept is None else f" ({whole(kept)})"),
        percent_of(facts["confidence"]),
        f"{percent(facts['below_half'])}%",
        f"{percent(facts['at_least_99'])}%",
        significant(facts["entropy"], 2),
        significant(apart, 2),
        NOTHING if agreement is None else f"{percent(agreement)}%",
        NOTHING if told is None else f"{told:.2f}",
        NOTHING if classes is None else f"{percent(classes, 0)}%",
    )


def part_figures(parts: Sequence[KnownPart]) -> list[tuple[KnownPart, str]]:
    """Of each part, how its rows lie by the first teacher's confidence, with the validation rows' line.

    Fewer rows of a part of which the same is to be said have no drawing of their own.
    """
    largest: dict[tuple[str, str | None], KnownPart] = {}
    for part in parts:
        if part.first and part.sentence is not None:
            same = part.name, part.verdict
            if same not in largest or part.facts["rows"] > largest[same].facts["rows"]:
                largest[same] = part
    shown = list(largest.values())[:FIGURES]
    return [(part, confidence_figure(part, f"part{place}")) for place, part in enumerate(shown)]


def confidence_figure(part: KnownPart, prefix: str) -> str:
    """The share of rows by how sure the teacher is, in bins of equal width: bars; of validation rows a line."""
    ours = _shares(part.facts)
    yardstick = part.facts.get("validation")
    theirs = _shares(yardstick) if yardstick else None
    edges = np.arange(len(ours) + 1) / len(ours)
    colour = BAD if part.far else ROLE_COLOURS["teacher"]

    def draw(axes: Axes) -> None:
        axes.bar(edges[:-1], ours, width=1 / len(ours), align="edge", color=colour, alpha=0.75, linewidth=0)
        if theirs is not None:
            axes.stairs(theirs, edges, color=INK, linewidth=1.1, baseline=None, clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "50", "100%"])
        axes.set_yticks([0, 0.5, 1], ["0", "50", "100%"])
        axes.set_xlabel("how sure")
        axes.set_ylabel("share of rows", labelpad=1)
        axes.spines["bottom"].set_color(MUTED)

    label = f"How sure the teacher is, row by row: {part.sentence}"
    return inline_svg(draw, width=200, height=150, margins=(38, 32, 10, 8), prefix=prefix, label=label)


def _shares(facts: Mapping[str, Any]) -> np.ndarray:
    counts = np.asarray(facts["histogram"], dtype=np.float64)
    return np.asarray(counts / max(1.0, counts.sum()))
