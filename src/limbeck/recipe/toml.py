"""Writing TOML: the standard library only reads it, and a recipe needs little of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
# The quote and the backslash; then what TOML forbids in a string, what an editor may take for a new line,
# and lone surrogates (from a command line that is not Unicode), which cannot be printed.
_TO_ESCAPE = re.compile('["\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


def toml_key(key: str) -> str:
    """A key as TOML writes it: bare where it can be, else quoted."""
    return key if _BARE_KEY.fullmatch(key) else toml_value(key)


def toml_value(value: Any) -> str:
    """A value as TOML writes it, on one line.

    Takes what a recipe holds: strings, whole numbers, floats, true and false, lists, and tables with
    string keys. Anything else that TOML reads (dates and times) is written as Python prints it.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{_TO_ESCAPE.sub(_escaped, value)}"'
        case list():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case Mapping():
            entries = [f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()]
            return f"{{ {', '.join(entries)} }}" if entries else "{}"
        case _:
            return str(value)


def toml_document(table: Mapping[str, Any]) -> str:
    """A whole TOML document: plain values first, then tables and lists of tables under their headers."""
    return "\n".join(_lines(table, ())).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [
        f"{toml_key(key)} = {toml_value(value)}"
        for key, value in table.items()
        if not isinstance(value, Mapping) and not _is_list_of_tables(value)
    ]
    for key, value in table.items():
        below = (*path, key)
        header = ".".join(toml_key(part) for part in below)
        if isinstance(value, Mapping):
            lines += ["", f"[{header}]", *_lines(value, below)]
        elif _is_list_of_tables(value):
            for entry in value:
                lines += ["", f"[[{header}]]", *_lines(entry, below)]
    return lines


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return _SHORT_ESCAPES.get(character, f"\\u{ord(character):04x}")
