"""One run with several rows of a name: sweeps, classes and rows left out, biases, references, claims."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

import limbeck
from limbeck.data import Split
from limbeck.files import read_tensors
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.results.parts import planned_parts
from limbeck.road import Road
from limbeck.rows import model_id

SEVERAL = """
title = "Several"

[data]
source = "digits"
validation = 200
test = 0.25

[[teacher]]
name = "2x64"
model = { kind = "mlp", widths = [64, 64] }
train = { epochs = 6, batch_size = 64, learning_rate = 5e-3 }

[[transfer]]
name = "all"

[[transfer]]
name = "no3"
select = { without = [3] }

[[transfer]]
name = "tenth"
select = { rows = 0.1 }

[[student]]
name = "2x16"
transfer = "all"
model = { kind = "mlp", widths = [16, 16] }
train = { epochs = 8, batch_size = 64, learning_rate = 1e-2, refit = true }

[[student]]
name = "2x16"
transfer = "no3"
model = { kind = "mlp", widths = [16, 16] }
train = { epochs = 8, batch_size = 64, learning_rate = 1e-2, refit = true }
bias = ["validation", "test"]

[[student]]
name = "2x16"
transfer = "tenth"
model = { kind = "mlp", widths = [16, 16] }
train = { epochs = 8, batch_size = 16, learning_rate = 1e-2 }
sweep = { "distill.targets" = ["permuted", "smoothed_labels"] }

[[student]]
name = "2x16"
transfer = "all"
model = { kind = "mlp", widths = [16, 16] }
train = { epochs = 2, batch_size = 64, learning_rate = 1e-2 }
sweep = { "distill.temperature" = [1, 4, 20] }
variant = ["epochs"]

[[reference]]
name = "2x16"
transfer = "tenth"
model = { kind = "mlp", widths = [16, 16] }
train = { epochs = 16, batch_size = 16, learning_rate = 1e-2, snapshot_every = 3, keep = "last" }
variant = ["epochs"]

