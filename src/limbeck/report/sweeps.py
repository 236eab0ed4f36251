"""Errors over a setting that was varied: a line for each model, a figure for each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.recipe.rows import OF_THE_TEACHER
from limbeck.report.ensembles import MEMBER, Ensemble
from limbeck.report.figures import DASHES, MARKERS, plain_label, plain_ticks
from limbeck.report.models import Model, finite
from limbeck.report.svg import INK, PAPER, ROLE_COLOURS, inline_svg
from limbeck.report.wording import scaled, whole
from limbeck.rows import model_id, row_id, row_label, variant_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 3  # points that make a line
FIGURES = 6
LEVELS = "levels of questions"
MEMBERS, ROWS = "members", "rows"
MARKED = 12  # points; more of them would hide the line


@dataclass(frozen=True)
class Line:
    """One model over one setting: what else tells it apart, and (value, errors), by value."""

    role: str
    name: str
    rest: Mapping[str, Any]
    points: tuple[tuple[float, float], ...]

    @property
    def label(self) -> str:
        """Its name, with all that tells it apart."""
        return row_label({"name": self.name, "variant": self.rest})


@dataclass(frozen=True, eq=False)
class Sweep:
    """A setting that was varied, with its lines, students first."""

    setting: str
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What the figure shows."""
        cost = ": what it costs to be readable" if self.setting == LEVELS else ""
        return f"Errors by {self.setting.replace('_', ' ')}{cost}"

    @property
    def roles(self) -> set[str]:
        """Of its lines."""
        return {line.role for line in self.lines}

    def label(self, line: Line) -> str:
        """What tells a line from the others; its name where those have others, and its role where nothing else does."""
        shared = {
            key
            for key, value in line.rest.items()
            # What a student is taught at, no other role has; what it learns from, no teacher.
            if all(
                other.rest.get(key) == value
                for other in self.lines
                if other.role == line.role or (key not in OF_THE_TEACHER and other.role != "teacher")
            )
        }
        rest = variant_text({key: value for key, value in line.rest.items() if key not in shared})
        named = len({other.name for other in self.lines}) > 1
        return ", ".join(filter(None, [line.name if named else "" if rest else line.role, rest]))


def find_sweeps(
    models: Sequence[Model], ensembles: Sequence[Ensemble] = (), parts: Sequence[Mapping[str, Any]] = ()
) -> list[Sweep]:
    """Settings in which at least three rows of one role and name differ, and in nothing else.

    Values are numbers; lists, such as widths, stand for the number of parameters. A setting that was chosen on
    validation rows, such as each width's temperature, is no difference; nor is which member of an ensemble a row is.
    An ensemble of all its members, and what it taught, are of so many `members`; one member alone is as good as
    they are on the average. What learns from all rows of a transfer set does so from as many `rows` as its parts have.

    Args:
        models: of the run.
        ensembles: those among its teachers.
        parts: of transfer sets, as results.json has them.
    """
    of_all = {
        MEMBERS: {model: float(one.size) for one in ensembles for model in (one.teacher, *one.taught)},
        ROWS: _all_rows(models, parts),
    }
    found: dict[str, list[Line]] = {}
    for setting in dict.fromkeys(key for model in models for key in _given(model) if key != MEMBER):
        groups: dict[str, list[tuple[float, float]]] = {}
        apart: dict[str, tuple[str, str, dict[str, Any]]] = {}
        learners: dict[str, list[Model]] = {}
        for model in models:
            value, errors = _value(model, setting), model.number("errors")
            if value is None:
                value = of_all.get(setting, {}).get(model)
            if value is not None and errors is not None:
                rest = {key: other for key, other in _given(model).items() if key != setting}
                group = model_id(model.role, model.name, rest)
                apart[group] = model.role, model.name, rest
                groups.setdefault(group, []).append((value, errors))
                learners.setdefault(group, []).append(model)
        if setting == MEMBERS:
            for one in ensembles:
                points = groups.get(row_id(one.teacher.row), [])
                if len(points) > 1:  # the mean says more than the one that is the first
                    points[:] = [(1, float(one.facts["mean_errors"])), *(point for point in points if point[0] != 1)]
        for group, points in groups.items():
            role, name, rest = apart[group]
            if len({value for value, _ in points}) < FEWEST:
                continue
            lines = found.setdefault(_axis(models, setting), [])
            lines.append(Line(role, name, rest, tuple(sorted(points))))
            ends = min(points)[0], max(points)[0]
            if setting == ROWS:
                teachers = [one.teacher for one in ensembles if set(one.taught) & set(learners[group])]
                lines += [flat for teacher in teachers if (flat := _level(teacher, ends)) and flat not in lines]
            # A baseline without the setting (a temperature) is as good at each of its values.
            untaught = {key: value for key, value in rest.items() if key not in OF_THE_TEACHER}
            level = next((m for m in models if (m.role, m.name, _given(m)) == ("baseline", name, untaught)), None)
            if role == "student" and level is not None and (errors := level.number("errors")) is not None:
                line = Line("baseline", name, untaught, ((ends[0], errors), (ends[1], errors)))
                # Students that differ in what they are taught have one baseline.
                if line not in lines:
                    lines.append(line)
    order = list(ROLE_COLOURS)
    return [Sweep(name, tuple(sorted(lines, key=lambda line: order.index(line.role)))) for name, lines in found.items()]


