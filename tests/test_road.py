"""The whole road on digits: continued, killed, damaged, set aside."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import limbeck
from limbeck.artifacts import TIMES
from limbeck.data import Split
from limbeck.errors import LimbeckError
from limbeck.inspection import inspect, verify
from limbeck.progress import Lines
from limbeck.road import Road

RECIPE = """
title = "digits, as small as it goes"
[data]
source = "digits"
validation = 200
test = 0.25
[[teacher]]
name = "convnet"
model = { kind = "convnet", widths = [8, 8, 16], hidden = 16 }
views = { rotate = 8, shift = 1 }
train = { epochs = 4, batch_size = 64, learning_rate = 5e-3 }
[[transfer]]
name = "views"
views = { count = 2, rotate = 8, shift = 1 }
[[student]]
name = "2x16"
model = { kind = "mlp", widths = [16, 16], dropout = 0.1 }
train = { epochs = 4, batch_size = 64, learning_rate = 5e-3 }
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "tiny"
    limbeck.run(recipe, out)
    return out


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "tiny"


def digests(root: Path) -> dict[str, bytes]:
    """Every artifact file's bytes, durations left out."""
    artifacts = root / "artifacts"
    return {
        str(path.relative_to(artifacts)): path.read_bytes()
        for path in sorted(artifacts.rglob("*"))
        if path.is_file() and path.name != TIMES
    }


def said(out: Path, recipe: Path, **options) -> str:
    stream = Path(out.parent / "said.txt")
    with stream.open("w") as file:
        limbeck.run(recipe, out, progress=Lines(file), **options)
    return stream.read_text()


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


def test_the_same_command_again_has_nothing_to_do_and_changes_nothing(copied, recipe):
    before = {path: path.stat().st_mtime_ns for path in copied.parent.rglob("*") if path.is_file()}
    assert f"nothing to do: {copied} is complete" in said(copied, recipe)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {p for p in before if before[p] != after[p] and p.name != ".lock"} == set()


def test_permuting_the_test_labels_changes_no_model(finished, recipe, tmp_path):
    road = Road.open(recipe, tmp_path / "runs" / "tiny")
    test = road.split.test
    shuffled = np.random.default_rng(0).permutation(test.labels)
    other = limbeck.Part("test", test.inputs, shuffled, test.ids, test.classes)
    road.split = Split(road.split.train, road.split.validation, other)
    road.planner.split = road.split
    road.walk()
    assert digests(tmp_path / "runs") == digests(finished.parent)


def test_a_changed_temperature_keeps_teacher_and_knowledge(copied, recipe):
    text = said(copied.parent / "warmer", recipe, sets=["student.*.distill.temperature=8"])
    assert "teacher convnet: done" not in text
    assert "knowledge" not in text
    assert "student 2x16: done" in text


def test_a_damaged_student_is_made_again_to_the_same_bytes(copied, recipe):
    whole = digests(copied.parent)
    weights = (copied / "models" / "student" / "2x16-temperature=4" / "model.safetensors").resolve()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert [damage.path for damage in verify(copied)] == [weights]
    assert "is damaged" in said(copied, recipe)
    assert {name: data for name, data in digests(copied.parent).items() if ".damaged-" not in name} == whole
    assert verify(copied) == []


def test_a_damaged_shard_is_named_and_recomputed_to_the_same_bytes(copied, recipe):
    whole = digests(copied.parent)
    shard = sorted((copied.parent / "artifacts" / "knowledge").glob("*/00000.safetensors"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    text = said(copied, recipe)
    assert f"{shard} is damaged: made again" in text
    assert digests(copied.parent) == whole


def test_another_seed_or_recipe_in_the_folder_is_refused(copied, recipe):
    whole = digests(copied.parent)
    with pytest.raises(LimbeckError, match="holds a run of another seed"):
        limbeck.run(recipe, copied, seed=1)
    with pytest.raises(
        LimbeckError,
        match=r"another recipe, or other settings \(student\.2x16\.distill\.temperature: 4\.0 there, 9\.0 here\)",
    ):
        limbeck.run(recipe, copied, sets=["student.*.distill.temperature=9"])
    assert digests(copied.parent) == whole


def test_a_folder_with_something_else_is_refused_and_untouched(recipe, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(LimbeckError, match=r'holds something else than a run \("thesis.txt"\)'):
        limbeck.run(recipe, tmp_path / "mine", fresh=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


@pytest.mark.slow
def test_fresh_sets_the_old_run_aside_and_makes_the_same_again(copied, recipe):
    whole = digests(copied.parent)
    text = said(copied, recipe, fresh=True)
    assert "teacher convnet: done" in text
    assert digests(copied.parent) == whole
    assert (copied.parent / "tiny.old-1" / "results.json").exists()
    assert len(list((copied.parent / "tiny.old-1" / "artifacts").rglob("model.safetensors"))) == 3


def test_a_model_of_another_run_can_teach(copied, recipe):
    path = copied / "models" / "teacher" / "convnet"
    out = copied.parent / "given"
    sets = [f'teacher.convnet={{name="convnet", from="{path}"}}']
    given = recipe.parent / "given.toml"
    begin, end = RECIPE.index('model = { kind = "convnet"'), RECIPE.index("[[transfer]]")
    given.write_text(RECIPE[:begin] + f'from = "{path}"\n' + RECIPE[end:])
    assert sets
    text = said(out, given)
    assert "knowledge" not in text  # the teacher's key is the same, and so is its knowledge


@pytest.mark.slow
def test_a_grid_is_chosen_on_validation_rows_with_as_many_trials_for_the_baseline(copied, recipe):
    grid = 'student.2x16.grid={"train.learning_rate" = [5e-3, 1e-5]}'
    results = limbeck.run(recipe, copied.parent / "grid", sets=[grid])
    student, baseline = results["models"][1:]
    assert (student["trials"], baseline["trials"]) == (2, 2)
    alone = json.loads((copied / "results.json").read_bytes())["models"][1]
    assert student["errors"] == alone["errors"]  # 1e-5 learns nothing in four epochs


@pytest.mark.slow
def test_a_refit_trains_on_all_rows(recipe, tmp_path):
    sets = ["student.*.train.refit=true"]
    limbeck.run(recipe, tmp_path / "refit", sets=sets)
    facts = inspect(tmp_path / "refit" / "models" / "student" / "2x16-temperature=4").facts
    assert "validation accuracy" not in facts
    road = Road.open(recipe, tmp_path / "refit", sets=sets)
    assert len(road.planner.all_rows.train) == len(road.split.train) + 200


@pytest.mark.slow
def test_classes_left_out_are_left_out_of_training(recipe, tmp_path):
    results = limbeck.run(recipe, tmp_path / "without", sets=["transfer.views.select={without=[3]}"])
    assert results["models"][1]["variant"] == {"temperature": 4, "without": [3]}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "limbeck", *arguments]


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(finished, recipe, tmp_path):
    out = tmp_path / "runs" / "tiny"
    generator = np.random.default_rng(0)
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    for _ in range(6):
        process = subprocess.Popen(
            command("run", str(recipe), "--out", str(out)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
        time.sleep(float(generator.uniform(1.5, 6)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command("run", str(recipe), "--out", str(out)), check=True, capture_output=True, env=environment)
    assert digests(tmp_path / "runs") == digests(finished.parent)
