"""Means of students that teach, and means that are given: opened, damaged, told apart."""

import json
import shutil

import numpy as np
import pytest

import limbeck
from limbeck.errors import LimbeckError
from limbeck.inspection.verification import verify
from limbeck.models.opening import open_model
from limbeck.recipe import parse_recipe
from limbeck.road import Road, run_split
from limbeck.training import predict_log_probs

NET = {"kind": "mlp", "widths": [16]}
TRAIN = {"epochs": 2, "batch_size": 64, "learning_rate": 1e-2}
DATA = {"source": "digits", "validation": 200, "test": 0.3}


def parsed(**parts):
    return parse_recipe({"title": "Open", "data": DATA, **parts}, "open")


@pytest.fixture(scope="module")
def generations(tmp_path_factory):
    out = tmp_path_factory.mktemp("generations") / "run"
    limbeck.run(
        parsed(
            teacher=[
                {"name": "first", "model": NET, "train": TRAIN},
                {"name": "second", "student": "again"},
                {"name": "both", "of": ["first", "second"]},
            ],
            student=[
                {"name": "again", "teacher": "first", "model": NET, "train": TRAIN},
                {"name": "small", "teacher": "both", "model": NET, "train": TRAIN},
            ],
        ),
        out,
    )
    return out


def test_a_mean_with_a_student_among_its_members_can_be_opened(generations):
    from limbeck.files import read_tensors

    shown = read_tensors(generations / "predictions/teacher/both.safetensors")[0]["log_probs"]
    saved = open_model(generations / "models" / "teacher" / "both")[0]
    again = predict_log_probs(saved, run_split(generations).test.inputs)
    np.testing.assert_allclose(np.exp(again), np.exp(shown), atol=1e-6)


def test_the_damage_of_a_student_that_teaches_is_found_behind_the_mean(generations, tmp_path):
    shutil.copytree(generations.parent, tmp_path / "runs", symlinks=True)
    mean = tmp_path / "runs/run/models/teacher/both"
    weights = (tmp_path / "runs/run/models/teacher/second/model.safetensors").resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert [damage.path.name for damage in verify(mean)] == ["model.safetensors"]


def test_means_that_are_given_with_other_weights_teach_other_students(tmp_path):
    members = [{"name": "e", "members": 2, "model": NET, "train": TRAIN}]
    student = [{"name": "small", "model": NET, "train": TRAIN}]
    keys = set()
    for number, weights in enumerate(("equal", [1.0, 9.0])):
        out = tmp_path / "runs" / f"made-{number}"
        limbeck.run(parsed(teacher=[{**members[0], "weights": weights}], student=student), out)
        given = parsed(teacher=[{"name": "g", "from": str(out / "models/teacher/e")}], student=student)
        keys.add(Road.open(given, tmp_path / "runs" / f"given-{number}").planner.students()[0].trials[0].identity.key)
    assert len(keys) == 2


def test_a_given_teacher_whose_classes_come_in_another_order_is_named_by_its_recipe(generations, tmp_path):
    given = tmp_path / "turned"
    shutil.copytree((generations / "models/teacher/first").resolve(), given)
    (given / "SHA256SUMS").unlink()
    described = json.loads((given / "model.json").read_bytes())
    described["classes"] = described["classes"][::-1]
    del described["identity"]
    (given / "model.json").write_text(json.dumps(described))
    recipe = parsed(
        teacher=[
            {"name": "net", "model": NET, "train": TRAIN},
            {"name": "turned", "from": str(given)},
            {"name": "both", "of": ["net", "turned"]},
        ],
        student=[{"name": "small", "teacher": "both", "model": NET, "train": TRAIN}],
    )
    with pytest.raises(LimbeckError, match=r"teacher\.turned\.from: .* has the classes 9, 8, 7"):
        Road.open(recipe, tmp_path / "runs" / "run")
