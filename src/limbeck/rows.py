"""What a row of results.json is called: in words, and as the name of its files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

NUMBERS = (
    "errors", "accuracy", "nll", "ece", "agreement", "gap_recovered", "p_value", "parameters", "bytes", "multiply_adds",
    "latency_ms", "examples_per_second", "train_seconds", "trials",
)  # fmt: skip
"""The fields of a row of results.json that are numbers."""

ERRORS_ON = "errors_on_"
HIGHER_IS_BETTER = {"accuracy", "agreement", "gap_recovered", "examples_per_second"}
OF_REGRESSIONS = ("loss", "excess_loss", "steps")
OF_TREES = ("levels", "leaves", "validation_changed")
METRICS = ("validation_errors", "errors_above_fewest", "bias_raised", *OF_TREES, *OF_REGRESSIONS)
"""The metrics, by name, that some rows have; beside them `ERRORS_ON`, with a class."""

_OF_CLASSES = ("without", "only")
_MOST_NAMED = 8  # of a list of classes, in words
_LONGEST = 160  # characters of a row's name, which becomes that of a file


def is_number(show: str) -> bool:
    """Whether a row may have a number of this name; what else a claim shows is a setting."""
    return show in (*NUMBERS, *METRICS) or show.startswith(ERRORS_ON)


def model_id(role: str, name: str, variant: Mapping[str, Any]) -> str:
    """ROLE/NAME[-KEY=VALUE,…], keys sorted: the row's name in predictions/ and models/.

    What no file can be called is cut to length, its odd characters made `_`, and told apart by the start of a
    SHA-256.
    """
    shown = ",".join(f"{key}={plain_value(variant[key], '+')}" for key in sorted(variant))
    return f"{role}/{plain(f'{name}-{shown}' if shown else name)}"


def plain(name: str) -> str:
    """A name that a file can have, cut to length; one that differs from what was given has the start of a SHA-256."""
    found = re.sub(r"[^A-Za-z0-9._,=+-]", "_", name)[:_LONGEST]
    return found if found == name else f"{found}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def kinds_of(name: str) -> tuple[str, ...]:
    """The kinds of artifact that a name may be for, the likeliest first.

    Baselines and references are students, too, but for the members of an ensemble; and a student can teach.
    """
    role = name.partition("/")[0]
    return {"baseline": ("student",), "reference": ("student", "teacher"), "teacher": ("teacher", "student")}.get(
        role, (role,)
    )


def row_id(row: Row) -> str:
    """The `model_id` of a row."""
    return model_id(row["role"], row["name"], row["variant"] or {})


def settings_text(row: Row) -> str:
    """What tells the row apart, and what was chosen for it: `temperature 2, without 3; chosen: learning_rate 0.004`."""
    variant = variant_text(row["variant"] or {})
    # A chosen temperature is in the variant already.
    chosen = {path.rpartition(".")[2]: value for path, value in (row.get("chosen") or {}).items()}
    also = variant_text({key: value for key, value in chosen.items() if key not in (row["variant"] or {})})
    return "; ".join(part for part in (variant, f"chosen: {also}" if also else "") if part)


def row_label(row: Row) -> str:
    """The row's name, with what `settings_text` says in brackets."""
    settings = settings_text(row)
    return f"{row['name']} ({settings})" if settings else str(row["name"])


def variant_text(variant: Mapping[str, Any]) -> str:
    """{"temperature": 4, "without": [3]} -> temperature 4, without 3; keys sorted, as in results.json."""
    return ", ".join(f"{key} {_shortened(variant[key])}" for key in sorted(variant))


def plain_value(value: Any, between: str = " and ") -> str:
    """A setting's value in words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.15g}"
    return between.join(str(item) for item in value) if isinstance(value, list) else str(value)


def _shortened(value: Any) -> str:
    """A setting's value in words, a long list by its beginning: `0, 1, 2 and 42 more`."""
    if not isinstance(value, list) or len(value) <= _MOST_NAMED:
        return plain_value(value)
    return f"{', '.join(map(str, value[:3]))} and {len(value) - 3} more"


def fits(role: str, name: str, variant: Mapping[str, Any], selector: Mapping[str, Any]) -> bool:
    """Whether a row is one that a claim is about: by role (student, if none is given), name, and its variant."""
    wanted = {"role": "student", **selector}
    row = {**variant, "role": role, "name": name}
    return all(key in row and _alike(key, row[key], value) for key, value in wanted.items())


def _alike(key: str, one: Any, other: Any) -> bool:
    """Whether two values of a setting are the same: classes in any order, as numbers or as words."""
    if key in _OF_CLASSES and isinstance(one, list) and isinstance(other, list):
        return sorted(map(str, one)) == sorted(map(str, other))
    return bool(one == other)
