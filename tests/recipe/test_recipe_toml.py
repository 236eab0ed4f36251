from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.recipe import dump_recipe, parse_recipe
from limbeck.recipe.toml import toml_document, toml_key, toml_value

ODD = 'quote " backslash \\ \n\r\t\x00\x1f\x7f\x85\u2028 \U0001d11e é # = [x] \'\'\' """'

text = st.text() | st.text(alphabet=ODD) | st.just(ODD)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


def positive(below: float = 1e300) -> st.SearchStrategy[float]:
    return st.floats(0, below, exclude_min=True, exclude_max=True)


def table(
    required: dict[Any, st.SearchStrategy[Any]], optional: dict[Any, st.SearchStrategy[Any]] | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional or {})


counts = st.integers(1, 2**31 - 1)
widths = st.lists(counts, min_size=1, max_size=4)
models = st.one_of(
    table({"kind": st.just("mlp"), "widths": widths}, optional={"dropout": positive(1.0)}),
    table({"kind": st.just("convnet")}, optional={"hidden": counts}),
)
trains = table(
    {"epochs": counts},
    optional={
        "optimizer": st.sampled_from(["adamw", "sgd"]),
        "learning_rate": positive(),
        "weight_decay": positive(),
        "warmup": positive(1.0),
        "refit": st.booleans(),
    },
)
recipes = table(
    {
        "title": text.filter(lambda title: title.strip() and len(title.splitlines()) == 1),
        "data": table(
            {"source": text.filter(bool), "validation": counts | positive(1.0)},
            optional={"test": positive(1.0)},
        ),
        "teacher": st.one_of(
            table({"name": names, "model": models, "train": trains}),
            table({"name": names, "from": text.filter(bool)}),
        ).map(lambda teacher: [teacher]),
        "student": st.lists(
            table(
                {"name": names, "model": models, "train": trains},
                optional={
                    "distill": table({}, optional={"temperature": positive(), "hard": positive()}),
                    "grid": table(
                        {},
                        optional={
                            "distill.temperature": st.lists(positive(), min_size=1, max_size=3, unique=True),
                            "train.keep": st.just(["last", "best"]),
                        },
                    ),
                    "baseline": st.booleans(),
                },
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda student: student["name"].lower(),
        ),
    },
    optional={
        "about": text,
        "minutes": positive(),
        "transfer": table(
            {"name": names},
            optional={
                "select": st.lists(st.integers(0, 9) | text, min_size=1, unique=True).map(
                    lambda classes: {"without": classes}
                ),
                "views": table({"count": st.integers(1, 10_000), "shift": positive()}),
            },
        ).map(lambda transfer: [transfer]),
    },
)


@settings(max_examples=60, deadline=None)
@given(recipes)
def test_a_recipe_written_and_read_is_equal(data: dict[str, Any]) -> None:
    recipe = parse_recipe(data, "drawn")
    written = dump_recipe(recipe)
    again = parse_recipe(tomllib.loads(written), "written")
    assert again == recipe
    assert dump_recipe(again) == written


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(text, values, max_size=5))
def test_a_document_read_gives_what_was_written(data: dict[str, Any]) -> None:
    assert tomllib.loads(toml_document(data)) == data


@settings(max_examples=60, deadline=None)
@given(values)
def test_a_value_stays_on_one_line(value: Any) -> None:
    assert len(toml_value(value).splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (4.0, "4.0"),
        (1e-05, "1e-05"),
        ('a "b"\n', '"a \\"b\\"\\n"'),
        ([1, "a"], '[1, "a"]'),
        ({"a b": {}, "c": [{"d": 1}]}, '{ "a b" = {}, c = [{ d = 1 }] }'),
    ],
)
def test_values_are_written_as_a_person_would(value: Any, written: str) -> None:
    assert toml_value(value) == written


def test_a_document_has_plain_values_first_and_tables_under_their_headers() -> None:
    data = {"data": {"x": 1}, "title": "T", "part": [{"name": "a", "views": {"n.m": [2]}}, {"name": "b"}]}
    assert toml_document(data) == (
        'title = "T"\n\n[data]\nx = 1\n\n[[part]]\nname = "a"\n\n[part.views]\n"n.m" = [2]\n\n[[part]]\nname = "b"\n'
    )


def test_a_key_is_quoted_only_where_it_must_be() -> None:
    assert [toml_key(key) for key in ("epochs", "2x-1_a", "a.b", "")] == ["epochs", "2x-1_a", '"a.b"', '""']
