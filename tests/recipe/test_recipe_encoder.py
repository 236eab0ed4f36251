"""Encoders and what they learn from, as a recipe says it: defaults, and every refusal word for word."""

import tomllib

import pytest

from limbeck.errors import UsageError
from limbeck.recipe import dump_recipe, parse_recipe
from limbeck.recipe.settings import Encoder

TEACHER = {"name": "t", "model": {"kind": "encoder", "from": "base"}, "train": {"epochs": 1}}
STUDENT = {"name": "s", "model": {"kind": "encoder"}, "train": {"epochs": 1}}


def read(teacher=TEACHER, student=STUDENT):
    data = {"source": "rows.jsonl", "label": "label", "test": 0.25}
    return parse_recipe({"title": "x", "data": data, "teacher": [teacher], "student": [student]}, "mine.toml")


def problem(**parts):
    with pytest.raises(UsageError) as error:
        read(**parts)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix("mine.toml: ")


def of_model(**keys):
    return problem(student={**STUDENT, "model": {"kind": "encoder", **keys}})


def of_student(**keys):
    return problem(student={**STUDENT, **keys})


def test_what_is_left_out_is_filled_in():
    recipe = read()
    assert recipe.student[0].model == Encoder(
        **{"from": None, "layers": None, "initial": "layers", "architecture": "same", "vocabulary": "all",
           "max_length": None, "dropout": None}
    )  # fmt: skip
    assert recipe.teacher[0].model.from_ == "base"
    assert (recipe.student[0].distill.hidden, recipe.student[0].distill.relations) == (None, None)
    assert recipe.student[0].train.accumulate is None


def test_what_is_written_comes_back():
    model = {"kind": "encoder", "from": "x", "layers": [0, 2], "initial": "random", "architecture": "distilbert",
             "vocabulary": "transfer", "max_length": 32, "dropout": 0.0}  # fmt: skip
    student = {**STUDENT, "model": model, "train": {"epochs": 2, "accumulate": 4}, "distill": {"hidden": 1.0}}
    given = read(student=student)
    assert 'from = "x"' in dump_recipe(given)
    assert parse_recipe(tomllib.loads(dump_recipe(given)), "written.toml") == given


@pytest.mark.parametrize("layers", [1, 6, [0], [0, 2, 5]])
def test_layers_are_a_count_or_numbers(layers):
    assert read(student={**STUDENT, "model": {"kind": "encoder", "layers": layers}}).student[0].model.layers == layers


@pytest.mark.parametrize("layers", [[], [2, 1], [1, 1], [-1], [0, 1.5], [True], 0, 2.5, True])
def test_layers_are_no_less_and_their_numbers_rise(layers):
    shown = str(layers).replace("True", "true")
    assert of_model(layers=layers) == (
        f"student.s.model.layers: found {shown}, expected how many layers (1 or more), or numbers of layers from 0 in "
        "rising order: [0, 2, 4]"
    )


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"initial": "copied"}, "student.s.model.initial"),
        ({"architecture": "roberta"}, "student.s.model.architecture"),
        ({"vocabulary": 1000}, "student.s.model.vocabulary"),
        ({"max_length": 3}, "student.s.model.max_length"),
        ({"dropout": 1.0}, "student.s.model.dropout"),
        ({"from": ""}, "student.s.model.from"),
        ({"layer": 2}, "student.s.model.layer"),
    ],
)
def test_a_setting_out_of_range_is_named(keys, where):
    assert of_model(**keys).startswith(f"{where}: ")


def test_a_teacher_says_what_it_begins_with():
    assert problem(teacher={**TEACHER, "model": {"kind": "encoder"}}) == (
        'teacher.t.model.from: missing, expected a model to begin with: a folder, a name on the hub, or "minilm"'
    )


@pytest.mark.parametrize("key", ["hidden", "relations"])
def test_states_are_of_encoders_alone(key):
    mlp = {"kind": "mlp", "widths": [4]}
    assert of_student(model=mlp, distill={key: 1.0}) == (
        f'student.s.distill.{key}: a model of kind "mlp" has no such states, expected it with an encoder'
    )
    assert "has no such states" in of_student(model=mlp, sweep={f"distill.{key}": [0.5, 1.0]})
    assert of_student(distill={key: 0.0}).startswith(f"student.s.distill.{key}: ")


@pytest.mark.parametrize("key", ["hidden", "relations"])
def test_states_may_be_all_that_is_learnt(key):
    assert read(student={**STUDENT, "distill": {"soft": 0, key: 1}}).student[0].distill.soft == 0


def test_what_is_fitted_at_once_accumulates_nothing():
    tree = {"kind": "sklearn-tree"}
    assert "a sklearn-tree is fitted at once" in of_student(model=tree, train={"epochs": 1, "accumulate": 2})
    assert of_student(train={"epochs": 1, "accumulate": 0}).startswith("student.s.train.accumulate: ")


def test_a_grid_may_try_an_encoder_s_settings():
    student = {**STUDENT, "grid": {"model.layers": [2, 3], "distill.hidden": [0.5, 1.0]}}
    assert len(read(student=student).student[0].trials()) == 4
