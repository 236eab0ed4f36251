"""Figures by matplotlib, made fit to stand inside a page.

A figure is drawn in sentinel colours, which become the page's CSS variables: so it follows light and dark.
Its ids get a prefix, because several drawings in one page would clash; its text stays text. matplotlib is
imported when a figure is drawn, not before.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, LINE, PAPER, BAD = "#010201", "#010202", "#010203", "#010204", "#010205"
ROLE_COLOURS = {"teacher": "#010301", "student": "#010302", "baseline": "#010303", "reference": "#010304"}
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    BAD: "var(--bad)",
    **{colour: f"var(--{role})" for role, colour in ROLE_COLOURS.items()},
}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "limbeck",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "figure.facecolor": "none",
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
}
_UNIT = 72  # points in an inch; one point is one unit of the drawing's own space


def inline_svg(
    draw: Callable[[Axes], None],
    *,
    width: float,
    height: float,
    margins: tuple[float, float, float, float],
    prefix: str,
    label: str,
) -> str:
    """What `draw` puts on one pair of axes, as an <svg> element for a page.

    Args:
        draw: draws on the axes it is given.
        width: of the whole drawing, in points.
        height: likewise.
        margins: left, bottom, right, top, in points: fixed, so that bytes do not hang on the fonts installed.
        prefix: starts every id; unlike any other in the page.
        label: says in words what is to be seen.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    left, bottom, right, top = margins
    buffer = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width / _UNIT, height / _UNIT), dpi=_UNIT)
        FigureCanvasSVG(figure)
        inner = (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - bottom - top) / height,
        )
        draw(figure.add_axes(inner))
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _embeddable(buffer.getvalue(), prefix, label)


def _embeddable(document: str, prefix: str, label: str) -> str:
    root = ElementTree.fromstring(document)
    view_box = root.get("viewBox", "")
    for element in root.iter():
        for child in list(element):
            if child.tag.endswith(("}metadata", "}style")):
                element.remove(child)
    pointed_at = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', document))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if element.tag != "text":
            element.text = None
        element.tail = None
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib.clear()
        for name, value in attributes.items():
            if name == "id":
                if value in pointed_at:
                    element.set("id", f"{prefix}-{value}")
                continue
            element.set(name, _attribute(name, value, prefix))
    root.attrib.clear()
    for name, value in (("viewBox", view_box), ("role", "img"), ("aria-label", label)):
        root.set(name, value)
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "href":
        return value.replace("#", f"#{prefix}-", 1)
    value = value.replace("url(#", f"url(#{prefix}-")
    if name == "style":
        value = re.sub(r"(font: [^;]*?[\d.]+px) [^;]*", r"\1 sans-serif", value)
    for sentinel, variable in VARIABLES.items():
        value = value.replace(sentinel, variable)
    return value
