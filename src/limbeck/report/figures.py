"""The figures of the page: errors against cost, training curves, reliability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.metrics import reliability
from limbeck.report.models import Family, Model, baseline_of
from limbeck.report.svg import INK, LINE, MUTED, PAPER, ROLE_COLOURS, inline_svg
from limbeck.report.wording import percent, scaled, significant, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

MARKERS = {"teacher": "s", "student": "o", "baseline": "D", "reference": "^"}
DASHES: dict[str, Any] = {
    "teacher": (0, (1, 1.6)),
    "student": "-",
    "baseline": (0, (4.5, 2)),
    "reference": "-.",
}
COSTS = {"bytes": "size of the saved model", "latency_ms": "latency of one example, ms"}
FEW_ROWS = 10


def plain_label(text: str, limit: int = 22) -> str:
    """A name that is safe to draw: one line, printable, not too long."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def cost_figure(models: Sequence[Model], field: str, test_rows: int, prefix: str) -> str | None:
    """Errors against a cost ("bytes" or "latency_ms", log scale); None with fewer than two models to show."""
    shown = [m for m in models if (m.number(field) or 0) > 0 and m.number("errors") is not None]
    if len(shown) < 2:
        return None
    errors = [m.number("errors") or 0.0 for m in shown]
    costs = [m.number(field) or 1.0 for m in shown]

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import FuncFormatter

        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 1.8, max(costs) * 1.8)
        if min(errors) > 0 and max(errors) / min(errors) > 20:
            axes.set_yscale("log")
            axes.set_ylim(min(errors) / 1.4, max(errors) * 1.4)
        else:
            axes.set_ylim(0, max(1.0, max(errors) * 1.15))
        plain_ticks(axes.xaxis, scaled_bytes if field == "bytes" else significant_ms)
        plain_ticks(axes.yaxis, whole)
        accuracy = axes.secondary_yaxis("right")
        accuracy.yaxis.set_major_locator(axes.yaxis.get_major_locator())
        accuracy.yaxis.set_major_formatter(FuncFormatter(lambda e, _: f"{100 * (1 - e / test_rows):.4g}%"))
        accuracy.tick_params(axis="y", length=0)
        accuracy.spines["right"].set_visible(False)
        axes.set_xlabel(COSTS[field])
        for student in shown:
            baseline = baseline_of(student, shown) if student.role == "student" and student.main else None
            if baseline is not None:
                xs = [baseline.number(field) or 1.0, student.number(field) or 1.0]
                ys = [baseline.number("errors") or 0.0, student.number("errors") or 0.0]
                axes.plot(xs, ys, color=MUTED, linewidth=0.8, zorder=2)
        for model, x, y in zip(shown, costs, errors, strict=True):
            _mark(axes, model, x, y, size=6.5 if model.main else 4)
        _place_labels(axes, [(m, x, y) for m, x, y in zip(shown, costs, errors, strict=True)])

    told = "; ".join(f"{m.role} {m.name} {whole(m.number('errors'))} errors" for m in shown if m.main)
    label = f"Errors in {whole(test_rows)} against {COSTS[field]}: {told}"
    return inline_svg(draw, width=306, height=222, margins=(34, 34, 42, 10), prefix=prefix, label=label)


def scaled_bytes(value: float) -> str:
    """A tick of a size."""
    return scaled(value, "B", digits=1)


def significant_ms(value: float) -> str:
    """A tick of a time in ms."""
    return significant(value, 1)


def _mark(axes: Axes, model: Model, x: float, y: float, size: float) -> None:
    draw_mark(axes, model.role, x, y, size, behind=not model.main)


def draw_mark(axes: Axes, role: str, x: float, y: float, size: float, *, behind: bool = False) -> None:
    """The marker of a role, in its colour."""
    colour = ROLE_COLOURS.get(role, MUTED)
    hollow = role == "baseline"  # and below, so that a student as good as its baseline shows inside it
    axes.plot(
        [x],
        [y],
        color=colour,
        marker=MARKERS.get(role, "o"),
        markersize=size,
        markerfacecolor="none" if hollow else colour,
        markeredgecolor=colour if hollow else PAPER,
        markeredgewidth=1.4 if hollow else 0.8,
        linestyle="none",
        clip_on=False,
        zorder=2.5 if hollow or behind else 3,
    )


