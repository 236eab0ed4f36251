"""The road with estimators and their mean as teachers: what is recorded, continued, mended and refitted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

import limbeck
from limbeck.errors import UsageError
from limbeck.inspection.verification import verify
from limbeck.knowledge import Knowledge
from limbeck.models.opening import open_model
from limbeck.road import Road, run_split
from limbeck.teachers.out_of_fold import OWN_ROWS, OwnRows
from limbeck.training import predict_log_probs
from walks import artifact, artifacts, parts, said

THIRD = 'teacher=[{name="forest", model={kind="random-forest", trees=30}}, {name="boosting", folds=2, model={kind="gradient-boosting", iterations=10, leaves=4, min_samples_leaf=5}}, {name="other", folds=2, model={kind="random-forest", trees=10}}, {name="both", of=["forest", "boosting", "other"]}]'


def rows(run):
    return {(row["role"], row["name"]): row for row in json.loads((run / "results.json").read_text())["models"]}


# ---------------------------------------------------------------- what comes of it


def test_the_results_have_every_teacher_student_and_baseline(grapes_finished):
    found = json.loads((grapes_finished / "results.json").read_text())["models"]
    assert [(row["role"], row["name"], row["variant"]) for row in found] == [
        ("teacher", "forest", {}),
        ("teacher", "boosting", {}),
        ("teacher", "both", {}),
        ("student", "plain", {"temperature": 4.0}),
        ("baseline", "plain", {}),
        ("student", "munge", {"rows": "munge", "temperature": 4.0}),
        ("baseline", "munge", {}),
    ]
    assert {row["teacher"] for row in found if row["role"] == "student"} == {"both"}
    assert all(row["agreement"] is not None for row in found if row["role"] != "teacher")


def test_a_mean_costs_what_its_members_cost(grapes_finished):
    found = rows(grapes_finished)
    forest, boosting, both = (found["teacher", name] for name in ("forest", "boosting", "both"))
    for field in ("parameters", "bytes"):
        assert both[field] == forest[field] + boosting[field] > 0
    assert both["train_seconds"] == pytest.approx(forest["train_seconds"] + boosting["train_seconds"])
    size = sum(path.stat().st_size for path in artifact(grapes_finished, "teacher/boosting").glob("member-*"))
    assert boosting["bytes"] == size


def test_the_mean_s_own_row_is_the_mean_of_its_members_probabilities(grapes_finished):
    from limbeck.files import read_tensors

    forest, boosting, both = (
        np.exp(read_tensors(grapes_finished / f"predictions/teacher/{name}.safetensors")[0]["log_probs"])
        for name in ("forest", "boosting", "both")
    )
    np.testing.assert_allclose(both, (forest + boosting) / 2, atol=1e-6)


def test_an_area_under_the_curve_is_a_table_s_alone(grapes_finished, finished):
    assert all(0.5 < row["metrics"]["auc"] <= 1 for row in rows(grapes_finished).values() if row["role"] == "teacher")
    assert all("auc" in row["metrics"] for row in rows(grapes_finished).values())
    assert not any("auc" in row["metrics"] for row in rows(finished).values())


def test_a_test_set_of_one_class_has_no_area(grapes, grapes_run):
    opened = Road.open(grapes, grapes_run)
    test = opened.split.test
    split = replace(opened.split, test=test.take(np.flatnonzero(test.labels == 0)))
    road = Road(opened.name, opened.given, opened.recipe, 0, split, opened.folder)
    (grapes_run / "SHA256SUMS").unlink()
    assert not any("auc" in row["metrics"] for row in road.walk("evaluate")["models"])


def test_knowledge_is_kept_for_each_member(grapes_finished):
    names = sorted(name for name in parts(grapes_finished) if name.startswith("knowledge/"))
    assert names == [
        f"knowledge/{teacher}-{transfer}"
        for teacher in ("boosting", "forest")
        for transfer in ("munge-view=0", "munge-view=1", "munge-view=2", "plain-view=0")
    ]
    for teacher in ("boosting", "forest"):
        recorded = artifact(grapes_finished, f"knowledge/{teacher}-plain-view=0")
        described = json.loads((recorded / "knowledge.json").read_text())
        assert described["teacher"] == parts(grapes_finished)[f"teacher/{teacher}"]


def test_the_same_command_again_has_nothing_to_do_and_changes_nothing(grapes_run, grapes, contents):
    before = contents(grapes_run)
    assert f"nothing to do: {grapes_run} is complete" in said(grapes, grapes_run)
    after = contents(grapes_run)
    assert {name for name in before if before[name] != after[name] and name != ".lock"} == set()


def test_the_page_and_the_table_show_teachers_without_a_history(grapes_finished):
    page = (grapes_finished / "report.html").read_text()
    for name in ("forest", "boosting", "both"):
        assert name in page
    assert "metrics.auc" in page or ">auc<" in page


def test_the_run_and_its_artifacts_are_whole(grapes_finished):
    assert verify(grapes_finished) == []


# ---------------------------------------------------------------- out of fold


@pytest.mark.parametrize("teacher", ["forest", "boosting"])
def test_training_rows_are_recorded_out_of_fold(grapes_finished, teacher):
    train = run_split(grapes_finished).train
    folder = artifact(grapes_finished, f"teacher/{teacher}")
    known, own = OwnRows.load(folder / OWN_ROWS).answers_for(train)
    assert known.all()
    recorded = Knowledge.open(artifact(grapes_finished, f"knowledge/{teacher}-plain-view=0")).log_probs()
    np.testing.assert_array_equal(recorded, own.astype(np.float16))
    asked = predict_log_probs(open_model(folder)[0], train.inputs)
    assert np.abs(np.exp(asked) - np.exp(own)).max() > 0.1  # it knows its rows better than that


@pytest.mark.parametrize("teacher", ["forest", "boosting", "both"])
def test_a_teacher_that_is_opened_in_python_knows_its_own_rows(grapes_finished, tmp_path, teacher):
    train = run_split(grapes_finished).train
    kept = limbeck.extract(
        open_model(artifact(grapes_finished, f"teacher/{teacher}"))[0], train, tmp_path, name=teacher, dtype="float32"
    )
    members = ["forest", "boosting"] if teacher == "both" else [teacher]
    own = [
        np.exp(OwnRows.load(artifact(grapes_finished, f"teacher/{name}") / OWN_ROWS).answers_for(train)[1])
        for name in members
    ]
    np.testing.assert_allclose(np.exp(kept.log_probs()), np.mean(own, axis=0), atol=1e-6)


def test_a_mean_of_estimators_cannot_be_told_from_another_by_weights(grapes_finished, tmp_path):
    train, (both, _) = run_split(grapes_finished).train, open_model(artifact(grapes_finished, "teacher/both"))
    with pytest.raises(
        UsageError, match=r"^MeanModel cannot be told from another teacher by its weights: pass name=…$"
    ):
        limbeck.extract(both, train, tmp_path)


def test_other_rows_are_recorded_as_the_mean_of_the_folds_says(grapes_finished, grapes):
    road = Road.open(grapes, grapes_finished)
    recordings = road.planner.students()[1].trials[0].recorded()
    by_teacher = {teacher.name: (teacher, found) for teacher, found in recordings}
    teacher, found = by_teacher["boosting"]
    model = open_model(road.workshop.folder(teacher))[0]
    assert len(model.members) == 2
    for recording in found[1:]:
        inputs = recording.pixels(None)
        each = [np.zeros((len(inputs), 3)) for _ in model.members]
        for answers, member in zip(each, model.members, strict=True):
            answers[:, member.classes_] = member.predict_proba(inputs)
        recorded = Knowledge.open(road.store.folder(recording.identity)).log_probs()
        np.testing.assert_allclose(np.exp(recorded.astype(np.float32)), np.mean(each, axis=0), atol=1e-3)


def test_a_student_reads_the_mean_of_what_its_teachers_say_at_its_temperature(grapes_finished, grapes):
    road = Road.open(grapes, grapes_finished)
    stage = road.planner.students()[1].trials[0]
    inputs, log_probs = road.workshop.recordings.read(stage)
    assert inputs.shape == (3, len(road.split.train), 5)
    members = [
        np.stack([Knowledge.open(road.store.folder(one.identity)).log_probs() for one in found]).astype(np.float64)
        for _, found in stage.recorded()
    ]
    expected = np.mean([softmax(one / 4.0, axis=-1) for one in members], axis=0)
    np.testing.assert_allclose(softmax(log_probs.astype(np.float64) / 4.0, axis=-1), expected, atol=1e-5)


def test_another_temperature_takes_the_knowledge_that_is_there(grapes_run, grapes):
    out = grapes_run.parent / "cooler"
    heard = said(grapes, out, sets=["student.*.distill.temperature=1"])
    assert "knowledge of" not in heard
    assert "teacher " not in heard
    assert "student plain (temperature 1)" in heard


# ---------------------------------------------------------------- more teachers, and the same ones


def test_a_third_member_adds_its_own_artifacts_alone(grapes_run, grapes):
    before = artifacts(grapes_run.parent)
    heard = said(grapes, grapes_run.parent / "three", sets=[THIRD])
    after = artifacts(grapes_run.parent)
    assert {name: after[name] for name in before} == before
    made = [line.partition(":")[0] for line in heard.splitlines() if line.startswith(("teacher", "knowledge"))]
    assert made == ["teacher other, 2 folds", "knowledge of other, inputs", "knowledge of other, 2 views"]
    new = parts(grapes_run.parent / "three")
    old = parts(grapes_run)
    assert new["teacher/forest"] == old["teacher/forest"]
    assert new["teacher/both"] != old["teacher/both"]
    assert new["student/plain-temperature=4"] != old["student/plain-temperature=4"]
    assert new["baseline/plain"] == old["baseline/plain"]


def test_a_mean_of_one_model_under_two_names_is_refused(grapes, tmp_path):
    twice = 'teacher=[{name="a", model={kind="random-forest", trees=9}}, {name="b", model={kind="random-forest", trees=9}}, {name="both", of=["a", "b"]}]'
    with pytest.raises(UsageError) as error:
        Road.open(grapes, tmp_path / "runs" / "grapes", sets=[twice])
    assert str(error.value) == (
        'teacher.both.of: "a" and "b" are the same model, with the same settings and seed: change one, or leave it out'
    )


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("teacher", "name"), [("boosting", OWN_ROWS), ("boosting", "member-1.skops"), ("forest", "model.skops")]
)
def test_a_damaged_file_of_a_teacher_is_named_and_made_again(grapes_run, grapes, teacher, name):
    before = artifacts(grapes_run.parent)
    path = artifact(grapes_run, f"teacher/{teacher}") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert [damage.path for damage in verify(grapes_run)] == [path]
    assert [damage.path for damage in verify(path.parent)] == [path]
    both = artifact(grapes_run, "teacher/both")
    assert [damage.path for damage in verify(both)] == [path]
    heard = said(grapes, grapes_run)
    assert f"{path} is damaged: set aside as " in heard
    assert f"teacher {teacher} is made again" in heard
    assert "1 damaged artifact made again" in heard
    assert "other weights" not in heard
    after = artifacts(grapes_run.parent)
    assert {name: after[name] for name in before} == before
    assert verify(grapes_run) == []


def test_a_mean_is_made_again_with_a_member_that_is_damaged(grapes_run, grapes):
    before = artifacts(grapes_run.parent)
    for name in ("results.json", "SHA256SUMS"):  # so that the run looks at its teachers as it makes them
        (grapes_run / name).unlink()
    shutil.rmtree(artifact(grapes_run, "teacher/both"))
    damaged = artifact(grapes_run, "teacher/forest") / "model.skops"
    damaged.write_bytes(b"no zip")
    said(grapes, grapes_run)
    after = artifacts(grapes_run.parent)
    assert {name: after[name] for name in before} == before


def test_a_mean_that_is_asked_first_has_its_damaged_member_made_again(grapes_run, grapes):
    before = artifacts(grapes_run.parent)
    damaged = artifact(grapes_run, "teacher/boosting") / "member-0.skops"
    damaged.write_bytes(b"no zip")
    road = Road.open(grapes, grapes_run)
    (mean,) = (stage for stage in road.planner.teachers() if stage.name == "both")
    assert len(road.workshop.model(mean).members) == 2
    after = artifacts(grapes_run.parent)
    assert {name: after[name] for name in before} == before


def test_a_member_that_is_gone_is_made_again(grapes_run, grapes):
    before = artifacts(grapes_run.parent)
    shutil.rmtree(artifact(grapes_run, "teacher/boosting"))
    assert [damage.path.name for damage in verify(grapes_run)] == [parts(grapes_run)["teacher/boosting"]]
    said(grapes, grapes_run)
    assert artifacts(grapes_run.parent) == before
    assert verify(grapes_run) == []


def test_damaged_knowledge_of_a_member_is_made_again_out_of_fold(grapes_run, grapes):
    before = artifacts(grapes_run.parent)
    shard = artifact(grapes_run, "knowledge/boosting-plain-view=0") / "00000.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))
    assert f"{shard} is damaged: made again" in said(grapes, grapes_run)
    assert artifacts(grapes_run.parent) == before


@pytest.mark.slow
def test_a_fresh_run_sets_all_aside_and_ends_with_the_same_bytes(grapes_run, grapes):
    before = artifacts(grapes_run.parent)
    said(grapes, grapes_run, fresh=True)
    assert artifacts(grapes_run.parent) == before
    old = grapes_run.with_name("grapes.old-1")
    assert verify(old) == []
    assert open_model(old / "models" / "teacher" / "both")[0].classes == 3


# ---------------------------------------------------------------- cut off


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_bytes(grapes, grapes_finished, tmp_path):
    out = tmp_path / "runs" / "grapes"
    command = [sys.executable, "-m", "limbeck", "run", str(grapes), "--out", str(out)]
    killed = 0
    for moment in ("artifacts/teacher/*.part", "artifacts/knowledge/*", "artifacts/student/*"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})
        while process.poll() is None and not any(out.parent.glob(moment)):
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed
    limbeck.run(grapes, out)
    assert artifacts(tmp_path / "runs") == artifacts(grapes_finished.parent)
    assert verify(out) == []


# ---------------------------------------------------------------- refitted


def test_refitted_students_have_refitted_teachers(grapes, tmp_path):
    out = tmp_path / "runs" / "grapes"
    found = limbeck.run(grapes, out, sets=["student.*.train.refit=true"])
    split = run_split(out)
    whole = len(split.train) + len(split.validation)
    for teacher in ("forest", "boosting"):
        own = OwnRows.load(artifact(out, f"teacher/{teacher}") / OWN_ROWS)
        assert len(own.ids) == whole
        recorded = Knowledge.open(artifact(out, f"knowledge/{teacher}-plain-view=0"))
        assert recorded.rows == whole
    assert [row["name"] for row in found["models"] if row["role"] == "teacher"] == ["forest", "boosting", "both"]
    assert verify(out) == []
    assert f"nothing to do: {out} is complete" in said(grapes, out, sets=["student.*.train.refit=true"])


@pytest.mark.slow
def test_a_grid_with_a_refit_has_teachers_of_both(grapes, tmp_path):
    out = tmp_path / "runs" / "grapes"
    sets = ["student.*.train.refit=true", 'student.plain.grid={"distill.temperature"=[1, 4]}']
    found = limbeck.run(grapes, out, sets=sets)
    student = next(row for row in found["models"] if (row["role"], row["name"]) == ("student", "plain"))
    assert student["trials"] == 2
    assert "teacher/forest-trials" in parts(out)
    assert parts(out)["teacher/forest-trials"] != parts(out)["teacher/forest"]
    assert f"nothing to do: {out} is complete" in said(grapes, out, sets=sets)
