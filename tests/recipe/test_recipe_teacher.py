"""What teaches, as a recipe says it: every refusal word for word, and what is written comes back."""

import tomllib

import pytest

from limbeck.errors import UsageError
from limbeck.recipe import GradientBoosting, LightGbm, RandomForest, dump_recipe, parse_recipe

FOREST = {"kind": "random-forest"}
MLP = {"kind": "mlp", "widths": [8]}
TRAIN = {"epochs": 2}
STUDENT = {"name": "small", "teacher": "t", "model": MLP, "train": TRAIN}


def recipe(*teachers, student=STUDENT):
    return {"title": "x", "data": {"source": "digits"}, "teacher": list(teachers), "student": [student]}


def read(*teachers, student=STUDENT):
    return parse_recipe(recipe(*teachers, student=student), "mine.toml")


def problem(*teachers):
    with pytest.raises(UsageError) as error:
        read(*teachers)
    assert error.value.exit_code == 2
    return str(error.value).removeprefix("mine.toml: ")


def one(**keys):
    return problem({"name": "t", **keys})


def test_an_estimator_has_defaults_and_needs_no_train():
    forest, boosting, light = (
        read({"name": "t", "model": {"kind": kind}}).teacher[0]
        for kind in ("random-forest", "gradient-boosting", "lightgbm")
    )
    assert forest.model == RandomForest(trees=300, max_depth=None, min_samples_leaf=1, max_features="sqrt")
    assert boosting.model == GradientBoosting(iterations=200, learning_rate=0.1, leaves=31, min_samples_leaf=20, l2=0.0)
    assert light.model == LightGbm(iterations=200, learning_rate=0.1, leaves=31, min_samples_leaf=20)
    assert {teacher.train for teacher in (forest, boosting, light)} == {None}
    assert {teacher.folds for teacher in (forest, boosting, light)} == {None}


def test_the_defaults_are_those_of_fitting():
    from limbeck.at_once.estimators import DEFAULTS

    for kind, defaults in DEFAULTS.items():
        assert read({"name": "t", "model": {"kind": kind}}).teacher[0].model.model_dump() == {"kind": kind, **defaults}


def test_what_is_written_comes_back():
    given = read(
        {"name": "a", "model": {**FOREST, "trees": 5}, "folds": 3},
        {"name": "b", "from": "x.skops", "trust": ["mine.Type"]},
        {"name": "t", "of": ["a", "b"]},
    )
    assert parse_recipe(tomllib.loads(dump_recipe(given)), "written.toml") == given


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, 'teacher.t: found none of "model", "from", "of" and "student", expected one of them'),
        ({"model": FOREST, "from": "x"}, 'teacher.t: found both of "model" and "from", expected one of them'),
        ({"model": FOREST, "of": ["a", "b"]}, 'teacher.t: found both of "model" and "of", expected one of them'),
        ({"from": "x", "of": ["a", "b"]}, 'teacher.t: found both of "from" and "of", expected one of them'),
    ],
)
def test_a_teacher_has_one_source(keys, message):
    assert one(**keys) == message


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": MLP}, 'teacher.t.train: missing, expected a table: "model" has to be trained'),
        (
            {"model": FOREST, "train": TRAIN},
            "teacher.t.train: a random-forest is fitted at once, expected no train",
        ),
        (
            {"model": {"kind": "sklearn-tree"}, "train": TRAIN},
            "teacher.t.model: a sklearn-tree remembers its rows: it has no soft targets there, take another",
        ),
        (
            {"model": {"kind": "boosted-trees"}, "train": TRAIN},
            "teacher.t.model: a boosted-trees remembers its rows: it has no soft targets there, take another",
        ),
        (
            {"from": "x", "train": TRAIN},
            'teacher.t.train: not with "from", which names a network that is trained already',
        ),
        (
            {"from": "x", "views": {"rotate": 5}},
            'teacher.t.views: not with "from", which names a network that is trained already',
        ),
        (
            {"of": ["a", "b"], "train": TRAIN},
            'teacher.t.train: not with "of", whose teachers are each trained as they say',
        ),
        (
            {"of": ["a", "b"], "views": {"rotate": 5}},
            'teacher.t.views: not with "of", whose teachers are each trained as they say',
        ),
        (
            {"model": FOREST, "views": {"rotate": 5}},
            "teacher.t.views: a random-forest is fitted to the rows as they are, expected no views",
        ),
        (
            {"from": "x", "folds": 3},
            'teacher.t.folds: not with "from": it is fitted already, and cannot be refitted',
        ),
        ({"of": ["a", "b"], "folds": 3}, 'teacher.t.folds: not with "of": each of its teachers has its own'),
        (
            {"model": MLP, "train": TRAIN, "folds": 3, "members": 2, "bootstrap": True},
            "teacher.t.bootstrap: not with folds: what is drawn several times would be in several of them",
        ),
        (
            {"model": FOREST, "trust": ["x.Y"]},
            'teacher.t.trust: expected it with "from" alone: it is about types in a skops file',
        ),
        (
            {"of": ["a", "b"], "trust": ["x.Y"]},
            'teacher.t.trust: expected it with "from" alone: it is about types in a skops file',
        ),
    ],
)
def test_what_a_teacher_does_not_take_is_refused(keys, message):
    assert one(**keys) == message


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": FOREST, "folds": 1}, "teacher.t.folds: found 1, expected 2 or more"),
        ({"model": FOREST, "folds": 101}, "teacher.t.folds: found 101, expected 100 or less"),
        ({"model": FOREST, "folds": 2.5}, "teacher.t.folds: found 2.5, expected a whole number"),
        ({"model": {**FOREST, "trees": 0}}, "teacher.t.model.trees: found 0, expected 1 or more"),
        (
            {"model": {**FOREST, "max_features": "most"}},
            'teacher.t.model.max_features: found "most", expected "sqrt", "log2" or "all"',
        ),
        (
            {"model": {"kind": "gradient-boosting", "leaves": 1}},
            "teacher.t.model.leaves: found 1, expected 2 or more",
        ),
        (
            {"model": {"kind": "lightgbm", "learning_rate": 0}},
            "teacher.t.model.learning_rate: found 0, expected a number above 0",
        ),
        (
            {"model": {"kind": "gradient-boosting", "l2": -1}},
            "teacher.t.model.l2: found -1, expected 0 or more",
        ),
        (
            {"model": {"kind": "lightgbm", "trees": 3}},
            "teacher.t.model.trees: unknown key, valid are kind, iterations, learning_rate, leaves, min_samples_leaf",
        ),
    ],
)
def test_settings_out_of_range_are_refused(keys, message):
    assert one(**keys) == message