[[claim]]
text = "Threes, never seen, wrong"
paper = 14
goal = "few"
row = { name = "2x16", without = [3], bias = "test" }
show = "errors_on_3"
"""

NO_3 = {"temperature": 4, "without": [3]}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "several.toml"
    path.write_text(SEVERAL)
    return path


@pytest.fixture(scope="module")
def several(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "several"
    limbeck.run(recipe, out)
    return out


@pytest.fixture
def run_copy(several, tmp_path):
    shutil.copytree(several.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "several"


def rows(out):
    found = json.loads((out / "results.json").read_bytes())["models"]
    return {model_id(row["role"], row["name"], row["variant"]): row for row in found}


def row(out, role="student", **variant):
    return rows(out)[model_id(role, "2x16" if role != "teacher" else "2x64", variant)]


def test_rows_come_in_the_recipe_s_order_each_once(several):
    assert list(rows(several)) == [
        "teacher/2x64",
        "teacher/2x64-refit=false",
        "student/2x16-temperature=4",
        "baseline/2x16",
        "student/2x16-temperature=4,without=3",
        "baseline/2x16-without=3",
        "student/2x16-bias=validation,temperature=4,without=3",
        "baseline/2x16-bias=validation,without=3",
        "student/2x16-bias=test,temperature=4,without=3",
        "baseline/2x16-bias=test,without=3",
        "student/2x16-rows=0.1,targets=permuted,temperature=4",
        "baseline/2x16-rows=0.1",
        "student/2x16-rows=0.1,targets=smoothed_labels,temperature=4",
        "student/2x16-epochs=2,temperature=1",
        "baseline/2x16-epochs=2",
        "student/2x16-epochs=2,temperature=4",
        "student/2x16-epochs=2,temperature=20",
        "reference/2x16-epochs=16,rows=0.1",
    ]


def test_every_row_is_compared_with_its_own_baseline(several):
    for found in rows(several).values():
        if found["role"] == "student":
            if found["variant"].get("bias") == "test":  # no verdict on the rows that a number was chosen on
                assert (found["gap_recovered"], found["p_value"], found["verdict"]) == (None, None, None)
                continue
            told_apart = ("without", "rows", "epochs", "bias")
            variant = {key: found["variant"][key] for key in told_apart if key in found["variant"]}
            teacher = row(several, "teacher", **({"refit": False} if "rows" in variant or "epochs" in variant else {}))
            baseline = row(several, "baseline", **variant)
            gap = (found["accuracy"] - baseline["accuracy"]) / (teacher["accuracy"] - baseline["accuracy"])
            assert found["gap_recovered"] == (pytest.approx(gap) if teacher["errors"] < baseline["errors"] else None)


def test_classes_never_seen_are_answered_once_their_bias_is_raised(several):
    before, on_validation, on_test = (
        row(several, **NO_3, **bias) for bias in ({}, {"bias": "validation"}, {"bias": "test"})
    )
    assert row(several, "baseline", without=[3])["metrics"]["errors_on_3"] == 46  # all of them
    assert row(several, "baseline", without=[3], bias="validation")["metrics"]["bias_raised"] > 0
    for corrected in (on_validation, on_test):
        assert corrected["metrics"]["bias_raised"] > 0
        assert corrected["metrics"]["errors_on_3"] < before["metrics"]["errors_on_3"]
    # On the rows that it was chosen on nothing is better.
    assert on_test["errors"] <= min(before["errors"], on_validation["errors"])


def test_inspect_says_what_was_raised_and_what_a_student_learnt_from(several):
    corrected = inspect(several / "models" / model_id("student", "2x16", {**NO_3, "bias": "validation"})).facts
    raised = row(several, **NO_3, bias="validation")["metrics"]["bias_raised"]
    assert corrected["biases raised"].startswith(f"of 3 by {raised:.3g}, with ")
    assert corrected["biases raised"].endswith(" errors in 200 validation rows")
    assert "seed" not in corrected
    student = inspect(several / "models" / model_id("student", "2x16", NO_3)).facts
    assert student["select"] == "without 3"
    permuted = {"rows": 0.1, "targets": "permuted", "temperature": 4}
    assert inspect(several / "models" / model_id("student", "2x16", permuted)).facts["targets"] == "permuted"


def test_errors_on_a_class_are_counted_where_it_is_left_out_alone(several):
    counted = {name for name, found in rows(several).items() if "errors_on_3" in found["metrics"]}
    assert counted == {name for name in rows(several) if "without=3" in name}
    assert not any(
        "errors_on_" in metric and metric != "errors_on_3" for r in rows(several).values() for metric in r["metrics"]
    )


def test_a_corrected_model_is_its_student_but_for_one_number(several):
    student, corrected = (limbeck.load_model(several / "models" / model_id("student", "2x16", variant))[0].state_dict()
                          for variant in (NO_3, {**NO_3, "bias": "validation"}))  # fmt: skip
    *_, last = student
    raised = row(several, **NO_3, bias="validation")["metrics"]["bias_raised"]
    for name in student:
        added = np.zeros(student[name].shape, np.float32)
        if name == last:
            added[3] = raised
        np.testing.assert_allclose(corrected[name].numpy(), student[name].numpy() + added, atol=1e-6)


def test_rows_to_train_on_are_drawn_and_those_to_choose_on_stay(several, recipe):
    found = row(several, "reference", epochs=16, rows=0.1)
    history = several / "models" / "reference" / "2x16-epochs=16,rows=0.1" / "history.json"
    epochs = json.loads(history.read_bytes())["epochs"]
    assert found["metrics"]["validation_errors"] == round(200 * (1 - epochs[-1]["validation_accuracy"]))
    road = Road.open(recipe, several)
    (stage,) = road.planner.references()
    assert len(stage.rows.train) == math.ceil(len(road.split.train) / 10)
    assert stage.rows.validation is road.split.validation


def test_test_errors_over_epochs_are_counted_where_asked_for(several):
    curves = json.loads((several / "results.json").read_bytes())["curves"]
    assert list(curves) == ["reference/2x16-epochs=16,rows=0.1"]
    (curve,) = curves.values()
    counts = [wrong for _, wrong in curve]
    found = row(several, "reference", epochs=16, rows=0.1)
    assert [epoch for epoch, _ in curve] == [3, 6, 9, 12, 15, 16]
    assert counts[-1] == found["errors"]
    assert found["metrics"]["errors_above_fewest"] == counts[-1] - min(counts)
    assert counts[0] > counts[-1]


def test_a_model_that_only_a_correction_needs_is_made_again_if_it_is_gone(run_copy, recipe):
    parts = json.loads((run_copy / "run.json").read_bytes())["parts"]
    judge = run_copy.parent / "artifacts" / "student" / parts["student/2x16-refit=false,temperature=4,without=3"]
    weights = (judge / "model.safetensors").read_bytes()
    shutil.rmtree(judge)
    limbeck.run(recipe, run_copy)
    assert (judge / "model.safetensors").read_bytes() == weights
    assert verify(run_copy) == []


def test_new_words_and_claims_are_shown_though_the_run_is_finished(run_copy, recipe, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in run_copy.parent.rglob("model.safetensors")}
    other = tmp_path / "several.toml"
    other.write_text(recipe.read_text().replace("Threes, never seen, wrong", "Threes that were not recognised"))
    results = limbeck.run(other, run_copy)
    assert "Threes that were not recognised" in [claim["text"] for claim in results["claims"]]
    for name in ("report.html", "recipe.toml", "results.json"):
        assert "Threes that were not recognised" in (run_copy / name).read_text()
    assert {path: path.stat().st_mtime_ns for path in run_copy.parent.rglob("model.safetensors")} == before
    assert verify(run_copy) == []


def test_trials_of_students_of_one_name_are_all_parts_of_the_run(several, recipe, tmp_path):
    text = recipe.read_text()
    student = """
