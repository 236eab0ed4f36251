"""A tree's top levels as one SVG, for a paper or a notebook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from limbeck.errors import UsageError
from limbeck.report.disagreements import picture_uri
from limbeck.trees.arrays import TreeArrays
from limbeck.trees.page import picture_shape
from limbeck.trees.text import TERMS, feature_names, percent

INK, MUTED, EDGE, LINE, WASH, PAPER, PATH = "#1c1e21", "#5d636b", "#c9ced4", "#dcdfe3", "#f5f6f7", "#ffffff", "#00795a"
NONE, LEFT, RIGHT = (246, 246, 244), (11, 99, 165), (200, 78, 0)
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
PICTURE, TABLE_WIDTH, TABLE_HEIGHT = 56, 132, 56
SUMMARY_WIDTH, SUMMARY_HEIGHT = 84, 50
GAP, RISE, MARGIN, FOOT, ARROW, LEGEND_WIDTH = 10, 58, 16, 30, 34, 460
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True)
class Drawing:
    """An SVG that a notebook shows where it is the last thing of a cell.

    Attributes:
        svg: the text of `draw`.
    """

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write it to a file."""
        Path(path).write_text(self.svg, encoding="utf-8")


def draw(
    tree: TreeArrays,
    *,
    levels: int = 3,
    path_of: npt.NDArray[Any] | None = None,
    features: Sequence[str] | None = None,
) -> str:
    """The tree's top levels as a standalone SVG on white; `Drawing(draw(tree))` is shown in a notebook.

    A question on images is its weights as a picture, blue where brightness sends an input to the left and orange where
    to the right (colours: mid-grey for none), by a scale of its own; a question on a table is the features that weigh
    most in it (|weight| times spread). Edges are as wide as the share of the rows that take them, where it is known.

    Args:
        tree: complete or pruned.
        levels: of questions, the root's first; what lies below is summed up by its classes.
        path_of: a raw input, shape tree.input_shape, whose path is marked, each turn with its probability. For an
            average it is the most probable path.
        features: the features' names, for tables; "feature 12" by default.

    Raises:
        UsageError: levels below 0, an input of another shape, or another number of names than features.
    """
    if levels < 0:
        raise UsageError(f"levels = {levels}: expected 0 or more")
    return _Figure(tree, levels, path_of, feature_names(tree, features)).svg()


