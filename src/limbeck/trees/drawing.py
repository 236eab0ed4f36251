"""A tree's top levels as one SVG, for a paper or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import UsageError
from limbeck.files import write_bytes
from limbeck.report.disagreements import picture_uri
from limbeck.trees import svg
from limbeck.trees.arrays import TreeArrays, turn_probability
from limbeck.trees.below import classes_by_share, leaves_below
from limbeck.trees.layout import MARGIN, SUMMARY_HEIGHT, SUMMARY_WIDTH, laid_out
from limbeck.trees.pictures import LEFT, RIGHT, picture_of_input, picture_of_question, picture_shape
from limbeck.trees.svg import EDGE, FONT, INK, LINE, MUTED, PAPER, PATH, WASH
from limbeck.trees.text import feature_names, leaf_answer, many, numbered_features, percent, weightiest

PICTURE, TABLE_WIDTH, TABLE_HEIGHT = 56, 132, 56


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
        """Write it to a file, whose name ends in .svg; its folder is made if it is not there.

        Raises:
            UsageError: the name ends otherwise.
        """
        if Path(path).suffix.lower() != ".svg":
            raise UsageError(f'path = "{path}": expected a file that ends in .svg')
        write_bytes(Path(path), self.svg.encode())


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
        UsageError: levels below 0, an input of another shape or not finite, or another number of names than features.
    """
    if levels < 0:
        raise UsageError(f"levels = {levels}: expected 0 or more")
    return _Figure(tree, levels, path_of, feature_names(tree, features)).svg()