[[student]]
name = "2x16"
transfer = "all"
model = { kind = "mlp", widths = [16, 16] }
train = { epochs = 3, batch_size = 64, learning_rate = 1e-2 }
variant = ["epochs"]
"""
    grids = ['grid = { "distill.temperature" = [1, 2] }', 'grid = { "distill.temperature" = [4, 8] }']
    other = tmp_path / "grids.toml"
    other.write_text(text.replace("[[claim]]", "\n".join(student + grid for grid in grids) + "\n[[claim]]", 1))
    planner = Road.open(other, tmp_path / "run").planner
    trials = [name for name in planned_parts(planner) if "trial=" in name]
    assert trials == [f"student/2x16-epochs=3,trial={number}" for number in (1, 2, 3, 4)]


def test_a_damaged_snapshot_is_named_and_made_again(run_copy, recipe):
    folder = (run_copy / "models" / "reference" / "2x16-epochs=16,rows=0.1").resolve()
    snapshot = folder / "epoch-0003.safetensors"
    whole = snapshot.read_bytes()
    snapshot.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert [damage.path for damage in verify(run_copy)] == [snapshot]
    limbeck.run(recipe, run_copy)
    assert snapshot.read_bytes() == whole


def test_permuting_the_test_labels_changes_no_model_but_the_one_named_after_them(several, recipe, tmp_path):
    road = Road.open(recipe, tmp_path / "other")
    test = road.split.test
    shuffled = replace(test, labels=np.random.default_rng(0).permutation(test.labels))
    road = Road(
        road.name, road.given, road.recipe, 0, Split(road.split.train, road.split.validation, shuffled), road.folder
    )
    road.walk()
    before, now = (json.loads((out / "run.json").read_bytes())["parts"] for out in (several, tmp_path / "other"))
    assert {name for name in before if before[name] != now[name]} == {
        "student/2x16-bias=test,temperature=4,without=3",
        "baseline/2x16-bias=test,without=3",
    }


def test_the_test_rows_are_not_read_before_evaluation(recipe, tmp_path):
    road = Road.open(recipe, tmp_path / "distilled")
    road.walk("distill")
    made = [path.name for path in (tmp_path / "artifacts" / "student").iterdir()]
    parts = json.loads((tmp_path / "distilled" / "run.json").read_bytes())["parts"]
    missing = {name for name, key in parts.items() if name.startswith("student/") and key not in made}
    assert missing == {"student/2x16-bias=test,temperature=4,without=3"}


def test_a_run_with_several_rows_is_whole_and_has_nothing_to_do(run_copy, recipe, contents):
    assert verify(run_copy) == []
    assert inspect(run_copy).facts["state"] == "complete"
    before = contents(run_copy)
    limbeck.run(recipe, run_copy)
    after = contents(run_copy)
    assert {name for name in after if name != ".lock" and before.get(name) != after[name]} == set()


@pytest.mark.parametrize("name", ["student/2x16-bias=validation,temperature=4,without=3",
                                  "student/2x16-refit=false,temperature=4,without=3"])  # fmt: skip
def test_a_damaged_corrected_model_or_its_judge_is_made_again(run_copy, recipe, name):
    key = json.loads((run_copy / "run.json").read_bytes())["parts"][name]
    weights = run_copy.parent / "artifacts" / "student" / key / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-3] + b"abc")
    assert [damage.path for damage in verify(run_copy)] == [weights]
    limbeck.run(recipe, run_copy)
    assert weights.read_bytes() == whole
    assert verify(run_copy) == []


def test_claims_stand_in_results_report_and_comparison(several):
    results = json.loads((several / "results.json").read_bytes())
    wrong = row(several, **NO_3, bias="test")["metrics"]["errors_on_3"]
    assert results["claims"] == [
        {"text": "Threes, never seen, wrong", "show": "errors_on_3", "paper": 14.0, "goal": "few", "here": wrong}
    ]
    page = (several / "report.html").read_text()
    assert "<h2>Paper and here</h2>" in page
    assert "<h2>Errors over settings</h2>" in page


def test_the_command_shows_claims(several, recipe, limbeck):
    for arguments in (("run", recipe, "--out", several), ("compare", several), ("compare", "--markdown", several)):
        code, out, _ = limbeck(*arguments)
        assert code == 0
        assert "Threes, never seen, wrong" in out


def test_a_dry_run_counts_every_model_once(recipe, tmp_path, limbeck):
    code, out, _ = limbeck("run", recipe, "--out", tmp_path / "dry", "--dry-run")
    assert code == 0
    assert out.count("baseline 2x16 (rows 0.1)") == 1
    assert out.count("student 2x16 (bias validation") == out.count("baseline 2x16 (bias validation") == 1
    assert out.count("teacher 2x64") == 2


def test_predictions_are_those_of_the_model_of_that_name(several):
    split = limbeck.load_dataset("digits").split(validation=200, test=0.25)
    name = model_id("student", "2x16", {**NO_3, "bias": "test"})
    model, _ = limbeck.load_model(several / "models" / name)
    kept, _ = read_tensors(several / "predictions" / f"{name}.safetensors")
    found = limbeck.evaluate(model, split.test)
    assert found["errors"] == int((kept["log_probs"].argmax(axis=1) != split.test.labels).sum())
