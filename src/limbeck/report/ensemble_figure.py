"""The drawing of an ensemble: its members' errors beside its own, and beside those of what it taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from limbeck.report.ensembles import Ensemble, Together, share_of_gain
from limbeck.report.figures import draw_mark, plain_label, plain_ticks
from limbeck.report.models import Model
from limbeck.report.svg import INK, MUTED, PAPER, inline_svg
from limbeck.report.wording import mean_text, percent, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STUDENTS = 6  # lanes of a figure; the table of all models has the rest
_LANE, _WIDTH, _LEFT = 36, 480, 84  # points: of a lane, of the drawing, and of the names of lanes
_LETTER = 4.6  # points, about
_CROWDED = 5.5  # points between marks that would cover each other
_MAIN_REACH, _REACH = 3, 1  # how far beyond members and means students are still drawn, in spans of those
_AT_EDGE, _EDGE_STEP = 3, 34  # how many of those further out are named, and points for each


def ensemble_figure(ensembles: Together, test_rows: int, prefix: str) -> str:
    """Errors on one axis: a lane for the members, each of their means, and each student's name with its baseline.

    The axis is for members and means. A student or baseline with many more errors is named at the right edge.

    Args:
        ensembles: of the same members; means of some of them are drawn small in the lanes of their names.
        test_rows: how many there are.
        prefix: of ids.
    """
    facts = ensembles.first.facts
    mean = float(facts["mean_errors"])
    students = _student_lanes(ensembles)
    low, high = _range(ensembles, students)
    span = high - low
    at_edge = {name: _beyond(marks, high) for name, marks in students.items()}
    edge = max((min(len(_different(marks)), _AT_EDGE + 1) for marks in at_edge.values()), default=0) * _EDGE_STEP

    def draw(axes: Axes) -> None:
        bottom = -(len(ensembles.means) + len(students))
        axes.set_xlim(low - 0.06 * span, high + 0.06 * span)
        axes.set_ylim(bottom - 0.5, 0.95)
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        for x, style in ((mean, (0, (2, 2))), (float(facts["errors"]), "-")):
            axes.plot([x, x], [bottom - 0.5, 0.5], color=MUTED, linewidth=0.7, linestyle=style, zorder=1)
        _Lane(axes, 0).marks([("reference", float(x), 5.0) for x in sorted(facts["members_errors"])])
        _Lane(axes, 0).say(mean, f"mean {mean_text(mean)}", height=0.7)
        for place, one in enumerate(ensembles.means, start=1):
            parts = [part for part in ensembles.smaller if part.teacher.name == one.teacher.name]
            _draw_mean(_Lane(axes, place), one, parts)
        for place, (name, marks) in enumerate(students.items(), start=1 + len(ensembles.means)):
            _draw_students(_Lane(axes, place), marks, at_edge[name], _teacher_of(marks[0], ensembles))
        named = ["members", *(one.label for one in ensembles.means), *students]
        axes.set_yticks([-place for place in range(len(named))], [plain_label(name, 16) for name in named])
        for label in axes.get_yticklabels():
            label.set_parse_math(False)
        plain_ticks(axes.xaxis, whole)
        axes.set_xlabel(f"errors in {whole(test_rows)}")

    told = [f"{one.label} {whole(one.facts['errors'])}" for one in (*ensembles.means, *ensembles.smaller)]
    told += [f"student {name} {whole(marks[0].number('errors'))}" for name, marks in students.items()]
    label = (
        f"Errors in {whole(test_rows)}: members {whole(facts['lowest'])} to {whole(facts['highest'])}, "
        f"mean {mean_text(mean)}; {'; '.join(told)}"
    )
    height = _LANE * (1.45 + len(ensembles.means) + len(students)) + 34
    margins = (_LEFT, 32, max(12, edge + 8), 2)
    return inline_svg(draw, width=_WIDTH, height=height, margins=margins, prefix=prefix, label=label)


class _Lane:
    """A line of marks of one kind, with texts above and below them of which none covers another."""

    def __init__(self, axes: Axes, place: int) -> None:
        self.axes, self.y = axes, float(-place)
        self._width = float(axes.bbox.width)
        self._texts: list[tuple[float, float, float]] = []  # height, left and right, in points
        self._placed: list[tuple[float, float]] = []  # where marks are, in points, and how far aside

    def marks(self, marks: Sequence[tuple[str, float, float]]) -> None:
        """Role, errors, size of each; what would cover an earlier one moves up or down."""
        for role, errors, size in marks:
            x = self._points(errors)
            near = {aside for other, aside in self._placed if abs(x - other) < _CROWDED}
            aside = next((y for y in (0.0, 0.16, -0.16, 0.32, -0.32) if y not in near), 0.0)
            self._placed.append((x, aside))
            draw_mark(self.axes, role, errors, self.y + aside, size=size)

    def say(self, errors: float, text: str, colour: str = INK, height: float = 0.4) -> None:
        """A text above a mark, or below it, or left out where both are taken; moved inwards at an end of the axis."""
        half = _LETTER * len(text) / 2
        x = min(max(self._points(errors), half), self._width - half)
        for y in (height, -height):
            if all(y != other or x + half < left or x - half > right for other, left, right in self._texts):
                self._texts.append((y, x - half - 2, x + half + 2))
                low, high = self.axes.get_xlim()
                self._write(text, (low + x / self._width * (high - low), self.y + y), colour)
                return

    def beyond(self, marks: Sequence[Model]) -> None:
        """Marks to the right of the axis, in order of their errors but not at their place, each with its number."""
        edge = self.axes.get_xlim()[1]
        step = (edge - self.axes.get_xlim()[0]) / self._width
        for place, model in enumerate(marks[: _AT_EDGE + 1]):
            x = edge + step * (12 + place * _EDGE_STEP)
            if place == _AT_EDGE:
                self._write("…", (x, self.y), MUTED)
                return
            draw_mark(self.axes, model.role, x, self.y, size=4)
            self._write(whole(model.number("errors")), (x + 5 * step, self.y), MUTED, side="left")

    def _points(self, errors: float) -> float:
        low, high = self.axes.get_xlim()
        return (errors - low) / (high - low) * self._width

    def _write(self, text: str, at: tuple[float, float], colour: str, side: str = "center") -> None:
        self.axes.annotate(
            text,
            at,
            ha=side,
            va="center",
            color=colour,
            fontsize=8,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8},
            annotation_clip=False,
            parse_math=False,
            zorder=2,
        )


def _draw_mean(lane: _Lane, ensemble: Ensemble, parts: Sequence[Ensemble]) -> None:
    own = float(ensemble.facts["errors"])
    by_size = [(float(part.facts["errors"]), part.size) for part in sorted(parts, key=lambda part: -part.size)]
    lane.marks([("teacher", own, 7.0), *(("teacher", errors, 4.0) for errors, _ in by_size)])
    lane.say(own, whole(own))
    for errors, size in by_size:
        lane.say(errors, f"of {size}", MUTED)


def _draw_students(lane: _Lane, models: Sequence[Model], beyond: Sequence[Model], teacher: Ensemble) -> None:
    """The main row first, large, and said."""
    main = models[0]
    shown = [model for model in models if model not in beyond and model.role != "baseline"]
    shown += [model for model in models if model not in beyond and model.role == "baseline"]
    sized = [(model, 6.5 if model is main or model.role == "baseline" else 4.0) for model in shown]
    lane.marks([(m.role, float(e), size) for m, size in sized if (e := m.number("errors")) is not None])
    errors = main.number("errors")
    if errors is not None and main not in beyond:
        lane.say(errors, _with_share(errors, teacher))
    lane.beyond(_different(beyond))


def _student_lanes(ensembles: Together) -> dict[str, list[Model]]:
    """Of each student's name: the main row first, then its other settings, then its baselines."""
    lanes: dict[str, list[Model]] = {}
    for one in ensembles.means:
        for model in (*one.taught, *one.baselines):
            if model.name in lanes or len(lanes) < STUDENTS:
                marks = lanes.setdefault(model.name, [])
                if model not in marks:
                    marks.append(model)
    return lanes


