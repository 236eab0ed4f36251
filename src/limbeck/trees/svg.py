"""What a drawing of a tree is made of: its colours, and text and pictures as SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

INK, MUTED, EDGE, LINE, WASH, PAPER, PATH = "#1c1e21", "#5d636b", "#c9ced4", "#dcdfe3", "#f5f6f7", "#ffffff", "#00795a"
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def hex_of(colour: tuple[int, int, int]) -> str:
    """A colour of three bytes as CSS has it."""
    return "#" + bytes(colour).hex()


def image(x: float, y: float, width: float, height: float, uri: str) -> str:
    """A picture whose pixels stay squares.

    Args:
        x: of its left edge.
        y: of its upper edge.
        width: as shown.
        height: likewise.
        uri: where it is, or a data URI with the picture itself.
    """
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{uri}"/>'
    )


def text(
    x: float,
    y: float,
    said: str,
    *,
    size: float,
    fill: str = INK,
    weight: int = 400,
    at: str = "middle",
    full: str | None = None,
) -> str:
    """A line of text; markup and control characters in it are only text.

    Args:
        x: where it is anchored.
        y: of its baseline.
        said: the text.
        size: of the font.
        fill: its colour.
        weight: 400 or bolder.
        at: which part of it is at x: start, middle or end.
        full: what is to be read where the mouse rests on it, if that is more.
    """
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    title = f"<title>{_plain(full)}</title>" if full is not None and full != said else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{at}" fill="{fill}"{bold}>'
        f"{title}{_plain(said)}</text>"
    )


def _plain(text: str) -> str:
    return escape(_CONTROLS.sub("�", text))


def cut(text: str, most: int) -> str:
    """A text of at most so many characters, the last one … where there were more."""
    return f"{text[: most - 1]}…" if len(text) > most else text


def few(names: Sequence[str], characters: int) -> str:
    """As many names as fit in so many characters, at least one, and how many there are beside them."""
    comma = ", " if any(len(name) > 2 for name in names) else " "
    said = comma.join(names)
    if len(said) <= characters:
        return said
    room = characters - 3 if len(names) > 1 else characters
    said, shown = cut(names[0], room), 1
    while shown < len(names) and len(said + comma + names[shown]) <= room:
        said, shown = said + comma + names[shown], shown + 1
    return f"{said} +{len(names) - shown}" if shown < len(names) else said
