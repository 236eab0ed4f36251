"""A recipe that asks for what its data do not have: refused before anything is made, with the key that asks."""

import numpy as np
import pytest

from limbeck.data import Reading, load_dataset
from limbeck.errors import LimbeckError, UsageError
from limbeck.plan.planner import Planner
from limbeck.recipe import parse_recipe

MLP = {"kind": "mlp", "widths": [8]}
TRAIN = {"epochs": 2}


@pytest.fixture(scope="module")
def split():
    """Of 1,147 training rows 100 have labels."""
    return load_dataset("digits").split(validation=200, test=0.25, labels=100)


@pytest.fixture
def planned(split):
    """A function: the plan of a recipe whose transfer set has these keys."""

    def plan(split=split, labels=100, teacher=None, **transfer):
        data = {"source": "digits"} if labels is None else {"source": "digits", "labels": labels}
        teacher = {"name": "t", "model": MLP, "train": TRAIN} if teacher is None else {"name": "t", **teacher}
        recipe = {
            "title": "x", "data": data, "teacher": [teacher], "transfer": [{"name": "x", **transfer}],
            "student": [{"name": "small", "model": MLP, "train": TRAIN}],
        }  # fmt: skip
        return Planner(parse_recipe(recipe, "mine.toml"), split, 0)

    return plan


@pytest.fixture
def file(tmp_path):
    """A function: the name of a part that lies in a file with these inputs."""

    def write(inputs):
        np.save(tmp_path / "more.npy", inputs)
        return f"file:{tmp_path / 'more.npy'}"

    return write


def refused(planned, kind=UsageError, **keys):
    with pytest.raises(kind) as error:
        planned(**keys)
    (line,) = str(error.value).splitlines()
    return line


def test_a_part_that_the_data_do_not_have_is_named(planned):
    every = load_dataset("digits").split(validation=200, test=0.25)
    assert refused(planned, split=every, labels=None, parts=["unlabelled"]) == (
        'transfer.x.parts: part "unlabelled" has no rows, for all 1147 training rows have labels: set data.labels, or '
        "leave it out"
    )


def test_a_file_that_is_not_there_is_named_with_the_key(planned, tmp_path):
    message = refused(planned, LimbeckError, parts=["labelled", f"file:{tmp_path}/none.npy"])
    assert message.startswith("transfer.x.parts: ")
    assert f"{tmp_path}/none.npy" in message


def test_a_file_with_other_inputs_is_refused_with_the_key(planned, file):
    message = refused(planned, LimbeckError, parts=[file(np.zeros((5, 9, 9), np.uint8))])
    assert message.startswith("transfer.x.parts: ")
    assert "(9, 9)" in message


@pytest.mark.parametrize(("part", "word"), [("test", "test"), ("validation", "validation")])
def test_a_file_with_a_row_that_is_held_out_is_refused(planned, file, split, part, word):
    name = file(np.concatenate([split.train.inputs[:4], getattr(split, part).inputs[7:8]]))
    assert refused(planned, LimbeckError, parts=["labelled", name]) == (
        f"transfer.x.parts: {name}: 1 of its 5 rows is also a {word} row (row 4): take them out: a student would learn "
        "from what it is measured on"
    )


def test_a_file_may_have_training_rows(planned, file, split):
    planned(parts=["labelled", file(split.train.inputs[:4])])


def test_more_rows_than_all_parts_have_are_refused_with_the_key(planned, file, split):
    keys = {"parts": ["labelled", file(split.train.inputs[:4])], "select": {"rows": 105}}
    assert refused(planned, **keys) == (
        "transfer.x.select: rows = 105 were asked for, but its parts have 104: ask for fewer"
    )


def test_predictions_know_no_rows_of_a_file(planned, file, split, tmp_path):
    # They are known by the data's row ids, which a file without ids of its own would seem to have, too.
    ids, probabilities = np.arange(1797), np.full((1797, 10), 0.1)
    np.savez(tmp_path / "said.npz", ids=ids, probabilities=probabilities)
    part = file(np.flip(split.train.inputs[:300], axis=2))
    plan = planned(teacher={"from": str(tmp_path / "said.npz")}, parts=["labelled", part])
    with pytest.raises(UsageError, match=r"transfer\.x\.parts: teacher t is a file of predictions"):
        plan.students()


def test_a_filter_by_confidence_is_of_no_use_where_all_rows_have_labels(planned):
    every = load_dataset("digits").split(validation=200, test=0.25)
    message = "transfer.x.confidence: all of its rows have labels, expected it with others: it is about rows without"
    assert refused(planned, split=every, labels=None, confidence={"least": 0.5}) == message
    assert refused(planned, parts=["labelled"], confidence={"weight": True}) == message


def test_the_same_file_twice_is_refused(planned, file, tmp_path):
    name = file(np.zeros((5, 8, 8), np.uint8))
    again = name.replace(str(tmp_path), f"{tmp_path}/.")
    assert refused(planned, parts=[name, again]) == (
        f"transfer.x.parts: {name} and {again} are the same rows: leave one of them out"
    )


def test_where_every_row_keeps_its_label_there_is_no_unlabelled_part(split):
    every = load_dataset("digits").split(validation=200, test=0.25, labels=1147)
    recipe = {
        "title": "x", "data": {"source": "digits", "labels": 1147},
        "teacher": [{"name": "t", "model": MLP, "train": TRAIN}],
        "student": [{"name": "small", "model": MLP, "train": TRAIN}],
    }  # fmt: skip
    plan = Planner(parse_recipe(recipe, "mine.toml"), every, 0)
    assert [len(recording.part) for recording in plan.students()[0].trials[0].recordings] == [1147]


def test_labels_are_asked_of_no_transfer_set_that_has_none(split, file):
    name = file(np.zeros((5, 8, 8), np.uint8))
    recipe = {
        "title": "x", "data": {"source": "digits", "labels": 100},
        "teacher": [{"name": "t", "model": MLP, "train": TRAIN}], "transfer": [{"name": "x", "parts": [name]}],
        "student": [{"name": "small", "model": MLP, "train": TRAIN, "distill": {"hard": 1}}],
    }  # fmt: skip
    with pytest.raises(UsageError) as error:
        Planner(parse_recipe(recipe, "mine.toml"), split, 0)
    assert str(error.value) == (
        'student.small.distill.hard: no row of "x" has a label, expected 0, or a part with labels beside'
    )


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"count": 1, "rotate": 10.0}, 'transfer.x.views: views are of images, found texts, expected rows = "words"'),
        (
            {"count": 1, "rows": "munge"},
            'transfer.x.views: rows = "munge" is for tables, found texts, expected rows = "words"',
        ),
    ],
)
def test_views_of_texts_are_refused(planned, tmp_path, views, message):
    rows = [f'{{"text": "number {row}", "label": {row % 2}}}\n' for row in range(40)]
    (tmp_path / "texts.jsonl").write_text("".join(rows))
    split = load_dataset(str(tmp_path / "texts.jsonl"), Reading(label="label")).split(validation=8, test=0.2)
    with pytest.raises(UsageError) as caught:
        planned(split, None, views=views)
    assert str(caught.value) == message
