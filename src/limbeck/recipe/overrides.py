"""`--set KEY=VALUE`: a recipe changed from the command line."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any

from pydantic import BaseModel

from limbeck.errors import UsageError
from limbeck.recipe.errors import keys_of, no_such_part, shown
from limbeck.recipe.form import PLAIN_TRANSFER, Regression
from limbeck.recipe.general import General
from limbeck.recipe.student import Reference, Student
from limbeck.recipe.task import Task
from limbeck.recipe.teacher import Teacher
from limbeck.recipe.toml import toml_value
from limbeck.recipe.transfer import Transfer

_PARTS: dict[str, type[BaseModel]] = {
    "general": General,
    "task": Task,
    "teacher": Teacher,
    "transfer": Transfer,
    "student": Student,
    "reference": Reference,
    "regression": Regression,
}
_OF_ITS_OWN = ("model", "train", "views", "folds", "from", "of", "trust")
"""What a teacher has that takes the place of one given by a file, or of a mean."""
_EXAMPLE = "KEY=VALUE, such as student.*.distill.temperature=4"


def apply_overrides(data: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """A copy of a recipe's data with every `KEY=VALUE` of `sets` put in, in their order.

    Args:
        data: a recipe as TOML reads it, not checked yet; stays as it is.
        sets: KEY is a dotted path, in which parts are addressed by name (the longest that fits, as names
            may hold dots) or, all of a list, by `*`. VALUE is TOML, and what is not TOML is a string.

    Returns:
        Data for `parse_recipe`, which reports keys that no recipe has and values that do not fit.

    Raises:
        UsageError: there is no `=`, no part of that name, or no table at that path.
    """
    result = copy.deepcopy(dict(data))
    for setting in sets:
        key, equals, value = setting.partition("=")
        where = f"--set {' '.join((key.strip() or setting).split())}"
        if not equals:
            raise UsageError(f'{where}: found no "=", expected {_EXAMPLE}')
        _set(result, key.strip(), _value(value), where)
    return result


def teacher_from(data: Mapping[str, Any], given: str, name: str | None = None) -> str:
    """The `KEY=VALUE` that has a teacher given by a file, in place of what the recipe says of it.

    A teacher that is set to be `from` a path, or the mean `of` others, is no longer trained as the recipe says.

    Args:
        data: a recipe as TOML reads it.
        given: the file.
        name: of the teacher; needed where there are several.

    Raises:
        UsageError: there is no teacher of that name, or there are several.
    """
    parts = data.get("teacher", [])
    names = [part["name"] for part in parts if isinstance(part, dict) and isinstance(part.get("name"), str)]
    if name is None and len(names) != 1:
        raise UsageError(
            f"--from {given}: the recipe has the teachers {', '.join(names)}: say whose with --teacher NAME"
        )
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise UsageError(f"--teacher {chosen}: {no_such_part('teacher', chosen, names)}")
    return f"teacher.{chosen}.from={toml_value(given)}"


def _value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return table["value"] if len(table) == 1 else text.strip()


def _set(data: dict[str, Any], path: str, value: Any, where: str) -> None:
    section, _, rest = path.partition(".")
    if section == "transfer" and data.get(section, []) == []:
        data[section] = [dict(PLAIN_TRANSFER)]
    parts = data.get(section, [])
    if section not in _PARTS or not rest or not isinstance(parts, list):
        _put(data, path.split("."), value, where)
        return
    targets, rest = _targets(section, [part for part in parts if isinstance(part, dict)], rest, where)
    table, _, path = rest.partition(".")
    # The keys of a grid or a sweep are themselves dotted paths, and may come in TOML's quotes.
    keys = [table, path.strip("\"'")] if path and table in ("grid", "sweep") else rest.split(".")
    for target in targets:
        if section == "teacher" and keys in (["from"], ["of"]):
            for key in _OF_ITS_OWN:  # what is given is not trained as well
                target.pop(key, None)
        _put(target, keys, copy.deepcopy(value), where)


def _targets(section: str, parts: list[dict[str, Any]], path: str, where: str) -> tuple[list[dict[str, Any]], str]:
    """The parts that a path begins with, and what is left of it: one or more keys."""
    names = [part["name"] for part in parts if isinstance(part.get("name"), str)]
    fitting = [name for name in ("*", *names) if f"{path}.".startswith(f"{name}.")]
    if not fitting or not parts:
        # The name that was meant ends where the first key begins.
        first, *words = path.split(".")
        given = ".".join([first, *takewhile(lambda word: word not in keys_of(_PARTS[section]), words)])
        raise UsageError(f"{where}: {no_such_part(section, given, names)}")
    name = max(fitting, key=len)
    rest = path[len(name) + 1 :]
    if not rest:
        raise UsageError(f"{where}: names a whole {section}, expected one of its keys: {where[6:]}.KEY=VALUE")
    return [part for part in parts if name in ("*", part.get("name"))], rest


def _put(table: dict[str, Any], keys: list[str], value: Any, where: str) -> None:
    if not all(keys):
        raise UsageError(f"{where}: found an empty key, expected {_EXAMPLE}")
    for key, below in pairwise(keys):
        found = table.setdefault(key, {})
        if not isinstance(found, dict):
            raise UsageError(f'{where}: "{key}" is {shown(found)}, not a table, and has no key "{below}"')
        table = found
    table[keys[-1]] = value
