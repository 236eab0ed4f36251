from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limbeck.errors import UsageError, did_you_mean
from limbeck.recipe import (
    Convnet,
    Mlp,
    Recipe,
    dump_recipe,
    load_recipe,
    parse_recipe,
    read_recipe,
    recipe_name,
)
from limbeck.recipes import bundled_recipes

SMALL = """
title = "Small"
[data]
source = "digits"
[[teacher]]
name = "convnet"
model = { kind = "convnet" }
train = { epochs = 3 }
[[student]]
name = "2x16"
model = { kind = "mlp", widths = [16, 16] }
train = { epochs = 5 }
"""


def small(**changes: Any) -> dict[str, Any]:
    """SMALL's data; `changes` go into its student."""
    data = tomllib.loads(SMALL)
    data["student"][0].update(changes)
    return data


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Put a value at a path in which list entries are numbers."""
    table: Any = data
    *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in keys:
        table = table[key]
    table[last] = value
    return data


def problem(data: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as error:
        parse_recipe(data, "mine.toml")
    assert error.value.exit_code == 2
    return str(error.value).removeprefix("mine.toml: ")


def test_what_is_left_out_is_filled_in() -> None:
    recipe = parse_recipe(small(), "mine.toml")
    assert recipe.data.validation == 0.1
    assert recipe.teacher[0].model == Convnet(widths=[32, 64, 128], hidden=192, dropout=0.25)
    assert [(transfer.name, transfer.parts) for transfer in recipe.transfer] == [("train", ["train"])]
    assert recipe.transfer[0].views.count == 0
    student = recipe.student[0]
    assert (student.teacher, student.transfer, student.baseline) == ("convnet", "train", True)
    assert student.model == Mlp(widths=[16, 16], dropout=0.0)
    assert (student.distill.loss, student.distill.temperature) == ("soft_targets", 4.0)
    assert (student.distill.soft, student.distill.hard) == (1.0, 0.0)
    assert student.train.model_dump() == {
        "epochs": 5,
        "passes": None,
        "accumulate": None,
        "batch_size": 128,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "schedule": "cosine",
        "keep": "best",
        "precision": "auto",
        "refit": False,
        "snapshot_every": None,
    }


def test_a_whole_number_will_do_for_a_fraction_but_not_the_other_way_round() -> None:
    recipe = parse_recipe(small(distill={"temperature": 2}), "mine.toml")
    assert isinstance(recipe.student[0].distill.temperature, float)
    data = small(train={"epochs": 5.0})
    assert problem(data) == "student.2x16.train.epochs: found 5.0, expected a whole number"


def test_a_recipe_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse_recipe(small(), "mine.toml").student[0].distill.temperature = 3


@pytest.mark.parametrize(
    ("path", "key", "message"),
    [
        ("student/0", "trian", 'student.2x16.trian: unknown key, did you mean "train"?'),
        (
            "student/0",
            "temperature",
            'student.2x16.temperature: unknown key, did you mean "distill.temperature"?',
        ),
        (
            "student/0/model",
            "hidden",
            "student.2x16.model.hidden: unknown key, valid are kind, widths, dropout, input_dropout, max_norm",
        ),
        ("teacher/0/model", "hiden", 'teacher.convnet.model.hiden: unknown key, did you mean "hidden"?'),
        ("teacher/0", "from_", 'teacher.convnet.from_: unknown key, did you mean "from"?'),
        (
            "teacher/0",
            "copies",
            "teacher.convnet.copies: unknown key, valid are name, model, from, of, student, members, bootstrap, "
            "member_name, mean, weights, train, views, folds, trust",
        ),
        ("data", "Validaton", 'data.Validaton: unknown key, did you mean "validation"?'),
        (
            "data",
            "a b",
            'data."a b": unknown key, valid are source, label, id, text, ignore, numeric, categorical, size, mode, skip_damaged, validation, test, labels, split_seed',
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(path: str, key: str, message: str) -> None:
    assert problem(put(small(), f"{path}/{key}", 1)) == message


def test_unknown_keys_come_first_and_everything_is_on_one_line() -> None:
    data = small(trian={"epochs": 5}, distill={"temperature": "hot", "sfot": 1})
    del data["student"][0]["train"]
    data["data"]["validation"] = 0
    data["studnet"] = []
    assert problem(data) == (
        'student.2x16.trian: unknown key, did you mean "train"?; '
        'student.2x16.distill.sfot: unknown key, did you mean "soft"?; '
        'studnet: unknown key, did you mean "student"?; '
        "data.validation: found 0, expected rows (1 or more) or a fraction of them (between 0 and 1); "
        'student.2x16.distill.temperature: found "hot", expected a number'
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("student/0/bias", ["test", "test"], 'student.2x16.bias: found ["test", "test"], expected every value once'),
        (
            "student/0/variant",
            ["epochs"] * 2,
            'student.2x16.variant: found ["epochs", "epochs"], expected every value once',
        ),
        ("title", "two\nlines", 'title: found "two\\nlines", expected one line of text'),
        ("title", 3, "title: found 3, expected a string"),
        ("minutes", -1, "minutes: found -1, expected 0 or more"),
        ("data", "digits", 'data: found "digits", expected a table'),
        ("data/source", "", 'data.source: found "", expected a string that is not empty'),
        *(
            (
                "data/test",
                test,
                f"data.test: found {shown}, expected a fraction (between 0 and 1), or a file of test {end}",
            )
            for test, shown, end in (
                (1, "1", 'rows ("file:PATH")'),
                (1.5, "1.5", 'rows ("file:PATH")'),
                ("test.csv", '"test.csv"', 'rows ("file:PATH")'),
                ("file:", '"file:"', 'rows ("file:PATH")'),
            )
        ),
        ("teacher", {}, "teacher: found {}, expected tables, each under its own [[teacher]]"),
        (
            "teacher/0/model/kind",
            "convent",
            'teacher.convnet.model.kind: found "convent", expected "mlp", "convnet", "soft-tree", '
            '"sklearn-tree", "boosted-trees", "encoder", "random-forest", "gradient-boosting" or "lightgbm"',
        ),
        (
            "teacher/0/model/widths",
            [8, 8],
            "teacher.convnet.model.widths: found [8, 8], expected a list of 3 or more",
        ),
        ("student/0", "2x16", 'student[0]: found "2x16", expected a table'),
        (
            "student/0/name",
            "../x",
            'student[0].name: found "../x", expected a name of letters, digits, ".", "_" and "-", '
            "the first a letter or a digit",
        ),
        ("student/0/baseline", "no", 'student.2x16.baseline: found "no", expected true or false'),
        (
            "student/0/model",
            {"widths": [2]},
            'student.2x16.model.kind: missing, expected "mlp", "convnet", "soft-tree", "sklearn-tree", '
            '"boosted-trees" or "encoder"',
        ),
        ("student/0/model/widths", 16, "student.2x16.model.widths: found 16, expected a list"),
        ("student/0/model/widths/1", 0, "student.2x16.model.widths[1]: found 0, expected 1 or more"),
        ("student/0/model/dropout", 1, "student.2x16.model.dropout: found 1, expected a number below 1"),
        ("student/0/train/epochs", True, "student.2x16.train.epochs: found true, expected a whole number"),
        (
            "student/0/train/learning_rate",
            "1e-3",
            'student.2x16.train.learning_rate: found "1e-3", expected a number',
        ),
        (
            "student/0/train/learning_rate",
            float("inf"),
            "student.2x16.train.learning_rate: found inf, expected a finite number",
        ),
        ("student/0/train/keep", "bst", 'student.2x16.train.keep: found "bst", expected "best" or "last"'),
        (
            "student/0/train/precision",
            16,
            'student.2x16.train.precision: found 16, expected "auto", "float32" or "bfloat16"',
        ),
        (
            "student/0/distill",
            {"temperature": 0},
            "student.2x16.distill.temperature: found 0, expected a number above 0",
        ),
        (
            "student/0/distill",
            {"soft": 0},
            'student.2x16.distill: found "soft" and "hard" both 0, expected one of them above 0',
        ),
        (
            "transfer",
            [{"name": "more", "parts": ["trian"]}],
            'transfer.more.parts: no part is named "trian", did you mean "train"?',
        ),
        (
            "transfer",
            [{"name": "v", "views": {"count": 4}}],
            "transfer.v.views: found 4 views with rotate, scale, shear, shift and jitter all 0, expected one of them "
            "above 0: the views would be copies",
        ),
        (
            "transfer",
            [{"name": "v", "views": {"count": 10_001, "shift": 1}}],
            "transfer.v.views.count: found 10001, expected 10000 or less",
        ),
        (
            "transfer",
            [{"name": "v", "select": {"without": [3], "only": ["4"]}}],
            'transfer.v.select: found both of "without" and "only", expected one of them',
        ),
        (
            "transfer",
            [{"name": "v", "select": {"without": [True]}}],
            "transfer.v.select.without[0]: found true, expected a class by number or by name",
        ),
        (
            "about",
            ["long"] * 50,
            'about: found ["long", "long", "long", "long", "long", "long", "long", "l…, expected a string',
        ),
    ],
)
def test_a_value_that_does_not_fit_is_shown_with_what_is_expected(path: str, value: Any, message: str) -> None:
    assert problem(put(small(), path, value)) == message


@pytest.mark.parametrize("validation", [True, 0, 1.0, 0.0, -5, "5000", [5000], None, float("nan")])
def test_validation_is_some_rows_or_a_fraction(validation: object) -> None:
    message = problem(put(small(), "data/validation", validation))
    assert message.endswith("expected rows (1 or more) or a fraction of them (between 0 and 1)")


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({}, 'teacher.t: found none of "model", "from", "of" and "student", expected one of them'),
        (
            {"model": {"kind": "convnet"}, "from": "runs/x"},
            'teacher.t: found both of "model" and "from", expected one of them',
        ),
        (
            {"model": {"kind": "convnet"}},
            'teacher.t.train: missing, expected a table: "model" has to be trained',
        ),
        (
            {"from": "runs/x", "train": {"epochs": 3}},
            'teacher.t.train: not with "from", which names a network that is trained already',
        ),
        (
            {"from": "runs/x", "views": {"shift": 1}},
            'teacher.t.views: not with "from", which names a network that is trained already',
        ),
    ],
)
def test_a_teacher_is_trained_or_given(teacher: dict[str, Any], message: str) -> None:
    assert problem(small() | {"teacher": [{"name": "t", **teacher}]}) == message


def test_a_teacher_may_be_given_by_path() -> None:
    recipe = parse_recipe(small() | {"teacher": [{"name": "t", "from": "runs/x"}]}, "mine.toml")
    assert (recipe.teacher[0].from_, recipe.teacher[0].train) == ("runs/x", None)


def test_what_is_missing_is_described() -> None:
    assert problem({}) == (
        "title: missing, expected one line of text; "
        "data: missing, expected a table; "
        "teacher: missing, expected at least one [[teacher]]; "
        "student: missing, expected at least one [[student]]"
    )


def test_with_two_teachers_a_student_has_to_say_which() -> None:
    data = small()
    data["teacher"].append(data["teacher"][0] | {"name": "other"})
    assert problem(data) == "student.2x16.teacher: missing, expected the name of one of the teachers"
    assert parse_recipe(put(data, "student/0/teacher", "other"), "").student[0].teacher == "other"


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (
            {"teacher": "convent"},
            'student.2x16.teacher: no teacher is named "convent", did you mean "convnet"?',
        ),
        ({"transfer": "views"}, 'student.2x16.transfer: no transfer is named "views", there is "train"'),
        (
            {"teacher": "x", "transfer": "y"},
            'student.2x16.teacher: no teacher is named "x", there is "convnet"; '
            'student.2x16.transfer: no transfer is named "y", there is "train"',
        ),
    ],
)
def test_a_reference_to_no_part_names_what_there_is(student: dict[str, Any], message: str) -> None:
    assert problem(small(**student)) == message


def test_names_are_unique_even_where_a_file_system_ignores_capitals() -> None:
    data = small()
    data["student"].append(data["student"][0] | {"name": "2X16"})
    assert problem(data) == (
        'student.2X16: found the names "2x16" and "2X16", expected a difference in more than capitals'
    )
    data["student"][1]["name"] = "2x16"
    assert problem(data) == (
        "student.2x16: found two rows student 2x16 (temperature 4), expected every one once: give one another name, or "
        'name in its "variant" what tells it apart, such as ["epochs"]'
    )


def test_a_grid_gives_every_combination_as_students_without_one() -> None:
    grid = {"distill.temperature": [1, 2], "model.widths": [[8], [16, 16]], "train.epochs": [7]}
    student = parse_recipe(small(grid=grid), "mine.toml").student[0]
    trials = student.trials()
    assert [(t.distill.temperature, t.model.widths, t.train.epochs) for t in trials] == [
        (1.0, [8], 7),
        (1.0, [16, 16], 7),
        (2.0, [8], 7),
        (2.0, [16, 16], 7),
    ]
    assert all(trial.grid is None and trial.name == "2x16" for trial in trials)
    assert student.train.epochs == 5


def test_without_a_grid_the_student_is_the_only_trial() -> None:
    student = parse_recipe(small(), "mine.toml").student[0]
    assert student.trials() == [student]
    assert parse_recipe(small(grid={}), "mine.toml").student[0].trials() == [student]


def test_values_of_a_grid_that_only_fit_together_are_accepted() -> None:
    student = parse_recipe(small(grid={"distill.soft": [0], "distill.hard": [0.5, 1]}), "").student[0]
    assert [trial.distill.hard for trial in student.trials()] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            {"distill.temprature": [1]},
            '."distill.temprature": no such setting, did you mean "distill.temperature"?',
        ),
        ({"temperature": [1]}, '.temperature: no such setting, did you mean "distill.temperature"?'),
        (
            {"lr": [1]},
            '.lr: no such setting, expected a setting of distill, train, model, such as "distill.temperature"',
        ),
        ({"distill.temperature": 3}, '."distill.temperature": found 3, expected a list'),
        ({"distill.temperature": []}, '."distill.temperature": found [], expected at least one value'),
        (
            {"distill.temperature": [1, 1.0]},
            '."distill.temperature": found [1, 1.0], expected every value once',
        ),
        ({"distill.temperature": [1, 0]}, ": distill.temperature: found 0, expected a number above 0"),
        ({"model.widths": [[8], [0]]}, ": model.widths[0]: found 0, expected 1 or more"),
        (
            {"distill.soft": [0, 1]},
            ': distill: found "soft" and "hard" both 0, expected one of them above 0',
        ),
        (
            {"train.epochs": list(range(1, 60)), "train.batch_size": list(range(1, 60))},
            ": found more than 1000 combinations: each would be trained",
        ),
    ],
)
def test_a_grid_is_checked_before_anything_is_trained(grid: dict[str, Any], message: str) -> None:
    assert problem(small(grid=grid)) == f"student.2x16.grid{message}"


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_a_bundled_recipe_loads_and_is_the_same_when_written_and_read(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.data.source == name
    assert recipe.minutes is not None
    assert parse_recipe(tomllib.loads(dump_recipe(recipe)), name) == recipe


def test_the_bundled_recipes_are_listed() -> None:
    assert bundled_recipes() == [
        "born-again",
        "diamonds",
        "digits",
        "encoder",
        "encoder-ablation",
        "ensemble",
        "few-labels",
        "hinton2015",
        "letters",
        "mnist",
        "reviews",
        "similarity",
        "small-at-once",
        "soft-tree",
        "synthetic",
        "your-own",
    ]


def test_the_rows_of_the_mnist_recipe_have_their_names() -> None:
    recipe = load_recipe("mnist")
    assert [student.name for student in recipe.student] == ["2x128", "2x30"]
    assert [student.model.widths for student in recipe.student] == [[128, 128], [30, 30]]
    assert recipe.transfer[0].views.count >= 6


def test_a_recipe_may_be_a_file_and_be_changed_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())  # with the mark that Windows editors put in front
    assert load_recipe(path) == load_recipe(str(path)) == parse_recipe(small(), "")
    assert load_recipe(path, ["student.*.train.epochs=9"]).student[0].train.epochs == 9
    assert recipe_name(path) == "mine"
    assert recipe_name("mnist") == "mnist"


def test_an_unknown_recipe_is_answered_with_the_nearest_and_all_there_are() -> None:
    for name, nearest in (("mnits", ', did you mean "mnist"'), ("what", "")):
        with pytest.raises(UsageError) as error:
            load_recipe(name)
        assert str(error.value) == (
            f'no recipe is named "{name}"{nearest}: there are {", ".join(bundled_recipes())}; '
            "your own is given by the path of its .toml file"
        )


def test_a_file_that_is_no_recipe_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    cases = {
        b"about = 3\nminutes 3\n": "not valid TOML: Expected '=' after a key in a key/value pair (at line 2, column 9)",
        b'title = "x"\nabout = "\xe9"\n': "not UTF-8: found the byte 0xe9 in line 2, save the file as UTF-8",
        b"title = " + b"[" * 20000: "not valid TOML: nested too deeply",
    }
    for content, message in cases.items():
        path.write_bytes(content)
        with pytest.raises(UsageError) as error:
            read_recipe(path)
        assert str(error.value) == f"{path}: {message}"
    path.write_bytes(b"minutes = 1" + b"0" * 5000)
    with pytest.raises(UsageError, match="not valid TOML: "):
        read_recipe(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        load_recipe(tmp_path / "none.toml")
    assert str(error.value) == f"{tmp_path / 'none.toml'}: no such file, expected a recipe's .toml file"
    with pytest.raises(UsageError) as error:
        load_recipe(tmp_path)
    assert str(error.value) == f"{tmp_path}: cannot be read as a recipe's .toml file: Is a directory"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inside for place in places(below, (*path, key)))]


PLACES = places(small(grid={"distill.temperature": [1, 2]}, distill={"soft": 1.0}))[1:]


@settings(deadline=None)
@given(st.sampled_from(PLACES), anything)
def test_whatever_stands_in_a_recipe_the_answer_is_a_recipe_or_one_line(place: tuple[Any, ...], value: Any) -> None:
    data: Any = small(grid={"distill.temperature": [1, 2]}, distill={"soft": 1.0})
    table = data
    for key in place[:-1]:
        table = table[key]
    table[place[-1]] = value
    before = repr(data)
    message = ""
    try:
        assert isinstance(parse_recipe(data, "mine.toml"), Recipe)
    except UsageError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
    assert "pydantic" not in message
    assert repr(data) == before


def test_the_nearest_word_is_suggested_whatever_its_capitals() -> None:
    assert did_you_mean("trian", ["name", "train"]) == ', did you mean "train"?'
    assert did_you_mean("MNIST", ["digits", "mnist"]) == ', did you mean "mnist"?'
    assert did_you_mean("zebra", ["digits", "mnist"]) == ""
    assert did_you_mean("x", []) == ""


def test_a_recipe_is_checked_without_loading_torch() -> None:
    heavy = "{'torch', 'numpy', 'matplotlib'}"
    code = f"import sys, limbeck.recipe; limbeck.recipe.load_recipe('mnist'); print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
