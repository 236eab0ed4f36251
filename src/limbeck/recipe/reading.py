"""Recipes as TOML: read, checked, changed and written."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from pydantic import ValidationError

from limbeck.errors import UsageError, did_you_mean
from limbeck.recipe.errors import dotted, phrases, shown
from limbeck.recipe.form import Recipe
from limbeck.recipe.overrides import apply_overrides
from limbeck.recipe.toml import toml_document
from limbeck.recipes import bundled_recipe, bundled_recipes

WORDS = {"title", "about", "minutes", "claim"}
"""What a recipe says of itself: it makes no difference to a run."""


def load_recipe(name_or_path: str | Path, sets: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe, changed first by every `KEY=VALUE` of `sets`.

    Args:
        name_or_path: a bundled recipe's name, or the path of a `.toml` file.
        sets: as for `apply_overrides`.

    Raises:
        UsageError: as `read_recipe`, `apply_overrides` and `parse_recipe` do.
    """
    return parse_recipe(apply_overrides(read_recipe(name_or_path), sets), str(name_or_path))


def recipe_name(name_or_path: str | Path) -> str:
    """A recipe's name: a bundled one's own, or a file's without `.toml`."""
    return PurePath(name_or_path).name.removesuffix(".toml")


def read_recipe(name_or_path: str | Path) -> dict[str, Any]:
    """A recipe as TOML reads it, not checked yet.

    Raises:
        UsageError: there is no such recipe or file, or it is not TOML in UTF-8.
    """
    where = str(name_or_path)
    try:
        return tomllib.loads(_text(where))
    except RecursionError:
        raise UsageError(f"{where}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, which ends with line and column, or an endless number
        raise UsageError(f"{where}: not valid TOML: {error}") from None


def _text(where: str) -> str:
    if where in bundled_recipes():
        return bundled_recipe(where)
    path = Path(where)
    if path.suffix != ".toml" and path.name == where:
        nearest = did_you_mean(where, bundled_recipes()).removesuffix("?")
        raise UsageError(
            f'no recipe is named "{where}"{nearest}: there are {", ".join(bundled_recipes())}; '
            "your own is given by the path of its .toml file"
        )
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{where}: no such file, expected a recipe's .toml file") from None
    except OSError as error:
        raise UsageError(f"{where}: cannot be read as a recipe's .toml file: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{where}: not UTF-8: found the byte 0x{content[error.start]:02x} in line {line}, save the file as UTF-8"
        ) from None


def parse_recipe(data: Mapping[str, Any], where: str) -> Recipe:
    """Check a recipe and fill in every default.

    Args:
        data: a recipe as TOML reads it.
        where: what the error begins with, such as the path of the file.

    Raises:
        UsageError: one line with all that is wrong; unknown keys first, each with the nearest valid one.
    """
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{where}: {'; '.join(phrases(error, data, Recipe))}") from None


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as TOML, with every default filled in: `parse_recipe(tomllib.loads(…))` gives an equal one."""
    return toml_document(recipe.model_dump(by_alias=True, exclude_none=True))


def settings_key(recipe: Recipe) -> str:
    """The SHA-256 of a recipe's settings: equal for runs that differ in seed, or in words, alone.

    Settings that are not given and have no default are no part of it: a key that recipes come to have leaves the
    results of those without it comparable.
    """
    from limbeck.files import key_of  # loads numpy, which checking a recipe does without

    return key_of(recipe.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=WORDS))


def first_difference(there: Recipe, here: Recipe) -> str | None:
    """Where two recipes first differ, as `student.2x128.train.epochs: 20 there, 30 here`; None if they are equal.

    Words make no difference.
    """
    tables = [recipe.model_dump(by_alias=True, exclude_none=True, exclude=WORDS) for recipe in (there, here)]
    return _difference(tables[0], tables[1], (), tables[1])


def _difference(there: Any, here: Any, location: tuple[int | str, ...], whole: dict[str, Any]) -> str | None:
    if there == here:
        return None
    inner: list[tuple[int | str, Any, Any]] = []
    if isinstance(there, dict) and isinstance(here, dict):
        inner = [(key, there.get(key), here.get(key)) for key in {**there, **here}]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        inner = [(index, *pair) for index, pair in enumerate(zip(there, here, strict=True))]
    for key, one, other in inner:
        if (found := _difference(one, other, (*location, key), whole)) is not None:
            return found
    written = ("not" if value is None else shown(value) for value in (there, here))
    return f"{dotted(location, whole)}: {' there, '.join(written)} here"
