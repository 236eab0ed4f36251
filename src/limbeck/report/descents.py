"""Loss over steps of gradient descent, for linear nets of several depths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.report.figures import plain_ticks
from limbeck.report.svg import INK, MUTED, ROLE_COLOURS, inline_svg
from limbeck.report.wording import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Descent = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""A regression's name, its variant (depth and power), and what it came to: losses, and the least there is."""

FLOOR = 1e-6  # of what the loss can fall by; below lies rounding
STYLES: Sequence[tuple[str, Any]] = (
    (ROLE_COLOURS["baseline"], (0, (4.5, 2))),
    (ROLE_COLOURS["student"], "-"),
    (ROLE_COLOURS["teacher"], "-"),
    (INK, (0, (1, 1.6))),
    (MUTED, "-."),
)


def descent_figures(descents: Sequence[Descent]) -> list[tuple[str, str]]:
    """A title and a figure for each name and loss: what is left of what the loss can fall by, over the steps."""
    groups: dict[tuple[str, int], list[Descent]] = {}
    for descent in descents:
        if not descent[2]["losses"]:  # it diverged
            continue
        groups.setdefault((descent[0], descent[1]["power"]), []).append(descent)
    return [
        (f"{name}, l{power} loss", _figure(f"{name}, l{power} loss", group, f"descent{number}"))
        for number, ((name, power), group) in enumerate(groups.items())
    ]


def _figure(title: str, group: Sequence[Descent], prefix: str) -> str:
    def draw(axes: Axes) -> None:
        axes.set_yscale("log")
        ends = []
        for number, (_, variant, found) in enumerate(group):
            start, least = found["losses"][0], found["least"]
            left = [max((loss - least) / (start - least), FLOOR) for loss in found["losses"]]
            colour, dashes = STYLES[number % len(STYLES)]
            axes.plot(range(len(left)), left, color=colour, linestyle=dashes, linewidth=1.3)
            ends.append((left[-1], f"depth {variant['depth']}", colour))
        axes.set_xlim(0, max(len(found["losses"]) for _, _, found in group))
        axes.set_xlabel("step")
        plain_ticks(axes.xaxis, whole)
        plain_ticks(axes.yaxis, lambda share: f"{100 * share:g}%")
        taken = float("-inf")
        for value, label, colour in sorted(ends, key=lambda end: end[0]):
            taken = max(axes.transData.transform((0, value))[1], taken + 10)
            axes.annotate(
                label, (axes.bbox.x1, taken), xytext=(6, 0), xycoords="figure pixels", textcoords="offset points",
                va="center", color=colour, fontsize=7.5, annotation_clip=False,
            )  # fmt: skip

    told = "; ".join(f"depth {variant['depth']} ends {_left(found):.2g}" for _, variant, found in group)
    label = f"Share of the loss that is left, {title}: {told}"
    return inline_svg(draw, width=320, height=210, margins=(40, 34, 56, 10), prefix=prefix, label=label)


def _left(found: Mapping[str, Any]) -> float:
    return float((found["losses"][-1] - found["least"]) / (found["losses"][0] - found["least"]))
