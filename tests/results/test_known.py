"""What the results say of ensembles, and of what teachers know of the parts of their transfer sets."""

import json

import numpy as np
import pytest

import limbeck
from limbeck.ensembles import ensemble_facts
from limbeck.files import read_tensors
from limbeck.recipe import parse_recipe
from limbeck.results.known import known_ensembles, known_parts
from limbeck.road import Road

NET = {"kind": "mlp", "widths": [16]}
TRAIN = {"epochs": 8, "batch_size": 32, "learning_rate": 1e-2}
DATA = {"source": "digits", "validation": 200, "test": 0.3, "labels": 100}
ENSEMBLE = {"name": "e", "member_name": "one", "members": 3, "mean": "logits", "weights": [2.0, 1.0, 1.0]}


def parsed(**parts):
    given = {"data": DATA, "teacher": [{**ENSEMBLE, "model": NET, "train": TRAIN}], **parts}
    return parse_recipe({"title": "Known", **given}, "known")


def student(**parts):
    return {"name": "s", "model": NET, "train": TRAIN, **parts}


@pytest.fixture(scope="module")
def recipe():
    """Two students of an ensemble on one transfer set, one of its first two members, and one on another set."""
    return parsed(
        transfer=[{"name": "all"}, {"name": "sure", "confidence": {"least": 0.3}}],
        student=[
            student(teacher="e", transfer="all"),
            student(name="t", teacher="e", transfer="all"),
            student(name="two", teacher="e", transfer="all", distill={"members": 2}),
            student(name="sure", teacher="e", transfer="sure"),
        ],
    )


@pytest.fixture(scope="module")
def done(recipe, tmp_path_factory):
    """Where the run of that recipe lies, and what it said."""
    out = tmp_path_factory.mktemp("known") / "run"
    return out, limbeck.run(recipe, out)


@pytest.fixture
def road(recipe, done):
    return Road.open(recipe, done[0])


def predictions(out, name):
    return read_tensors(out / "predictions" / f"{name}.safetensors")[0]["log_probs"]


def test_every_ensemble_is_known_by_its_row_with_its_members_rows_mean_and_weights(done):
    out, results = done
    ensembles = results["ensembles"]
    assert list(ensembles) == ["teacher/e", "teacher/e-members=2"]
    assert ensembles["teacher/e"]["rows"] == [f"reference/one-member={number}" for number in (1, 2, 3)]
    assert ensembles["teacher/e-members=2"]["rows"] == [f"reference/one-member={number}" for number in (1, 2)]
    assert [of["mean"] for of in ensembles.values()] == ["logits"] * 2
    assert ensembles["teacher/e"]["weights"] == [0.5, 0.25, 0.25]
    assert ensembles["teacher/e-members=2"]["weights"] == pytest.approx([2 / 3, 1 / 3])
    assert [of["fitted"] for of in ensembles.values()] == [None, None]
    assert json.loads((out / "results.json").read_bytes())["ensembles"] == ensembles


def test_the_facts_are_those_of_the_predictions_for_test_rows(done, road):
    out, results = done
    of = results["ensembles"]["teacher/e"]
    said = [predictions(out, row) for row in of["rows"]]
    expected = ensemble_facts(said, predictions(out, "teacher/e"), road.split.test.labels, [0.5, 0.25, 0.25], "logits")
    assert {name: of[name] for name in expected} == expected


def test_an_ensemble_of_which_a_member_has_no_row_is_left_out(done, road):
    out, _ = done
    stages = [*road.planner.members(), *road.planner.teachers()]
    rows = {stage.id: predictions(out, stage.id) for stage in stages}
    del rows["reference/one-member=3"]
    found = known_ensembles(stages, rows, road.split.test.labels, road.workshop)
    assert list(found) == ["teacher/e-members=2"]


def test_an_ensemble_that_cannot_be_measured_is_left_out(done, road):
    out, _ = done
    stages = [*road.planner.members(), *road.planner.teachers()]
    rows = {stage.id: predictions(out, stage.id) for stage in stages if stage.id != "teacher/e"}
    assert list(known_ensembles(stages, rows, road.split.test.labels, road.workshop)) == ["teacher/e-members=2"]