class _Figure:
    def __init__(self, tree: TreeArrays, levels: int, path_of: npt.NDArray[Any] | None, names: tuple[str, ...]) -> None:
        self.tree = tree
        self.input = None if path_of is None else np.asarray(path_of)
        self.picture = picture_shape(tree.input_shape)
        self.names = names or numbered_features(tree.weights.shape[1])
        self.path: list[int] = []
        if self.input is not None:
            if not np.isfinite(self.input).all():
                raise UsageError("the input is not finite: mend its missing values first")
            self.path = tree.path_to(int(tree.leaf_of(self.input[None])[0]))
            self.scores = tree.scores(self.input[None])[0].astype(np.float64)
        self.counted = not np.isnan(tree.reached).any()
        self.leaves_below = leaves_below(tree)
        self.classes = classes_by_share(tree, self.path[-1] if self.path else None)
        if self.picture:
            longest = max(self.picture[:2])
            self.tile = (PICTURE * self.picture[1] / longest, PICTURE * self.picture[0] / longest)
        else:
            self.tile = (TABLE_WIDTH, TABLE_HEIGHT)
        beside = self.input is not None and self.picture is not None
        self.layout = laid_out(tree, levels, self.tile, beside=beside)
        self.places = self.layout.places

    def svg(self) -> str:
        questions = many(len(self.tree.weights), "question", "questions")
        label = f"A soft decision tree: {questions}, {many(self.tree.leaves, 'leaf', 'leaves')}"
        size = f"{self.layout.width:g} {self.layout.height:g}"
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
        parts += [self._question(node) if node in self.layout.opened else self._summary(node) for node in self.places]
        if self.input is not None and self.picture:
            parts.append(self._picture_of_input())
        parts.append(self._legend())
        return "\n".join([*(part for part in parts if part), "</svg>"]) + "\n"

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
        score = float(self.scores[self.tree.question[above]])
        said = percent(turn_probability(score, to_right=node == self.tree.right[above]))
        (x0, y0), (x1, y1) = self._ends(node)
        # The curve's middle: half of the way in both directions.
        x, y, half = (x0 + x1) / 2, (y0 + y1) / 2, 6 + 3.5 * len(said)
        return (
            f'<rect x="{x - half:.1f}" y="{y - 8.5:.1f}" width="{2 * half:.1f}" height="17" rx="8.5" fill="{PAPER}" '
            f'stroke="{PATH}"/>' + svg.text(x, y + 4, said, size=11, fill=PATH, weight=700)
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
            pixels = picture_of_question(self.tree.weights[self.tree.question[node]], self.picture)
            return svg.image(x - width / 2, y, width, height, picture_uri(pixels)) + frame.format("none")
        return frame.format(PAPER) + self._weightiest(node, x, y)

    def _weightiest(self, node: int, x: float, y: float) -> str:
        amounts = self.tree.weights[self.tree.question[node]].astype(np.float64) * self.tree.spread
        most = weightiest(amounts)
        parts = []
        for place, feature in enumerate(most[amounts[most] != 0].tolist()):
            rightward = bool(amounts[feature] > 0)
            long = (TABLE_WIDTH - 10) * abs(amounts[feature] / amounts[most[0]])
            start = x + TABLE_WIDTH / 2 - 5 - long if rightward else x - TABLE_WIDTH / 2 + 5
            colour = svg.hex_of(RIGHT if rightward else LEFT)
            top = y + 4 + 16 * place
            parts.append(
                f'<rect x="{start:.1f}" y="{top:.1f}" width="{long:.1f}" height="15" fill="{colour}" '
                'fill-opacity="0.16"/>'
            )
            parts.append(
                svg.text(x - TABLE_WIDTH / 2 + 8, top + 11, svg.cut(self.names[feature], 17), size=10.5, at="start")
            )
            parts.append(
                svg.text(x + TABLE_WIDTH / 2 - 8, top + 11, "→" if rightward else "←", size=11, fill=colour, at="end")
            )
        return "".join(parts)

    def _summary(self, node: int) -> str:
        x, y = self.places[node]
        marked = node in self.path
        stroke, wide = (PATH, 2.5) if marked else (LINE, 1)
        if self.tree.leaf[node] >= 0:
            name, probability = leaf_answer(self.tree, node)
            ink = PAPER if marked else INK
            size = 20.0 if len(name) <= 2 else 14.0 if len(name) <= 7 else 11.0
            fill = PATH if marked else WASH
            return (
                _box(x, y, fill, stroke, wide)
                + svg.text(x, y + 25, svg.cut(name, 12), size=size, fill=ink, weight=700, full=name)
                + svg.text(x, y + 41, percent(probability), size=11, fill=ink if marked else MUTED)
            )
        names = [self.tree.classes[one] for one in self.classes[node]]
        stack = "".join(_box(x + by, y + by, WASH, EDGE, 1) for by in (5, 2.5))
        count = many(int(self.leaves_below[node]), "leaf", "leaves")
        second = svg.text(x, y + 36, svg.few(names, 12), size=12, weight=700, full=", ".join(names))
        if marked:
            name, probability = leaf_answer(self.tree, self.path[-1])
            end = f"ends at {svg.cut(name, 9)}, {percent(probability)}"
            second += svg.text(x, y + SUMMARY_HEIGHT + 19, end, size=11, fill=PATH, weight=700)
        return stack + _box(x, y, WASH, stroke, wide) + svg.text(x, y + 19, count, size=11, fill=MUTED) + second

    def _picture_of_input(self) -> str:
        assert self.input is not None
        assert self.picture is not None
        start, y = self.layout.beside_root, self.places[0][1]
        width, height = self.tile
        middle = y + height / 2
        arrow = f"M{start + width + 6:.1f} {middle:.1f}h18m-5 -4l5 4l-5 4"
        return (
            svg.image(start, y, width, height, picture_uri(picture_of_input(self.input, self.picture)))
            + f'<path d="{arrow}" fill="none" stroke="{PATH}" stroke-width="1.8"/>'
        )

    def _legend(self) -> str:
        if 0 not in self.layout.opened:
            return ""
        left, right = (svg.hex_of(colour) for colour in (LEFT, RIGHT))
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
        return f'<text x="{MARGIN}" y="{self.layout.height - 12:.1f}" font-size="10.5" fill="{MUTED}">{said}</text>'


def _box(x: float, y: float, fill: str, stroke: str, wide: float) -> str:
    return (
        f'<rect x="{x - SUMMARY_WIDTH / 2:.1f}" y="{y:.1f}" width="{SUMMARY_WIDTH}" height="{SUMMARY_HEIGHT}" rx="6" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{wide}"/>'
    )
