"""An ensemble on the page: its members' errors beside its own, and beside those of what it taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.report.figures import draw_mark, plain_label, plain_ticks
from limbeck.report.models import Model, baseline_of, finite
from limbeck.report.svg import INK, MUTED, PAPER, inline_svg
from limbeck.report.wording import NOTHING, percent, significant, whole
from limbeck.rows import row_id

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STUDENTS = 6  # lanes of a figure; the table of all models has the rest
_LANE = 32  # points
_CROWDED, _NAMED_APART = 0.016, 0.09  # how near errors are, as a share of the axis, for marks to move aside, or no name


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
            _mean(facts["mean_errors"]),
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


def _mean(errors: float) -> str:
    """To a tenth, where it is not whole."""
    return f"{errors:,.1f}".removesuffix(".0")


def _learnt_from(student: Model, teacher: Model, size: int) -> bool:
    """Whether it is a student of this ensemble, and not of some of its members alone."""
    if student.role != "student" or student.row.get("teacher") != teacher.name:
        return False
    taught_by = student.variant.get("members")
    return bool(taught_by == size or (taught_by is None and not teacher.variant))


def ensemble_figure(ensemble: Ensemble, smaller: Sequence[Ensemble], test_rows: int, prefix: str) -> str:
    """Errors on one axis, a lane each for the members, the ensemble, and every student's name with its baseline.

    Args:
        ensemble: of all members.
        smaller: of some of them, which are drawn small in its lane.
        test_rows: how many there are.
        prefix: of ids.
    """
    facts = ensemble.facts
    own, mean = float(facts["errors"]), float(facts["mean_errors"])
    lanes = _lanes(ensemble)
    drawn = [own, *map(float, facts["members_errors"]), *(float(one.facts["errors"]) for one in smaller)]
    drawn += [errors for marks in lanes.values() for m in marks if (errors := m.number("errors")) is not None]
    low, high = min(drawn), max(drawn)
    span = high - low or max(1.0, high)
    height = _LANE * (2 + len(lanes)) + 34

    def draw(axes: Axes) -> None:
        bottom = -(1 + len(lanes))
        axes.set_xlim(low - 0.14 * span, high + 0.14 * span)
        axes.set_ylim(bottom - 0.5, 0.62)
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        for x, style in ((mean, (0, (2, 2))), (own, "-")):
            axes.plot([x, x], [bottom - 0.5, 0.3], color=MUTED, linewidth=0.7, linestyle=style, zorder=1)
        for x, aside in zip(sorted(facts["members_errors"]), _aside(facts["members_errors"], span), strict=True):
            draw_mark(axes, "reference", x, aside, size=5)
        _say(axes, mean, 0.36, f"mean {_mean(mean)}")
        said: list[float] = []
        for one in sorted(smaller, key=lambda one: -one.size):
            of_fewer = float(one.facts["errors"])
            draw_mark(axes, "teacher", of_fewer, -1, size=4)
            if all(abs(of_fewer - other) > _NAMED_APART * span for other in said):
                said.append(of_fewer)
                _say(axes, of_fewer, -1.3, f"of {one.size}", MUTED)
        draw_mark(axes, "teacher", own, -1, size=7)
        _say(axes, own, -0.64, whole(own))
        for lane, marks in enumerate(lanes.values(), start=2):
            for place, model in enumerate(marks):
                errors = model.number("errors")
                if errors is not None:
                    draw_mark(axes, model.role, errors, -lane, size=6.5 if not place or model.role == "baseline" else 4)
            if (errors := marks[0].number("errors")) is not None:
                _say(axes, errors, 0.36 - lane, _with_share(errors, ensemble))
        named = ["members", "ensemble", *lanes]
        axes.set_yticks([-place for place in range(len(named))], [plain_label(name, 16) for name in named])
        for label in axes.get_yticklabels():
            label.set_parse_math(False)
        plain_ticks(axes.xaxis, whole)
        axes.set_xlabel(f"errors in {whole(test_rows)}")

    told = "; ".join(f"student {name} {whole(marks[0].number('errors'))}" for name, marks in lanes.items())
    label = (
        f"Errors in {whole(test_rows)}: members {whole(facts['lowest'])} to {whole(facts['highest'])}, "
        f"mean {_mean(mean)}; ensemble {whole(own)}{'; ' if told else ''}{told}"
    )
    return inline_svg(draw, width=400, height=height, margins=(84, 32, 12, 4), prefix=prefix, label=label)


def _lanes(ensemble: Ensemble) -> dict[str, list[Model]]:
    """Of each student's name: the main row first, then its other settings, then its baseline."""
    lanes: dict[str, list[Model]] = {}
    for model in (*ensemble.taught, *ensemble.baselines):
        if model.name in lanes or len(lanes) < STUDENTS:
            marks = lanes.setdefault(model.name, [])
            if model not in marks:
                marks.append(model)
    return lanes


def share_of_gain(errors: float, ensemble: Ensemble) -> float | None:
    """How much of what the ensemble gains over its mean member is kept; None where it gains nothing."""
    return None if ensemble.gain is None else (ensemble.facts["mean_errors"] - errors) / ensemble.gain


def _with_share(errors: float, ensemble: Ensemble) -> str:
    """How many, and how much of the gain is kept, where some is: a smaller student than a member may keep none."""
    share = share_of_gain(errors, ensemble)
    return whole(errors) if share is None or share < 0 else f"{whole(errors)}: {percent(share, 0)}% of the gain"


def _say(axes: Axes, x: float, y: float, text: str, colour: str = INK) -> None:
    """A text above or below a mark, moved inwards where it would run out of the frame."""
    axes.annotate(
        text,
        (_inside(axes, x, text), y),
        ha="center",
        va="center",
        color=colour,
        fontsize=8,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8},
        annotation_clip=False,
        parse_math=False,
        zorder=2,
    )


def _inside(axes: Axes, x: float, text: str) -> float:
    low, high = axes.get_xlim()
    half = 2.3 * len(text) / axes.bbox.width * (high - low)
    return min(max(x, low + half), max(low + half, high - half))


def _aside(errors: Sequence[float], span: float) -> list[float]:
    """How far up or down each member's mark goes, in lanes and in rising order, so that none covers another."""
    aside: list[float] = []
    placed: list[tuple[float, float]] = []
    for x in sorted(errors):
        near = {y for other, y in placed if x - other < _CROWDED * span}
        free = next((y for y in (0.0, 0.16, -0.16, 0.32, -0.32) if y not in near), 0.0)
        placed.append((x, free))
        aside.append(free)
    return aside


def grouped(ensembles: Sequence[Ensemble]) -> list[tuple[Ensemble, list[Ensemble]]]:
    """By name: the one of most members, and those of fewer."""
    by_name: dict[str, list[Ensemble]] = {}
    for ensemble in ensembles:
        by_name.setdefault(ensemble.teacher.name, []).append(ensemble)
    found = []
    for several in by_name.values():
        whole_one = max(several, key=lambda one: one.size)
        found.append((whole_one, [one for one in several if one is not whole_one]))
    return found