class _Figure:
    def __init__(self, tree: TreeArrays, levels: int, path_of: npt.NDArray[Any] | None, names: tuple[str, ...]) -> None:
        self.tree = tree
        self.levels = levels
        self.input = None if path_of is None else np.asarray(path_of)
        self.picture = picture_shape(tree.input_shape)
        self.names = names or tuple(f"feature {number}" for number in range(tree.weights.shape[1]))
        self.path: list[int] = []
        if self.input is not None:
            self.path = tree.path_to(int(tree.leaf_of(self.input[None])[0]))
            self.scores = tree.scores(self.input[None])[0].astype(np.float64)
        self.counted = not np.isnan(tree.reached).any()
        self.leaves_below, self.classes_below = _below(tree, self.counted)
        if self.picture:
            longest = max(self.picture[:2])
            self.tile = (PICTURE * self.picture[1] / longest, PICTURE * self.picture[0] / longest)
        else:
            self.tile = (TABLE_WIDTH, TABLE_HEIGHT)
        self.places: dict[int, tuple[float, float]] = {}
        self.width = self._place()

    def svg(self) -> str:
        depths = [round(y) for _, y in self.places.values()]
        height = MARGIN + max(depths) + max(self.tile[1], SUMMARY_HEIGHT) + 16 + FOOT
        label = f"A soft decision tree: {len(self.tree.weights)} questions, {self.tree.leaves} leaves"
        size = f"{self.width:g} {height:g}"
        width, tall = size.split()
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{tall}" viewBox="0 0 {size}" role="img" '
            f'font-family="{FONT}" font-size="11.5" fill="{INK}">',
            f"<title>{label}</title>",
            f'<rect width="{width}" height="{tall}" fill="{PAPER}"/>',
        ]
        below = [node for node in self.places if node]
        parts += [self._edge(node) for node in below]
        parts += [self._edge(node, marked=True) for node in below if node in self.path]
        parts += [self._turn(node) for node in below if node in self.path]
        parts += [self._question(node) if self._is_open(node) else self._summary(node) for node in self.places]
        if self.input is not None and self.picture:
            parts.append(self._picture_of_input())
        parts.append(self._legend(height))
        return "\n".join([*(part for part in parts if part), "</svg>"]) + "\n"

    def _is_open(self, node: int) -> bool:
        return bool(self.tree.question[node] >= 0) and len(self.tree.path_to(node)) <= self.levels

    def _place(self) -> float:
        """The middle of each shown node's upper edge; returns the width of the whole."""
        shown, waiting = [], [(0, 0)]
        while waiting:
            node, level = waiting.pop()
            shown.append((node, level))
            if self.tree.question[node] >= 0 and level < self.levels:
                waiting += [(int(self.tree.right[node]), level + 1), (int(self.tree.left[node]), level + 1)]
        opened = {node for node, level in shown if self.tree.question[node] >= 0 and level < self.levels}
        left, right = self.tree.left, self.tree.right
        widths: dict[int, float] = {}
        for node, _ in reversed(shown):
            widths[node] = SUMMARY_WIDTH + GAP
            if node in opened:
                widths[node] = max(self.tile[0] + GAP, widths[int(left[node])] + widths[int(right[node])])
        starts: dict[int, float] = {0: MARGIN}
        for node, _ in shown:
            if node in opened:
                both = widths[int(left[node])] + widths[int(right[node])]
                starts[int(left[node])] = starts[node] + (widths[node] - both) / 2
                starts[int(right[node])] = starts[int(left[node])] + widths[int(left[node])]
        middles: dict[int, float] = {}
        for node, _ in reversed(shown):
            middles[node] = starts[node] + widths[node] / 2
            if node in opened:
                middles[node] = (middles[int(left[node])] + middles[int(right[node])]) / 2
        # The input's picture, left of the root, needs room, too.
        shift = 0.0
        if self.input is not None and self.picture:
            shift = max(0.0, MARGIN - (middles[0] - self._half(0) - ARROW - self.tile[0]))
        rise = self.tile[1] + RISE
        self.places = {node: (middles[node] + shift, MARGIN + level * rise) for node, level in shown}
        return max(MARGIN + shift + widths[0] + MARGIN, LEGEND_WIDTH)

    def _half(self, node: int) -> float:
        return (self.tile[0] if self._is_open(node) else SUMMARY_WIDTH) / 2

    def _edge(self, node: int, *, marked: bool = False) -> str:
        (x0, y0), (x1, y1) = self._ends(node)
        middle = (y0 + y1) / 2
        wide = 1 + 13 * float(self.tree.reached[node]) if self.counted else 1.5
        colour, wide = (PATH, max(wide, 2.5)) if marked else (EDGE, wide)
        return (
            f'<path d="M{x0:.1f} {y0:.1f}C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="{wide:.2f}"/>'
        )

    def _ends(self, node: int) -> tuple[tuple[float, float], tuple[float, float]]:
        x, y = self.places[int(self.tree.parent[node])]
        return (x, y + self.tile[1]), self.places[node]

    def _turn(self, node: int) -> str:
        above = int(self.tree.parent[node])
        score = self.scores[self.tree.question[above]]
        towards = score if node == self.tree.right[above] else -score
        said = percent(float(np.exp(-np.logaddexp(0.0, -towards))))
        (x0, y0), (x1, y1) = self._ends(node)
        # The curve's middle: half of the way in both directions.
        x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, 6 + 3.5 * len(said)
        return (
            f'<rect x="{x - half:.1f}" y="{y - 8.5:.1f}" width="{2 * half:.1f}" height="17" rx="8.5" fill="{PAPER}" '
            f'stroke="{PATH}"/>' + _text(x, y + 4, said, size=11, fill=PATH, weight=700)
        )

    def _question(self, node: int) -> str:
        x, y = self.places[node]
        width, height = self.tile
        marked = node in self.path
        frame = (
            f'<rect x="{x - width / 2 - 1:.1f}" y="{y - 1:.1f}" width="{width + 2:.1f}" height="{height + 2:.1f}" '
            f'rx="3" fill="{{}}" stroke="{PATH if marked else EDGE}" stroke-width="{2.5 if marked else 1}"/>'
        )
        if self.picture:
            uri = picture_uri(self._colours(node))
            image = _image(x - width / 2, y, width, height, uri)
            return image + frame.format("none")
        return frame.format(PAPER) + self._weightiest(node, x, y)

    def _colours(self, node: int) -> npt.NDArray[np.uint8]:
        assert self.picture is not None
        weights = self.tree.weights[self.tree.question[node]].astype(np.float64).reshape(self.picture)
        sizes = np.sort(np.abs(weights), axis=None)
        # As in the page: one pixel that is far beyond the others would leave them all pale.
        scale = sizes[int(0.995 * (len(sizes) - 1))] or sizes[-1] or 1.0
        share = np.clip(weights / scale, -1, 1)
        if self.picture[2] > 1:
            return np.asarray(np.rint(128 + 127 * share[:, :, :3]), dtype=np.uint8)
        towards = np.where(share > 0, np.array(RIGHT), np.array(LEFT))
        return np.asarray(np.rint(np.array(NONE) + np.abs(share) * (towards - np.array(NONE))), dtype=np.uint8)

    def _weightiest(self, node: int, x: float, y: float) -> str:
        amounts = self.tree.weights[self.tree.question[node]].astype(np.float64) * self.tree.spread
        most = np.argsort(-np.abs(amounts), kind="stable")[:TERMS]
        parts = []
        for place, feature in enumerate(most[amounts[most] != 0].tolist()):
            rightward = bool(amounts[feature] > 0)
            long = (TABLE_WIDTH - 10) * abs(amounts[feature] / amounts[most[0]])
            start = x + TABLE_WIDTH / 2 - 5 - long if rightward else x - TABLE_WIDTH / 2 + 5
            colour = _hex(RIGHT if rightward else LEFT)
            top = y + 4 + 16 * place
            parts.append(
                f'<rect x="{start:.1f}" y="{top:.1f}" width="{long:.1f}" height="15" fill="{colour}" '
                'fill-opacity="0.16"/>'
            )
            parts.append(_text(x - TABLE_WIDTH / 2 + 8, top + 11, _cut(self.names[feature], 17), size=10.5, at="start"))
            parts.append(
                _text(x + TABLE_WIDTH / 2 - 8, top + 11, "→" if rightward else "←", size=11, fill=colour, at="end")
            )
        return "".join(parts)

    def _summary(self, node: int) -> str:
        x, y = self.places[node]
        marked = node in self.path
        stroke, wide = (PATH, 2.5) if marked else (LINE, 1)
        if self.tree.leaf[node] >= 0:
            probabilities = np.exp(self.tree.log_probs[self.tree.leaf[node]].astype(np.float64))
            best = int(probabilities.argmax())
            name, ink = self.tree.classes[best], PAPER if marked else INK
            size = 20.0 if len(name) <= 2 else 14.0 if len(name) <= 7 else 11.0
            fill = PATH if marked else WASH
            return (
                _box(x, y, fill, stroke, wide)
                + _text(x, y + 25, _cut(name, 12), size=size, fill=ink, weight=700, full=name)
                + _text(x, y + 41, percent(float(probabilities[best])), size=11, fill=ink if marked else MUTED)
            )
        names = [self.tree.classes[one] for one in self.classes_below[node]]
        stack = "".join(_box(x + by, y + by, WASH, EDGE, 1) for by in (5, 2.5))
        count = f"{self.leaves_below[node]:,} leaves"
        second = _text(x, y + 36, _few(names, 12), size=12, weight=700, full=", ".join(names))
        if marked:
            answer = np.exp(self.tree.log_probs[self.tree.leaf[self.path[-1]]].astype(np.float64))
            end = f"ends at {_cut(self.tree.classes[int(answer.argmax())], 9)}, {percent(float(answer.max()))}"
            second += _text(x, y + SUMMARY_HEIGHT + 19, end, size=11, fill=PATH, weight=700)
        return stack + _box(x, y, WASH, stroke, wide) + _text(x, y + 19, count, size=11, fill=MUTED) + second

    def _picture_of_input(self) -> str:
        assert self.input is not None
        assert self.picture is not None
        pixels = self.input.reshape(self.picture).astype(np.float64)[:, :, :3]
        if self.input.dtype == np.uint8:
            low, high = 0.0, 255.0 if pixels.max() >= 128 else max(float(pixels.max()), 1.0)
        else:
            low, high = min(0.0, float(pixels.min())), float(pixels.max())
        shades = np.clip(255 * (pixels - low) / ((high - low) or 1.0), 0, 255)
        x, y = self.places[0]
        width, height = self.tile
        start = x - self._half(0) - ARROW - width
        middle = y + height / 2
        arrow = f"M{start + width + 6:.1f} {middle:.1f}h18m-5 -4l5 4l-5 4"
        return (
            _image(start, y, width, height, picture_uri(np.rint(shades).astype(np.uint8)))
            + f'<path d="{arrow}" fill="none" stroke="{PATH}" stroke-width="1.8"/>'
        )

    def _legend(self, height: float) -> str:
        if not self._is_open(0):
            return ""
        left, right = (_hex(colour) for colour in (LEFT, RIGHT))
        bold = '<tspan fill="{}" font-weight="700">{}</tspan>'
        sides = bold.format(left, "left"), bold.format(right, "right")
        if self.picture and self.picture[2] > 1:
            said = "brighter than grey sends right, darker left"
        elif self.picture:
            said = f"brightness there sends {sides[0]} or {sides[1]}"
        else:
            said = f"more of it sends {sides[0]} or {sides[1]}"
        if self.counted:
            said += "; an edge is as wide as the share of the data that takes it"
        return f'<text x="{MARGIN}" y="{height - 12:.1f}" font-size="10.5" fill="{MUTED}">{said}</text>'


