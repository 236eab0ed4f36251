"""What is wrong with a recipe, in short phrases that speak of TOML keys and names, not of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from limbeck.errors import did_you_mean
from limbeck.recipe.toml import toml_key, toml_value

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""A part's name becomes a file name: no spaces or slashes, and neither `..` nor a hidden file."""

_LONGEST_SHOWN = 60
_EXPECTED = {
    "string_type": "a string",
    "string_unicode": "a string of valid Unicode",
    "string_too_short": "a string that is not empty",
    "string_too_long": "a string of at most {max_length} characters",
    "string_pattern_mismatch": 'a name of letters, digits, ".", "_" and "-", the first a letter or a digit',
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "{le:.10g} or less",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
}

Location = tuple[int | str, ...]
"""A place in a recipe: keys, and numbers of entries in lists."""


def found(value: Any, expected: str) -> str:
    """The middle of an error message: `found VALUE, expected WHAT`, the value shortened to stay readable."""
    return f"found {shown(value)}, expected {expected}"


def shown(value: Any) -> str:
    """A value as a recipe would write it, shortened to stay readable."""
    try:
        text = toml_value(value)
    except ValueError:  # Python writes out no whole number of more than 4300 digits
        return "a number too long to show"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def no_such_part(section: str, name: str, names: Sequence[str]) -> str:
    """A phrase for a part that a recipe does not have, with the nearest that it has, or all of them."""
    there = f", there {'is' if len(names) == 1 else 'are'} {', '.join(map(shown, names))}" if names else ""
    return f"no {section} is named {shown(name)}{did_you_mean(name, names) or there}"


def misfit(message: str, *keys: str) -> PydanticCustomError:
    """An error for a validator of a whole table to raise: `message` about the key at `keys` inside it."""
    return PydanticCustomError("misfit", "{message}", {"message": message, "keys": keys})


def keys_of(table: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table, by the names that TOML uses."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def unknown_keys(data: Mapping[str, Any], table: type[BaseModel]) -> list[tuple[Location, str]]:
    """Every key in `data` that `table` does not have, at any depth, with a phrase that names the nearest."""
    return list(_unknown_keys(data, [table], ()))


def _unknown_keys(data: Any, tables: list[type[BaseModel]], location: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(data, list):
        for index, entry in enumerate(data):
            yield from _unknown_keys(entry, tables, (*location, index))
    if not isinstance(data, Mapping) or not tables:
        return
    fields = _fields(tables, data)
    for key, value in data.items():
        if key in fields:
            yield from _unknown_keys(value, _tables_in(fields[key].annotation), (*location, key))
        else:
            yield (*location, key), f"unknown key{_nearest_key(key, fields)}"


def _fields(tables: list[type[BaseModel]], data: Any) -> dict[str, FieldInfo]:
    """The keys of the table that `data.kind` picks; those of all of them where it picks none."""
    kind = data.get("kind") if isinstance(data, Mapping) else None
    picked = [table for table in tables if len(tables) > 1 and table.model_fields["kind"].default == kind]
    return {key: field for table in picked or tables for key, field in keys_of(table).items()}


def _tables_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [table for argument in get_args(annotation) for table in _tables_in(argument)]


def _nearest_key(key: str, fields: Mapping[str, FieldInfo]) -> str:
    for name, field in fields.items():
        if any(key in keys_of(table) for table in _tables_in(field.annotation)):
            return f', did you mean "{name}.{key}"?'
    return did_you_mean(key, fields) or f", valid are {', '.join(fields)}"


def phrases(error: ValidationError, data: Mapping[str, Any], table: type[BaseModel]) -> list[str]:
    """What is wrong with `data` as a `table`, unknown keys first, one phrase each: `PATH: what is wrong`.

    Not repeated is what follows from a misspelt key: that the key which it should have been is missing.
    """
    unknown = unknown_keys(data, table)
    misspelt = {location[:-1] for location, _ in unknown}
    result = [f"{dotted(location, data)}: {phrase}" for location, phrase in unknown]
    for details in error.errors(include_url=False):
        location, field = _place(details, table)
        missing = details["type"] in ("missing", "union_tag_not_found")
        follows = missing and any(location[: len(above)] == above for above in misspelt)
        if follows or details["type"] == "extra_forbidden":
            continue
        location, phrase = _phrase(details, location, field)
        result.append(f"{dotted(location, data)}: {phrase}" if location else phrase)
    return list(dict.fromkeys(result))  # parts that share a name may share a mistake


def dotted(location: Location, data: Mapping[str, Any]) -> str:
    """A place in a recipe as `--set` writes it: `student.2x128.train`, parts by name where they have one."""
    current: Any = data
    path = ""
    for key in location:
        if isinstance(key, str):
            path += ("." if path else "") + toml_key(key)
            current = current.get(key) if isinstance(current, Mapping) else None
            continue
        current = current[key] if isinstance(current, list) else None
        name = current.get("name") if isinstance(current, Mapping) else None
        named = isinstance(name, str) and re.fullmatch(NAME_PATTERN, name)
        path += f".{name}" if named else f"[{key}]"
    return path


def _place(details: ErrorDetails, table: type[BaseModel]) -> tuple[Location, FieldInfo | None]:
    """Where an error is, without the marks that pydantic leaves of the kind of model it tried."""
    tables = [table]
    location: Location = ()
    field = None
    for key in details["loc"]:
        fields = {name: field for table in tables for name, field in keys_of(table).items()}
        if isinstance(key, str) and fields:
            if key not in fields:
                continue
            field = fields[key]
            tables = _tables_in(field.annotation)
        location = (*location, key)
    return location, field


def _phrase(details: ErrorDetails, location: Location, field: FieldInfo | None) -> tuple[Location, str]:
    """Where an error is and what is wrong there."""
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "misfit":
            return (*location, *context["keys"]), context["message"]
        case "value_error":
            return location, str(context["error"])
        case "missing":
            wanted = field.description if field else None
            return location, f"missing, expected {wanted}" if wanted else "missing"
        case "union_tag_not_found":
            return (*location, "kind"), f"missing, expected {_options(_kinds(field))}"
        case "union_tag_invalid":
            return (*location, "kind"), found(value["kind"], _options(_kinds(field)))
        case "literal_error":
            return location, found(value, _options(_literals(field.annotation) if field else ()))
        case "list_type" if field and _tables_in(field.annotation):
            return location, found(value, f"tables, each under its own [[{location[-1]}]]")
        case kind if kind in _EXPECTED:
            return location, found(value, _EXPECTED[kind].format(**context))
        case _:
            return location, f"found {shown(value)}: {details['msg']}"


def _literals(annotation: Any) -> list[str]:
    """The strings that an annotation allows, at any depth."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [literal for argument in get_args(annotation) for literal in _literals(argument)]


def _kinds(field: FieldInfo | None) -> list[str]:
    tables = _tables_in(field.annotation) if field else []
    return [table.model_fields["kind"].default for table in tables]


def _options(options: Sequence[str]) -> str:
    quoted = [f'"{option}"' for option in options]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
