"""The whole road on digits: continued, killed, damaged, set aside."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import limbeck
from limbeck.data import Split
from limbeck.errors import LimbeckError
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.road import Road
from walks import artifacts, said


def test_a_run_has_rows_as_designed_and_names_its_models(finished):
    results = json.loads((finished / "results.json").read_bytes())
    assert [row["role"] for row in results["models"]] == ["teacher", "student", "baseline"]
    student = results["models"][1]
    assert student["variant"] == {"temperature": 4}
    assert student["verdict"] in ("helps", "hurts", "no difference")
    assert set(student) == set(results["models"][0])
    model, classes = limbeck.load_model(finished / "models" / "student" / "2x16-temperature=4")
    assert classes == tuple("0123456789")
    assert sum(p.numel() for p in model.parameters()) == student["parameters"]


def test_the_same_command_again_has_nothing_to_do_and_changes_nothing(tiny_run, tiny):
    before = {path: path.stat().st_mtime_ns for path in tiny_run.parent.rglob("*") if path.is_file()}
    assert f"nothing to do: {tiny_run} is complete" in said(tiny, tiny_run)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {p for p in before if before[p] != after[p] and p.name != ".lock"} == set()


def test_permuting_the_test_labels_changes_no_model(finished, tiny, tmp_path):
    road = Road.open(tiny, tmp_path / "runs" / "tiny")
    test = road.split.test
    shuffled = np.random.default_rng(0).permutation(test.labels)
    other = limbeck.Part("test", test.inputs, shuffled, test.ids, test.classes)
    results = replace(road, split=Split(road.split.train, road.split.validation, other)).walk()
    assert all(row["accuracy"] < 0.2 for row in results["models"])
    assert artifacts(tmp_path / "runs") == artifacts(finished.parent)


def test_a_changed_temperature_keeps_teacher_and_knowledge(tiny_run, tiny):
    text = said(tiny, tiny_run.parent / "warmer", sets=["student.*.distill.temperature=8"])
    assert "teacher convnet: done" not in text
    assert "knowledge" not in text
    assert "student 2x16 (temperature 8): done" in text


def test_a_damaged_student_is_made_again_to_the_same_bytes(tiny_run, tiny):
    whole = artifacts(tiny_run.parent)
    weights = (tiny_run / "models" / "student" / "2x16-temperature=4" / "model.safetensors").resolve()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert [damage.path for damage in verify(tiny_run)] == [weights]
    assert "is damaged" in said(tiny, tiny_run)
    assert {name: data for name, data in artifacts(tiny_run.parent).items() if ".damaged-" not in name} == whole
    assert verify(tiny_run) == []


def test_a_damaged_shard_is_named_and_recomputed_to_the_same_bytes(tiny_run, tiny):
    whole = artifacts(tiny_run.parent)
    shard = sorted((tiny_run.parent / "artifacts" / "knowledge").glob("*/00000.safetensors"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    text = said(tiny, tiny_run)
    assert f"{shard} is damaged: made again" in text
    assert artifacts(tiny_run.parent) == whole


def test_another_seed_or_recipe_in_the_folder_is_refused(tiny_run, tiny):
    whole = artifacts(tiny_run.parent)
    with pytest.raises(LimbeckError, match="holds a run of another seed"):
        limbeck.run(tiny, tiny_run, seed=1)
    with pytest.raises(
        LimbeckError,
        match=r"another recipe, or other settings \(student\.2x16\.distill\.temperature: 4\.0 there, 9\.0 here\)",
    ):
        limbeck.run(tiny, tiny_run, sets=["student.*.distill.temperature=9"])
    assert artifacts(tiny_run.parent) == whole


def test_a_folder_with_something_else_is_refused_and_untouched(tiny, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(LimbeckError, match=r'holds something else than a run \("thesis.txt"\)'):
        limbeck.run(tiny, tmp_path / "mine", fresh=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


@pytest.mark.slow
def test_fresh_sets_the_old_run_aside_and_makes_the_same_again(tiny_run, tiny):
    whole = artifacts(tiny_run.parent)
    text = said(tiny, tiny_run, fresh=True)
    assert "teacher convnet: done" in text
    assert artifacts(tiny_run.parent) == whole
    assert (tiny_run.parent / "tiny.old-1" / "results.json").exists()
    assert len(list((tiny_run.parent / "tiny.old-1" / "artifacts").rglob("model.safetensors"))) == 3


@pytest.mark.slow
def test_a_grid_is_chosen_on_validation_rows_with_as_many_trials_for_the_baseline(tiny_run, tiny):
    grid = 'student.2x16.grid={"train.learning_rate" = [5e-3, 1e-5]}'
    results = limbeck.run(tiny, tiny_run.parent / "grid", sets=[grid])
    student, baseline = results["models"][1:]
    assert (student["trials"], baseline["trials"]) == (2, 2)
    alone = json.loads((tiny_run / "results.json").read_bytes())["models"][1]
    assert student["errors"] == alone["errors"]  # 1e-5 learns nothing in four epochs


@pytest.mark.slow
def test_a_refit_trains_on_all_rows(tiny, tmp_path):
    sets = ["student.*.train.refit=true"]
    limbeck.run(tiny, tmp_path / "refit", sets=sets)
    facts = inspect(tmp_path / "refit" / "models" / "student" / "2x16-temperature=4").facts
    assert "validation accuracy" not in facts
    road = Road.open(tiny, tmp_path / "refit", sets=sets)
    assert len(road.planner.rows.all_rows.train) == len(road.split.train) + 200


@pytest.mark.slow
def test_classes_left_out_are_left_out_of_training(tiny, tmp_path):
    results = limbeck.run(tiny, tmp_path / "without", sets=["transfer.views.select={without=[3]}"])
    assert results["models"][1]["variant"] == {"temperature": 4, "without": [3]}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "limbeck", *arguments]


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(finished, tiny, tmp_path):
    out = tmp_path / "runs" / "tiny"
    generator = np.random.default_rng(0)
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    for _ in range(6):
        process = subprocess.Popen(
            command("run", str(tiny), "--out", str(out)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
        time.sleep(float(generator.uniform(1.5, 6)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command("run", str(tiny), "--out", str(out)), check=True, capture_output=True, env=environment)
    assert artifacts(tmp_path / "runs") == artifacts(finished.parent)
