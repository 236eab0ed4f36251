"""Where the nodes of a tree's top levels stand in a drawing."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.trees.arrays import TreeArrays

SUMMARY_WIDTH, SUMMARY_HEIGHT = 84, 50
GAP, RISE, MARGIN, ARROW = 10, 58, 16, 34
LEGEND_WIDTH, FOOT = 460, 30


@dataclass(frozen=True)
class Layout:
    """The nodes shown, and their places.

    Attributes:
        places: the middle of each shown node's upper edge, the root's first.
        opened: those shown as questions; the others are leaves, or sum up what lies below.
        beside_root: the left edge of one more tile, at the height of the root and an arrow's length left of it.
        width: of the whole.
        height: likewise, a line of text at the foot included.
    """

    places: dict[int, tuple[float, float]]
    opened: frozenset[int]
    beside_root: float
    width: float
    height: float


def laid_out(tree: TreeArrays, levels: int, tile: tuple[float, float], *, beside: bool) -> Layout:
    """Leaves and summaries side by side, and each question above the middle of its two sides.

    Args:
        tree: the tree.
        levels: of questions, the root's first.
        tile: width and height of a question.
        beside: whether there has to be room for one more tile beside the root.
    """
    shown, waiting = [], [(0, 0)]
    while waiting:
        node, level = waiting.pop()
        shown.append((node, level))
        if tree.question[node] >= 0 and level < levels:
            waiting += [(int(tree.right[node]), level + 1), (int(tree.left[node]), level + 1)]
    opened = frozenset(node for node, level in shown if tree.question[node] >= 0 and level < levels)
    sides = {node: (int(tree.left[node]), int(tree.right[node])) for node in opened}
    widths: dict[int, float] = {}
    for node, _ in reversed(shown):
        widths[node] = SUMMARY_WIDTH + GAP
        if node in opened:
            left, right = sides[node]
            widths[node] = max(tile[0] + GAP, widths[left] + widths[right])
    starts: dict[int, float] = {0: MARGIN}
    for node, _ in shown:
        if node in opened:
            left, right = sides[node]
            starts[left] = starts[node] + (widths[node] - (widths[left] + widths[right])) / 2
            starts[right] = starts[left] + widths[left]
    middles: dict[int, float] = {}
    for node, _ in reversed(shown):
        middles[node] = starts[node] + widths[node] / 2
        if node in opened:
            left, right = sides[node]
            middles[node] = (middles[left] + middles[right]) / 2
    beside_root = middles[0] - (tile[0] if 0 in opened else SUMMARY_WIDTH) / 2 - ARROW - tile[0]
    shift = max(0.0, MARGIN - beside_root) if beside else 0.0
    places = {node: (middles[node] + shift, MARGIN + level * (tile[1] + RISE)) for node, level in shown}
    lowest = max(round(y) for _, y in places.values())
    return Layout(
        places=places,
        opened=opened,
        beside_root=beside_root + shift,
        width=max(MARGIN + shift + widths[0] + MARGIN, LEGEND_WIDTH),
        height=MARGIN + lowest + max(tile[1], SUMMARY_HEIGHT) + 16 + FOOT,
    )