def _place_labels(axes: Axes, points: Sequence[tuple[Model, float, float]]) -> None:
    """A name beside each main teacher, student and reference, where it covers no marker and no other name."""
    at = [axes.transData.transform((x, y)) for _, x, y in points]
    taken = [(px - 4, py - 4, px + 4, py + 4) for px, py in at]
    frame = axes.bbox
    for (model, x, y), (px, py) in zip(points, at, strict=True):
        if not model.main or model.role == "baseline":
            continue
        text = plain_label(model.name)
        width = 4.9 * len(text)
        places = [
            (8, 0, "left"),
            (-8, 0, "right"),
            (0, 11, "center"),
            (0, -11, "center"),
            (8, 10, "left"),
            (8, -10, "left"),
        ]
        boxes = []
        for dx, dy, align in places:
            start = px + dx - {"left": 0.0, "right": width, "center": width / 2}[align]
            boxes.append((start, py + dy - 4.5, start + width, py + dy + 4.5))
        inside = [b[0] >= frame.x0 - 8 and b[2] <= frame.x1 + 2 and b[1] >= frame.y0 for b in boxes]
        free = [not any(_overlap(box, other) for other in taken) for box in boxes]
        best = next((i for i in range(len(boxes)) if inside[i] and free[i]), None)
        if best is None:
            continue  # a crowd: the table names them all
        taken.append(boxes[best])
        dx, dy, align = places[best]
        axes.annotate(
            text,
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            ha=align,
            va="center",
            color=INK,
            annotation_clip=False,
            parse_math=False,
            zorder=4,
        )


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def plain_ticks(axis: Axis, write: Any) -> None:
    """Ticks with plain numbers; on a log scale, the closer together the less it spans."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    if axis.get_scale() == "log":
        decades = math.log10(high / low)
        steps = (1.0,) if decades > 2.6 else (1.0, 3.0) if decades > 1.7 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    else:
        axis.set_major_locator(MaxNLocator(nbins=5, integer=write is whole))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: str(write(value))))


def curve(model: Model) -> tuple[list[int], list[float]]:
    """Epochs and validation errors (per cent) of a model's history; empty where there is none."""
    epochs, errors = [], []
    for entry in (model.history or {}).get("epochs") or []:
        accuracy = entry.get("validation_accuracy")
        if accuracy is not None and math.isfinite(accuracy):
            epochs.append(int(entry["epoch"]))
            errors.append(100 * (1 - accuracy))
    return epochs, errors


def curve_figure(family: Family, top: float, bottom: float, prefix: str) -> str | None:
    """Validation errors by epoch of a student, its baseline and its teacher; the epoch kept is marked.

    Args:
        family: with the other settings of the student, which are drawn thin.
        top: the highest error of all such figures, in per cent.
        bottom: the lowest; 0 means a linear scale.
        prefix: of ids.
    """
    members = [m for m in family.members if curve(m)[0]]
    if not members:
        return None
    variants = [m for m in family.variants if curve(m)[0]][:8]

    def draw(axes: Axes) -> None:
        longest = 1
        for model in [*variants, *members]:
            epochs, errors = curve(model)
            longest = max(longest, epochs[-1])
            colour = ROLE_COLOURS.get(model.role, MUTED)
            style = DASHES.get(model.role, "-")
            width, alpha = (1.6, 1.0) if model in members else (0.7, 0.45)
            axes.plot(epochs, errors, color=colour, linestyle=style, linewidth=width, alpha=alpha)
            kept = (model.history or {}).get("kept_epoch")
            if model in members and kept in epochs:
                _mark(axes, model, kept, errors[epochs.index(kept)], size=5.5)
        axes.set_xlim(1, max(longest, 2))
        if bottom > 0:
            axes.set_yscale("log")
            axes.set_ylim(bottom / 1.15, top * 1.15)
        else:
            axes.set_ylim(0, max(top * 1.1, 0.1))
        plain_ticks(axes.yaxis, lambda value: f"{value:g}%")
        plain_ticks(axes.xaxis, whole)
        axes.set_xlabel("epoch")

    told = "; ".join(f"{m.role} {m.name} ends at {curve(m)[1][-1]:.2f}%" for m in members)
    label = f"Validation errors by epoch: {told}"
    return inline_svg(draw, width=252, height=178, margins=(32, 30, 8, 8), prefix=prefix, label=label)


def curve_range(models: Sequence[Model]) -> tuple[float, float]:
    """(top, bottom) for `curve_figure`: a log scale (bottom > 0) where errors span much and none is zero."""
    errors = [error for model in models for error in curve(model)[1]]
    if not errors:
        return 1.0, 0.0
    low, high = min(errors), max(errors)
    return high, (low if low > 0 and high / low > 4 else 0.0)


def reliability_figure(model: Model, labels: np.ndarray, prefix: str) -> str:
    """How often a model is right (y) where it is so sure (x), in 15 bins.

    Args:
        model: with log_probs.
        labels: (test rows,), all ≥ 0.
        prefix: of ids.
    """
    assert model.log_probs is not None
    bins = reliability(model.log_probs, labels)
    count = np.asarray(bins.count)
    filled = count > 0
    confidence, accuracy = np.asarray(bins.confidence)[filled], np.asarray(bins.accuracy)[filled]
    share = np.sqrt(count[filled] / max(1, count.max()))
    enough = count[filled] >= FEW_ROWS
    colour = ROLE_COLOURS.get(model.role, MUTED)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.vlines(confidence[enough], confidence[enough], accuracy[enough], color=colour, linewidth=0.8, alpha=0.6)
        for x, y, part, many in zip(confidence, accuracy, share, enough, strict=True):
            axes.plot(
                [x],
                [y],
                color=colour,
                marker=MARKERS.get(model.role, "o"),
                markersize=3.2 + 4.5 * part,
                markerfacecolor=colour if many else PAPER,
                markeredgecolor=colour,
                markeredgewidth=0.8,
                alpha=1.0 if many else 0.6,
                clip_on=False,
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.set_xticks([0, 0.5, 1], ["0", "50", "100%"])
        axes.set_yticks([0, 0.5, 1], ["0", "50", "100%"])
        axes.set_xlabel("how sure")
        axes.set_ylabel("how often right", labelpad=1)
        axes.spines[["left", "bottom"]].set_color(LINE)

    label = f"Reliability of {model.role} {model.name}: ECE {percent(model.number('ece'), 1)}%"
    return inline_svg(draw, width=158, height=152, margins=(38, 32, 10, 10), prefix=prefix, label=label)
