"""Everything that a run makes has a name in its run.json, and every part of a transfer set the teacher that knows it."""

import json

import pytest

import limbeck
from limbeck.recipe import parse_recipe

NET = {"kind": "mlp", "widths": [16]}
TRAIN = {"epochs": 8, "batch_size": 32, "learning_rate": 5e-3}
REFIT = {**TRAIN, "refit": True}
DATA = {"source": "digits", "validation": 200, "test": 0.25}


def walked(folder, **parts):
    recipe = parse_recipe({"title": "Parts", "data": DATA, **parts}, "parts")
    return limbeck.run(recipe, folder / "run")


def nameless(folder):
    """Artifacts that lie beside the run and that run.json does not name."""
    named = set(json.loads((folder / "run" / "run.json").read_text())["parts"].values())
    made = {path.name for path in (folder / "artifacts").glob("[!.]*/*")}
    return made - named


def test_the_members_that_weights_were_fitted_to_are_named(tmp_path):
    teacher = {"name": "t", "members": 2, "weights": "fitted", "model": NET, "train": REFIT}
    walked(tmp_path, teacher=[teacher], student=[{"name": "s", "model": NET, "train": TRAIN}])
    assert nameless(tmp_path) == set()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A student of the split's rows teaches one that is refitted: its teacher is needed refitted, too."""
    folder = tmp_path_factory.mktemp("chain")
    results = walked(
        folder,
        teacher=[{"name": "t", "members": 2, "model": NET, "train": TRAIN}, {"name": "again", "student": "first"}],
        student=[
            {"name": "first", "teacher": "t", "model": NET, "train": TRAIN},
            {"name": "last", "teacher": "again", "model": NET, "train": REFIT},
        ],
    )
    return folder, results


def test_what_lies_deeper_behind_a_student_that_teaches_is_named(chain):
    assert nameless(chain[0]) == set()


def test_a_part_is_of_the_teacher_that_was_asked_about_it(tmp_path):
    """A teacher that one student learns from refitted, and another not, is two."""
    results = walked(
        tmp_path,
        teacher=[{"name": "t", "model": NET, "train": TRAIN}],
        student=[
            {"name": "one", "model": NET, "train": TRAIN},
            {"name": "two", "model": NET, "train": REFIT},
        ],
    )
    assert [(part["teacher"], part["rows"]) for part in results["parts"]] == [
        ("teacher/t-refit=false", 1147),
        ("teacher/t", 1347),
    ]