def _level(teacher: Model, ends: tuple[float, float]) -> Line | None:
    """A teacher's errors, the same at each value of its students' setting."""
    errors = teacher.number("errors")
    return None if errors is None else Line("teacher", teacher.name, teacher.variant, tuple((x, errors) for x in ends))


def _all_rows(models: Sequence[Model], parts: Sequence[Mapping[str, Any]]) -> dict[Model, float]:
    """How many rows each model's transfer set has; none where `rows` are given as shares of it."""
    if any(isinstance(rows := model.variant.get(ROWS), float) and not rows.is_integer() for model in models):
        return {}
    of_set: dict[str, dict[str, float]] = {}
    for facts in parts:  # once for each teacher
        of_set.setdefault(str(facts.get("transfer")), {})[str(facts.get("part"))] = facts["rows"]
    sizes = {name: sum(rows.values()) for name, rows in of_set.items()}
    return {model: sizes[name] for model in models if (name := model.row.get("transfer")) in sizes}


def _given(model: Model) -> dict[str, Any]:
    """What the recipe says of the row, without what was chosen for it."""
    chosen = {path.rpartition(".")[2] for path in model.row.get("chosen") or {}}
    return {key: value for key, value in model.variant.items() if key not in chosen}


def _value(model: Model, setting: str) -> float | None:
    value = _given(model).get(setting)
    return model.number("parameters") if isinstance(value, list) else finite(value)


def _axis(models: Sequence[Model], setting: str) -> str:
    listed = any(isinstance(model.variant.get(setting), list) for model in models)
    return "parameters" if listed else setting


def over_epochs(models: Sequence[Model], curves: Mapping[str, Sequence[Sequence[int]]]) -> list[Sweep]:
    """Test errors after epochs, where they were counted.

    Args:
        models: of the run.
        curves: by model id, as results.json has them.
    """
    lines = [
        Line(model.role, model.name, model.variant, tuple((float(n), float(e)) for n, e in curves[name]))
        for model in models
        if len(curves.get(name := row_id(model.row), ())) >= FEWEST
    ]
    return [Sweep("epoch", tuple(lines))] if lines else []


def by_levels(models: Sequence[Model]) -> list[Sweep]:
    """Errors of trees by their levels of questions, and their teachers' beside them: what it costs to be readable.

    Trees of one kind have names that differ in the number at the end; what was pruned is another matter.
    """
    groups: dict[str, list[tuple[float, float]]] = {}
    apart: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for model in models:
        levels = finite((model.row.get("metrics") or {}).get("levels"))
        errors, rest = model.number("errors"), model.variant
        if levels is None or errors is None or "pruned" in rest:
            continue
        name = model.name.removesuffix(f"-{levels:g}")
        if "predict" in rest:
            name, rest = f"{name}, {rest['predict']}", {key: value for key, value in rest.items() if key != "predict"}
        group = model_id(model.role, name, rest)
        apart[group] = model.role, name, rest
        groups.setdefault(group, []).append((levels, errors))
    lines = [
        Line(*apart[group], tuple(sorted(points)))
        for group, points in groups.items()
        if len({levels for levels, _ in points}) >= FEWEST
    ]
    if not lines:
        return []
    ends = {levels for line in lines for levels, _ in line.points}
    teachers = [_level(model, (min(ends), max(ends))) for model in models if model.role == "teacher"]
    return [Sweep(LEVELS, (*lines, *(line for line in teachers if line is not None)))]


