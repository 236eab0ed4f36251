"""The ensembles of a run: their members, what is known of them, and what they taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.report.models import Model, baseline_of, finite
from limbeck.report.wording import NOTHING, listed, mean_text, percent, significant, whole
from limbeck.rows import model_id, row_id

MEMBER = "member"  # which of an ensemble's a row is


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A teacher that is the mean of several.

    Attributes:
        teacher: its row.
        members: their rows in order, those that the results have.
        facts: as of `limbeck.ensembles.ensemble_facts`, and `rows`, `mean`, `weights` and `fitted` as far as known.
        taught: the students that learnt from it.
        baselines: of these, those there are.
    """

    teacher: Model
    members: tuple[Model, ...]
    facts: Mapping[str, Any]
    taught: tuple[Model, ...]
    baselines: tuple[Model, ...]

    @property
    def label(self) -> str:
        """Its name; of a part of the members, with how many."""
        return self.teacher.name if not self.teacher.variant else f"{self.teacher.name}, {self.size} members"

    @property
    def size(self) -> int:
        """How many members."""
        return len(self.facts["members_errors"])

    @property
    def way(self) -> str:
        """How it is a mean, where it is not the plain one of probabilities; else empty."""
        weights = "fitted weights" if self.facts.get("fitted") else "given weights" if self.weights else ""
        return ", ".join(filter(None, ["mean of logits" if self.facts.get("mean") == "logits" else "", weights]))

    @property
    def gain(self) -> float | None:
        """How many errors fewer than its members on the average; None where it makes no fewer."""
        gained = float(self.facts["mean_errors"] - self.facts["errors"])
        return gained if gained > 0 else None

    @property
    def weights(self) -> tuple[tuple[str, str], ...]:
        """Each member and its weight, where they are not all equal."""
        given = self.facts.get("weights") or ()
        if len(set(given)) < 2:
            return ()
        names = member_names(self.members) if len(self.members) == len(given) else map(str, range(1, len(given) + 1))
        return tuple(zip(names, (f"{float(one):.2f}" for one in given), strict=True))

    @property
    def weighing(self) -> str:
        """Where its weights are from, and what equal ones would have made of it."""
        fitted, equal = self.facts.get("fitted"), finite(self.facts.get("errors_equal_weights"))
        said = "Weights"
        if isinstance(fitted, Mapping) and finite(fitted.get("rows")):
            said = f"Weights fitted on {whole(fitted['rows'])} validation rows"
            if finite(fitted.get("errors")) is not None and finite(fitted.get("errors_equal")) is not None:
                said += f" ({whole(fitted['errors'])} errors there, {whole(fitted['errors_equal'])} with equal weights)"
        elif fitted:
            said = "Weights fitted on the validation rows"
        shown = ", ".join(f"{name} {weight}".replace(" ", "\u00a0") for name, weight in self.weights)
        beside = "" if equal is None else f" With equal weights it would make {whole(equal)} errors here."
        return f"{said}: {shown}.{beside}"

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table says of it, one text for each of `COLUMNS`."""
        facts = self.facts
        spread, together = finite(facts.get("spread")), finite(facts.get("error_correlation"))
        return (
            str(self.size),
            f"{whole(facts['lowest'])} to {whole(facts['highest'])}",
            mean_text(facts["mean_errors"]),
            significant(spread),
            whole(facts["errors"]),
            f"{percent(facts['pairwise_disagreement'])}%",
            significant(finite(facts.get("divergence")), 2),
            NOTHING if together is None else f"{together:.2f}".replace("-", "−"),
            whole(facts["all_wrong"]),
        )


COLUMNS = (
    ("Members", "how many models it is the mean of"),
    ("Their errors", "of the best member and of the worst"),
    ("Mean", "of the members' errors"),
    ("Standard deviation", "of the members' errors"),
    ("Ensemble’s errors", "of the mean of what they say"),
    ("Two members differ", "share of test rows on which two members choose different classes, averaged over pairs"),
    ("Divergence", "how far the members' probabilities lie apart, in nats: 0 where all say the same"),
    ("Errors together", "correlation of two members' errors, averaged over pairs: 1 where they err on the same rows"),
    ("No member right", "test rows that no choice among the members could get right"),
)


def find_ensembles(results: Mapping[str, Any], models: Sequence[Model]) -> list[Ensemble]:
    """The ensembles that results.json describes, in the order of their rows."""
    described = results.get("ensembles") or {}
    of_id = {row_id(model.row): model for model in models}
    found = []
    for teacher in models:
        facts = described.get(row_id(teacher.row)) if teacher.role == "teacher" else None
        if not facts or not facts.get("members_errors"):
            continue
        members = tuple(of_id[name] for name in facts.get("rows") or () if name in of_id)
        taught = tuple(m for m in models if _learnt_from(m, teacher, len(facts["members_errors"])))
        baselines = [baseline_of(student, models) for student in taught]
        found.append(Ensemble(teacher, members, facts, taught, tuple(m for m in baselines if m is not None)))
    return found


def member_names(members: Sequence[Model]) -> list[str]:
    """What tells members apart: their names, or their numbers where one architecture was trained several times."""
    if len({member.name for member in members}) == len(members):
        return [member.name for member in members]
    return [f"{member.name} {member.variant.get('member', place)}" for place, member in enumerate(members, start=1)]


def _learnt_from(student: Model, teacher: Model, size: int) -> bool:
    """Whether it is a student of this ensemble, and not of some of its members alone."""
    if student.role != "student" or student.row.get("teacher") != teacher.name:
        return False
    taught_by = student.variant.get("members")
    return bool(taught_by == size or (taught_by is None and not teacher.variant))


def share_of_gain(errors: float, ensemble: Ensemble) -> float | None:
    """How much of what the ensemble gains over its mean member is kept; None where it gains nothing."""
    return None if ensemble.gain is None else (ensemble.facts["mean_errors"] - errors) / ensemble.gain


@dataclass(frozen=True, eq=False)
class Together:
    """The means of the very same members, and those of some of them.

    Attributes:
        means: at least one, in the order of their rows.
        smaller: of fewer members, under one of these means' names.
    """

    means: tuple[Ensemble, ...]
    smaller: tuple[Ensemble, ...]

    @property
    def first(self) -> Ensemble:
        """The one of which most is said."""
        return self.means[0]

    @property
    def sentence(self) -> str:
        """What they are, and how many errors members and means make."""
        facts, several = self.first.facts, len(self.means) > 1
        are = f"{'are means of the same' if several else 'is the mean of'} {self.first.size} models"
        makes = [
            f"{one.label} {whole(one.facts['errors'])}" + (f" ({one.way})" if one.way else "") for one in self.means
        ]
        said = f"; {', '.join(makes)}" if several else f", the ensemble {whole(facts['errors'])}"
        return (
            f"{listed([one.label for one in self.means])} {are}. "
            f"They make {whole(facts['lowest'])} to {whole(facts['highest'])} errors each{said}."
        )

    @property
    def closing(self) -> str:
        """What the gain is, as far as there is one."""
        if all(one.gain is None for one in self.means):
            gains = "It gains nothing" if len(self.means) == 1 else "None gains anything"
            return f"{gains} over its members on the average."
        if not any(one.taught and one.gain for one in self.means):
            return ""
        return "Of a student is said how much it keeps of what its ensemble gains over the members on the average."


def together(ensembles: Sequence[Ensemble]) -> list[Together]:
    """The ensembles of each name, the largest before its parts; names that stand for the same members as one."""
    by_name: dict[str, list[Ensemble]] = {}
    for ensemble in ensembles:
        by_name.setdefault(ensemble.teacher.name, []).append(ensemble)
    found: dict[tuple[str, ...], list[list[Ensemble]]] = {}
    for name, several in by_name.items():
        largest = max(several, key=lambda one: one.size)
        rest = [one for one in several if one is not largest]
        members = tuple(map(str, largest.facts.get("rows") or (f"of {name}",)))
        found.setdefault(members, []).append([largest, *rest])
    return [
        Together(tuple(one[0] for one in same), tuple(part for one in same for part in one[1:]))
        for same in found.values()
    ]


def numbered_members(ensembles: Sequence[Ensemble]) -> list[tuple[Model, ...]]:
    """Members that are one architecture trained several times, and differ in their number alone: each such group."""
    found: dict[str, dict[Model, None]] = {}
    for ensemble in ensembles:
        for model in ensemble.members:
            if set(model.variant) == {MEMBER}:
                found.setdefault(model_id(model.role, model.name, {}), {})[model] = None
    return [tuple(group) for group in found.values() if len(group) > 1]