def test_a_part_is_told_once_for_each_transfer_set_and_teacher(done):
    found = [(one["transfer"], one["part"], one["teacher"], one["rows"]) for one in done[1]["parts"]]
    assert found == [
        ("all", "labelled", "teacher/e", 100),
        ("all", "unlabelled", "teacher/e", 957),
        ("all", "labelled", "teacher/e-members=2", 100),
        ("all", "unlabelled", "teacher/e-members=2", 957),
        ("sure", "labelled", "teacher/e", 100),
        ("sure", "unlabelled", "teacher/e", 957),
    ]


def test_rows_that_are_kept_are_counted_where_a_filter_leaves_some_out(done):
    kept = {(one["transfer"], one["part"]): one["kept"] for one in done[1]["parts"]}
    assert (kept["all", "labelled"], kept["all", "unlabelled"]) == (None, None)
    assert kept["sure", "labelled"] == 100
    assert 0 < kept["sure", "unlabelled"] < 957


def test_a_filter_changes_nothing_about_what_the_teacher_knows(done):
    plain, sure = ([one for one in done[1]["parts"] if one["transfer"] == name] for name in ("all", "sure"))
    for one, other in zip(plain[:2], sure, strict=True):
        assert {**one, "transfer": "", "kept": None} == {**other, "transfer": "", "kept": None}


def test_members_differ_about_a_part_and_about_validation_rows(done, road):
    of, rows = done[1]["parts"][1], road.split.validation
    assert of["disagreement"] > 0
    assert of["validation"]["rows"] == len(rows)
    assert of["validation"]["labelled"] == 200
    assert of["difference"]["disagreement"] == pytest.approx(of["disagreement"] - of["validation"]["disagreement"])
    answers = np.mean([road.workshop.on_validation(one) for one in road.planner.members()], axis=0)
    assert answers.shape == (200, 10)


def test_what_one_teacher_knows_has_no_disagreement(tmp_path):
    recipe = parsed(teacher=[{"name": "net", "model": NET, "train": TRAIN}], student=[student()])
    for one in limbeck.run(recipe, tmp_path / "runs" / "run")["parts"]:
        assert one["disagreement"] is None
        assert one["difference"]["disagreement"] is None
        assert one["validation"] is not None


def test_refitted_teachers_have_no_validation_rows_to_be_compared_with(tmp_path):
    recipe = parsed(student=[student(train={**TRAIN, "refit": True})])
    found = limbeck.run(recipe, tmp_path / "runs" / "run")
    assert [one["rows"] for one in found["parts"]] == [300, 957]
    assert all(one["validation"] is None and one["difference"] is None for one in found["parts"])
    assert all(one["disagreement"] is not None for one in found["parts"])


@pytest.mark.parametrize("rows", ["all", "train"])
def test_predictions_are_compared_with_validation_rows_where_the_file_has_them(tmp_path, digits, rows):
    split = digits_split(digits)
    ids = digits.ids if rows == "all" else split.train.ids
    np.savez(tmp_path / "said.npz", ids=ids, logits=3 * np.eye(10)[digits.labels[ids]])
    recipe = parsed(teacher=[{"name": "said", "from": str(tmp_path / "said.npz")}], student=[student()])
    found = limbeck.run(recipe, tmp_path / "runs" / "run")
    assert [one["rows"] for one in found["parts"]] == [100, 957]
    assert all((one["validation"] is None) == (rows == "train") for one in found["parts"])


def digits_split(digits):
    from limbeck.data import Dataset

    return Dataset("digits", digits, None, digits.classes).split(validation=200, test=0.3, labels=100)


def test_students_on_labels_alone_tell_of_no_part(done, road):
    baselines = [(plan.baselines[0], "all") for plan in road.planner.students() if plan.baselines]
    assert len(baselines) == 4
    assert known_parts(baselines, [], road.workshop) == []