def sweep_figures(
    models: Sequence[Model],
    curves: Mapping[str, Sequence[Sequence[int]]],
    test_rows: int,
    ensembles: Sequence[Ensemble] = (),
    parts: Sequence[Mapping[str, Any]] = (),
) -> list[tuple[Sweep, str]]:
    """A figure for each setting that was varied, one of errors over epochs, and one by the levels of trees."""
    found = [*by_levels(models), *over_epochs(models, curves), *find_sweeps(models, ensembles, parts)][:FIGURES]
    return [(sweep, _figure(sweep, test_rows, f"sweep{number}")) for number, sweep in enumerate(found)]


def _figure(sweep: Sweep, test_rows: int, prefix: str) -> str:
    values = [value for line in sweep.lines for value, _ in line.points]
    errors = [count for line in sweep.lines for _, count in line.points]

    def draw(axes: Axes) -> None:
        if min(values) > 0 and max(values) / min(values) > 4:
            axes.set_xscale("log")
        if min(errors) > 0 and max(errors) / min(errors) > 4:
            axes.set_yscale("log")
            axes.set_ylim(min(errors) / 1.2, max(errors) * 1.2)
        else:
            axes.set_ylim(0, max(errors) * 1.1 or 1)
        for line in sweep.lines:
            colour = ROLE_COLOURS[line.role]
            xs, ys = zip(*line.points, strict=True)
            style: dict[str, Any] = {"color": colour, "linestyle": DASHES[line.role], "linewidth": 1.4}
            few = len(xs) <= MARKED and (line.role not in ("baseline", "teacher") or len(xs) > 2)
            marker = MARKERS[line.role] if few else None
            axes.plot(xs, ys, marker=marker, markersize=3, clip_on=False, **style)
            if line.role == "student":
                best = min(line.points, key=lambda point: point[1])
                axes.plot(*best, marker="o", markersize=7, color=colour, markeredgecolor=PAPER, clip_on=False)
        axes.set_xlabel(sweep.setting.replace("_", " "))
        plain_ticks(axes.yaxis, whole)
        plain_ticks(axes.xaxis, scaled if sweep.setting == "parameters" else _tick)
        if sweep.setting == LEVELS:  # which are whole
            axes.set_xticks(sorted(set(values)))
        _label(axes, sweep)

    told = "; ".join(f"{line.role} {line.label}: " + ", ".join(f"{e:g} at {v:g}" for v, e in line.points)
                     for line in sweep.lines)  # fmt: skip
    label = f"{sweep.title}, in {whole(test_rows)}: {told}"
    return inline_svg(draw, width=360, height=230, margins=(34, 34, 96, 10), prefix=prefix, label=label)


def _tick(value: float) -> str:
    return whole(value) if value >= 1000 else f"{value:g}"


def _label(axes: Axes, sweep: Sweep) -> None:
    """Each line's name at its right end, moved apart where they would cover each other."""
    ends = [(line, axes.transData.transform(line.points[-1])[1]) for line in sweep.lines]
    right = axes.bbox.x1
    taken = float("-inf")
    for line, height in sorted(ends, key=lambda end: end[1]):
        taken = max(height, taken + 10)
        axes.annotate(
            plain_label(sweep.label(line), 24), (right, taken), xytext=(6, 0), xycoords="figure pixels",
            textcoords="offset points", va="center", color=ROLE_COLOURS.get(line.role, INK), fontsize=7.5,
            annotation_clip=False, parse_math=False,
        )  # fmt: skip