# ---------------------------------------------------------------- the mean of several


def test_a_mean_is_of_teachers():
    assert one(of=[]) == "teacher.t.of: found [], expected a list of 1 or more"


def test_a_mean_is_of_every_teacher_once():
    assert one(of=["a", "a"]) == 'teacher.t.of: found ["a", "a"], expected every teacher once'


def test_a_mean_of_a_teacher_that_is_not_there_is_refused_with_the_nearest():
    found = problem(
        {"name": "forest", "model": FOREST}, {"name": "boost", "model": FOREST}, {"name": "t", "of": ["forest", "bost"]}
    )
    assert found == 'teacher.t.of: no teacher is named "bost", did you mean "boost"?'


def test_a_mean_of_a_mean_is_refused():
    found = problem(
        {"name": "a", "model": FOREST},
        {"name": "b", "model": FOREST},
        {"name": "m", "of": ["a", "b"]},
        {"name": "t", "of": ["a", "m"]},
    )
    assert found == 'teacher.t.of: "m" is a mean itself, expected those that it is of'


def test_a_mean_of_itself_is_refused():
    found = problem({"name": "a", "model": FOREST}, {"name": "t", "of": ["a", "t"]})
    assert found == 'teacher.t.of: "t" is a mean itself, expected those that it is of'


# ---------------------------------------------------------------- who is refitted


MEMBERS = ({"name": "a", "model": FOREST}, {"name": "b", "model": MLP, "train": TRAIN}, {"name": "t", "of": ["a", "b"]})
REFIT = {**STUDENT, "train": {"epochs": 2, "refit": True}}


def test_the_teachers_of_a_mean_are_refitted_with_its_students():
    found = read(*MEMBERS, student=REFIT)
    assert [found.teacher_refits(name) for name in ("a", "b", "t")] == [{True}] * 3
    assert [read(*MEMBERS).teacher_refits(name) for name in ("a", "b", "t")] == [{False}] * 3


def test_a_mean_is_refitted_where_one_of_its_teachers_is():
    a, b, t = MEMBERS
    found = read(a, {**b, "train": {"epochs": 2, "refit": True}}, t)
    assert [found.teacher_refits(name) for name in ("a", "b", "t")] == [{True}] * 3
    assert found.teaches_refitted("t")
    assert not found.teaches_refitted("a")


def test_a_teacher_that_teaches_alone_and_in_a_mean_is_both():
    found = parse_recipe(
        {**recipe(*MEMBERS, student=REFIT), "student": [REFIT, {**STUDENT, "name": "other", "teacher": "a"}]}, "x.toml"
    )
    assert [found.teacher_refits(name) for name in ("a", "b", "t")] == [{False, True}, {True}, {True}]
    rows = [row for row in found.rows() if row.role == "teacher"]
    assert [(row.name, row.variant) for row in rows] == [("a", {}), ("a", {"refit": False}), ("b", {}), ("t", {})]
