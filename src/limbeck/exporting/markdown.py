"""Texts of somebody else's within a page in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_MARKS = re.compile(r"([\\`*_\[\]<>|~&#$!])")


def plain(text: object) -> str:
    """A text of somebody else's as Markdown shows it, on one line: no sign in it means anything."""
    return _MARKS.sub(r"\\\1", " ".join(str(text).split()))


def code(text: str) -> str:
    """The same as code within a line."""
    shown = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if shown.startswith("`") or shown.endswith("`") else f"{fence}{shown}{fence}"


def fenced(lines: Sequence[str]) -> list[str]:
    """Lines of Python as a block, whose fence is none of what stands in it."""
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
    return [f"{fence}python", *lines, fence]


def quoted(text: str) -> str:
    """A text as a literal, of Python as of JSON and YAML."""
    return json.dumps(text, ensure_ascii=False)