def _below(tree: TreeArrays, counted: bool) -> tuple[list[int], list[list[int]]]:
    """For each node the leaves below it, and their classes, those that most rows reach first.

    A leaf that no row reached has learnt nothing: its class is left out where there are others.
    """
    nodes = len(tree.left)
    leaves = [0] * nodes
    shares: list[dict[int, float]] = [{} for _ in range(nodes)]
    for node in range(nodes - 1, -1, -1):
        if tree.leaf[node] >= 0:
            leaves[node] = 1
            shares[node] = {
                int(tree.log_probs[tree.leaf[node]].argmax()): float(tree.reached[node]) if counted else 1.0
            }
            continue
        for child in (int(tree.left[node]), int(tree.right[node])):
            leaves[node] += leaves[child]
            for one, share in shares[child].items():
                shares[node][one] = shares[node].get(one, 0.0) + share
    return leaves, [_by_share(found) for found in shares]


def _by_share(shares: dict[int, float]) -> list[int]:
    ordered = sorted(shares, key=lambda one: (-shares[one], one))
    return [one for one in ordered if shares[one] > 0] or ordered


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()


def _box(x: float, y: float, fill: str, stroke: str, wide: float) -> str:
    return (
        f'<rect x="{x - SUMMARY_WIDTH / 2:.1f}" y="{y:.1f}" width="{SUMMARY_WIDTH}" height="{SUMMARY_HEIGHT}" rx="6" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{wide}"/>'
    )


def _image(x: float, y: float, width: float, height: float, uri: str) -> str:
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{uri}"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    fill: str = INK,
    weight: int = 400,
    at: str = "middle",
    full: str | None = None,
) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    title = f"<title>{_plain(full)}</title>" if full is not None and full != text else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{at}" fill="{fill}"{bold}>'
        f"{title}{_plain(text)}</text>"
    )


def _plain(text: str) -> str:
    return escape(_CONTROLS.sub("�", text))


def _cut(text: str, most: int) -> str:
    return f"{text[: most - 1]}…" if len(text) > most else text


def _few(names: Sequence[str], characters: int) -> str:
    """As many names as fit in so many characters, at least one, and how many there are beside them."""
    comma = ", " if any(len(name) > 2 for name in names) else " "
    said = comma.join(names)
    if len(said) <= characters:
        return said
    room = characters - 3 if len(names) > 1 else characters
    said, shown = _cut(names[0], room), 1
    while shown < len(names) and len(said + comma + names[shown]) <= room:
        said, shown = said + comma + names[shown], shown + 1
    return f"{said} +{len(names) - shown}" if shown < len(names) else said