def _range(ensembles: Together, students: dict[str, list[Model]]) -> tuple[float, float]:
    """From the fewest errors to the most that are drawn at their place."""
    facts = ensembles.first.facts
    core = [float(x) for x in facts["members_errors"]]
    core += [float(one.facts["errors"]) for one in (*ensembles.means, *ensembles.smaller)]

    def widened(models: Sequence[Model], spans: float) -> None:
        span = max(max(core) - min(core), 0.05 * max(core), 1.0)
        furthest = max(core) + spans * span
        core.extend(float(e) for m in models if (e := m.number("errors")) is not None and e <= furthest)

    widened([marks[0] for marks in students.values()], _MAIN_REACH)
    widened([model for marks in students.values() for model in marks], _REACH)
    low, high = min(core), max(core)
    return (low, high) if high > low else (low - 1, high + 1)


def _beyond(models: Sequence[Model], high: float) -> list[Model]:
    """Those with more errors than are drawn, fewest first."""
    return sorted((m for m in models if _errors(m) > high), key=_errors)


def _errors(model: Model) -> float:
    return model.number("errors") or 0.0


def _different(models: Sequence[Model]) -> list[Model]:
    """One of each role and number."""
    return list({(model.role, model.number("errors")): model for model in models}.values())


def _teacher_of(student: Model, ensembles: Together) -> Ensemble:
    return next((one for one in ensembles.means if student in one.taught), ensembles.first)


def _with_share(errors: float, ensemble: Ensemble) -> str:
    """How many, and how much of the gain is kept, where some is: a smaller student than a member may keep none."""
    share = share_of_gain(errors, ensemble)
    return whole(errors) if share is None or share < 0 else f"{whole(errors)}: {percent(share, 0)}% of the gain"
