"""The road with rows that nobody has labelled: parts of a transfer set, files of one's own, confidence."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import softmax

import limbeck
from limbeck.data import load_dataset
from limbeck.errors import LimbeckError
from limbeck.inspection.verification import verify
from limbeck.knowledge import Knowledge
from limbeck.models.opening import open_model
from limbeck.progress import Silent
from limbeck.recipe import parse_recipe
from limbeck.road import Road
from limbeck.stages.lessons import lesson_of
from limbeck.training import predict_log_probs
from walks import artifacts, dated_artifacts, folders, made, parts, results, said

UNLABELLED = """
title = "Unlabelled"

[data]
source = "rows.npz"
validation = 200
test = 0.3
labels = 100

[[teacher]]
name = "ensemble"
member_name = "single"
members = 2
model = { kind = "mlp", widths = [32] }
train = { epochs = 8, batch_size = 32, learning_rate = 1e-2 }

[[transfer]]
name = "all"
parts = ["labelled", "unlabelled", "file:more.npz", "file:other.npy"]
views = { count = 1, rotate = 10 }

[[student]]
name = "net"
model = { kind = "mlp", widths = [16] }
train = { epochs = 2, batch_size = 32, learning_rate = 1e-2 }
"""
FOUR = 'transfer.all.parts=["labelled", "unlabelled", "file:more.npz", "file:other.npy", "file:third.npy"]'
PARTS = ["labelled", "unlabelled", "file:more.npz", "file:other.npy"]


class Listening(Silent):
    """A progress that remembers how many steps each stage has."""

    def __init__(self):
        self.totals = {}

    def start(self, title, total):
        self.totals[title] = total


def sure_of(road, stage):
    """How sure a student's teacher is of the rows themselves, worked out from the stored knowledge: (rows,)."""
    each = [
        np.concatenate([Knowledge.open(road.store.folder(one.identity)).log_probs() for one in found if not one.view])
        for _, found in stage.recorded()
    ]
    return np.mean([softmax(one.astype(np.float64), axis=1) for one in each], axis=0).max(axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """A folder with a recipe, labelled rows in a file, and rows without labels in four."""
    found = tmp_path_factory.mktemp("unlabelled")
    inputs = digits.inputs
    np.savez(found / "rows.npz", inputs=inputs[:900], labels=digits.labels[:900])
    np.savez(found / "more.npz", inputs=inputs[900:1100])
    np.save(found / "other.npy", inputs[1100:1250])
    np.save(found / "third.npy", inputs[1250:1400])
    (found / "recipe.toml").write_text(UNLABELLED)
    return found


@pytest.fixture(scope="module")
def recipe(folder):
    return folder / "recipe.toml"


@pytest.fixture(scope="module")
def finished_run(recipe, tmp_path_factory):
    """A finished run of that recipe. Not to be changed: `copied_run` is a copy."""
    out = tmp_path_factory.mktemp("finished_unlabelled") / "run"
    limbeck.run(recipe, out)
    return out


@pytest.fixture
def copied_run(finished_run, tmp_path):
    shutil.copytree(finished_run.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "run"


# ---------------------------------------------------------------- parts


def test_the_results_have_what_the_teacher_knows_of_every_part(finished_run):
    found = results(finished_run)["parts"]
    assert [(one["transfer"], one["part"], one["teacher"]) for one in found] == [
        ("all", name, "teacher/ensemble") for name in PARTS
    ]
    assert [(one["rows"], one["labelled"], one["kept"]) for one in found] == [
        (100, 100, None),
        (330, 0, None),
        (200, 0, None),
        (150, 0, None),
    ]
    assert [one["agreement"] is None for one in found] == [False, True, True, True]
    assert all(one["validation"]["rows"] == 200 and one["difference"] is not None for one in found)


def test_what_the_teacher_knows_of_a_part_can_be_worked_out_from_its_knowledge(finished_run, recipe):
    road = Road.open(recipe, finished_run)
    (stage,) = road.planner.students()[0].trials
    sure, start = sure_of(road, stage), 0
    for one in results(finished_run)["parts"]:
        rows = slice(start, start := start + one["rows"])
        assert one["confidence"] == pytest.approx(sure[rows].mean(), abs=1e-6)
        assert one["below_half"] == pytest.approx((sure[rows] < 0.5).mean())
    members = [open_model(finished_run / f"models/reference/single-member={number}")[0] for number in (1, 2)]
    validation = np.mean([np.exp(predict_log_probs(one, road.split.validation.inputs)) for one in members], axis=0)
    assert results(finished_run)["parts"][0]["validation"]["confidence"] == pytest.approx(
        validation.max(axis=1).mean(), abs=1e-3
    )


def test_a_student_sees_the_rows_of_all_parts_and_a_baseline_those_with_labels(finished_run, recipe, digits):
    road = Road.open(recipe, finished_run)
    (plan,) = road.planner.students()
    train = plan.trials[0].rows.train
    assert (train.labels >= 0).sum() == 100
    assert (train.labels[:100] >= 0).all()
    np.testing.assert_array_equal(train.inputs[430:630], digits.inputs[900:1100])
    np.testing.assert_array_equal(train.inputs[630:], digits.inputs[1100:1250])
    inputs, log_probs = road.workshop.recordings.read(plan.trials[0])
    assert inputs.shape == (2, 780, 8, 8)
    assert log_probs.shape == (2, 780, 10)
    np.testing.assert_array_equal(inputs[0], train.inputs)
    baseline = plan.baselines[0].rows.train
    np.testing.assert_array_equal(baseline.inputs, train.inputs[:100])


def test_knowledge_is_kept_for_each_part(finished_run):
    named = parts(finished_run)
    knowledge = {name: key for name, key in named.items() if name.startswith("knowledge/")}
    assert len(knowledge) == len(set(knowledge.values())) == 2 * 4 * 2  # members, parts, views
    rows = []
    for view in (0, 1):
        for part in ("labelled", "unlabelled"):
            key = named[f"knowledge/single-member=1-all-{part}-view={view}"]
            described = (finished_run.parent / "artifacts/knowledge" / key / "knowledge.json").read_bytes()
            rows.append(json.loads(described)["rows"])
    assert rows == [100, 330, 100, 330]
    assert verify(finished_run) == []


def test_the_same_call_again_has_nothing_to_do(copied_run, recipe, contents):
    before = contents(copied_run.parent)
    assert f"nothing to do: {copied_run} is complete" in said(recipe, copied_run)
    after = contents(copied_run.parent)
    assert {name for name in before if before[name] != after[name] and not name.endswith(".lock")} == set()


def test_one_more_file_is_recorded_and_nothing_else_but_the_student_is_made(copied_run, recipe):
    before = dated_artifacts(copied_run.parent)
    out = copied_run.parent / "four"
    heard = said(recipe, out, sets=[FOUR])
    after = dated_artifacts(copied_run.parent)
    assert {name: after[name] for name in before} == before
    assert [one for one in made(heard) if not one.startswith("knowledge")] == [
        "student net (temperature 4)",
        "baseline net",  # which takes as many steps as its student
    ]
    new = folders(after) - folders(before)
    assert len([one for one in new if one.startswith("knowledge/")]) == 2 * 2  # two members, two views
    assert not any(one.startswith("teacher/") for one in new)
    assert [one["part"] for one in results(out)["parts"]] == [*PARTS, "file:third.npy"]


def test_where_a_file_lies_and_what_it_is_called_make_no_difference(copied_run, recipe, folder, tmp_path):
    shutil.copy(folder / "more.npz", tmp_path / "renamed.npz")
    sets = [f'transfer.all.parts=["labelled", "unlabelled", "file:{tmp_path}/renamed.npz", "file:other.npy"]']
    before = dated_artifacts(copied_run.parent)
    assert made(said(recipe, copied_run.parent / "renamed", sets=sets)) == []
    assert dated_artifacts(copied_run.parent) == before


def test_a_file_in_another_place_in_the_list_keeps_what_is_known_of_it(copied_run, recipe):
    sets = ['transfer.all.parts=["file:other.npy", "labelled", "file:more.npz", "unlabelled"]']
    heard = said(recipe, copied_run.parent / "turned", sets=sets)
    assert made(heard) == ["student net (temperature 4)"]
    assert [one["rows"] for one in results(copied_run.parent / "turned")["parts"]] == [150, 100, 200, 330]


def test_a_file_whose_content_changed_is_other_rows(copied_run, recipe, folder, tmp_path):
    changed = tmp_path / "recipe"
    shutil.copytree(folder, changed)
    np.save(changed / "other.npy", np.load(folder / "other.npy")[::-1])
    heard = said(changed / "recipe.toml", copied_run)
    assert "nothing to do" not in heard
    assert [one for one in made(heard) if "net" in one] == ["student net (temperature 4)"]


def test_files_alone_teach_a_student(copied_run, recipe):
    sets = ['transfer.all.parts=["file:more.npz", "file:other.npy"]']
    found = limbeck.run(recipe, copied_run.parent / "files", sets=sets)
    assert [one["labelled"] for one in found["parts"]] == [0, 0]
    assert [one["role"] for one in found["models"]][-2:] == ["student", "baseline"]


def test_some_rows_take_those_with_labels_first_and_more_have_fewer_among_them(recipe, tmp_path):
    ids = []
    for rows in (150, 300):
        road = Road.open(recipe, tmp_path / "runs" / "some", sets=[f"transfer.all.select={{rows={rows}}}"])
        (stage,) = road.planner.students()[0].trials
        train = stage.rows.train
        assert len(train) == rows
        assert (train.labels >= 0).sum() == 100
        ids.append({(row.tobytes()) for row in train.inputs})
    assert ids[0] < ids[1]


# ---------------------------------------------------------------- labels that are taken away


def test_labels_that_are_taken_away_reach_nothing(recipe, tmp_path, digits):
    held_out = {
        "validation": digits.take(np.arange(900, 1100)).named("validation"),
        "test": digits.take(np.arange(1100, 1400)).named("test"),
    }
    true = digits.labels[:900].copy()

    def split(given, **few):
        np.savez(tmp_path / "rows.npz", x_train=digits.inputs[:900], y_train=given, x_test=digits.inputs[1100:1400])
        return replace(load_dataset(str(tmp_path / "rows.npz")).split(**few), **held_out)

    kept = split(true, labels=100).train.labels >= 0
    assert kept.sum() == 100
    # Which rows keep theirs is drawn by class. Rows that no class would have: among these, labels may change places.
    drawn = np.random.default_rng(0).random(900)
    late = np.flatnonzero(drawn > drawn[kept].max())
    assert len(late) > 500
    other = true.copy()
    other[late] = np.random.default_rng(1).permutation(true[late])
    assert (other[~kept] != true[~kept]).mean() > 0.5
    found = {}
    for name, cut in (
        ("true", split(true, labels=100)),
        ("other", split(other, labels=100)),
        ("none", split(np.where(kept, true, -1))),
    ):
        parts = 'transfer.all.parts=["labelled", "unlabelled"]'
        road = Road.open(recipe, tmp_path / "runs" / name / "run", sets=[parts])
        facts = replace(road, split=cut).walk()["parts"]
        found[name] = artifacts(tmp_path / "runs" / name), facts
        assert len(folders(found[name][0])) == 3 + 8 + 2
    assert found["other"] == found["true"]
    assert found["none"] == found["true"]


# ---------------------------------------------------------------- confidence


def test_rows_of_which_the_teacher_is_too_little_sure_are_not_learnt_from(copied_run, recipe):
    road = Road.open(recipe, copied_run)
    (stage,) = road.planner.students()[0].trials
    sure, labelled = sure_of(road, stage), stage.rows.train.labels >= 0
    least = round(float(np.median(sure[~labelled])), 3)
    sets = [f"transfer.all.confidence={{least={least}}}", "student.net.train.batch_size=1"]
    out, told = copied_run.parent / "sure", Listening()
    found = limbeck.run(recipe, out, sets=sets, progress=told)
    kept = labelled | (sure >= least)
    assert 100 < kept.sum() < len(kept)
    assert told.totals["student net (temperature 4)"] == 2 * kept.sum()
    starts = np.cumsum([0, *(one["rows"] for one in found["parts"])])
    assert [one["kept"] for one in found["parts"]] == [kept[slice(*ends)].sum() for ends in pairwise(starts)]
    again = Road.open(recipe, out, sets=sets)
    _, batches = lesson_of(again.planner.students()[0].trials[0], again.workshop.recordings, Silent())
    seen = sorted(row for batch in batches.batches(0, 0) for row in batch.rows.tolist())
    assert seen == np.flatnonzero(kept).tolist()


def test_how_many_rows_are_kept_is_said(copied_run, recipe):
    sets = ["transfer.all.confidence={least=0.5}"]
    heard = said(recipe, copied_run.parent / "sure", sets=sets)
    found = results(copied_run.parent / "sure")["parts"]
    kept, rows = (sum(one[key] for one in found[1:]) for key in ("kept", "rows"))
    assert found[0]["kept"] == 100
    assert (
        f"student net (temperature 4): teacher ensemble is at least 50% sure of {kept} of {rows} rows without labels"
    ) in heard.splitlines()
    assert [one for one in made(heard) if "knowledge" in one or "member" in one] == []


def test_rows_without_labels_count_by_how_sure_the_teacher_is(copied_run, recipe):
    sets = ["transfer.all.confidence={weight=true}"]
    out = copied_run.parent / "weighted"
    limbeck.run(recipe, out, sets=sets)
    road = Road.open(recipe, out, sets=sets)
    (stage,) = road.planner.students()[0].trials
    targets, batches = lesson_of(stage, road.workshop.recordings, Silent())
    expected = np.where(stage.rows.train.labels >= 0, 1, sure_of(road, stage))
    for batch in batches.batches(0, 0):
        counted = targets.batch(batch.rows, batch.view).weights.numpy()
        np.testing.assert_allclose(counted, expected[batch.rows.numpy()], atol=1e-6)
    assert parts(out)["student/net-temperature=4"] != parts(copied_run)["student/net-temperature=4"]
    assert parts(out)["baseline/net"] == parts(copied_run)["baseline/net"]


def test_a_confidence_that_no_row_has_is_one_clear_line(copied_run, recipe, limbeck):
    before = dated_artifacts(copied_run.parent)
    sets = ('transfer.all.parts=["file:more.npz", "file:other.npy"]', "transfer.all.confidence={least=1}")
    options = [word for change in sets for word in ("--set", change)]
    code, _, err = limbeck("run", recipe, "--out", copied_run.parent / "sure", *options)
    assert code == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        "limbeck: student net (temperature 4): teacher ensemble is less sure than 1.0 of every row: lower "
        "confidence.least of its transfer set"
    )
    after = dated_artifacts(copied_run.parent)
    assert {name: after[name] for name in before} == before
    assert not list((copied_run.parent / "artifacts" / "student").glob("*.part/*.safetensors"))


def test_with_labels_a_confidence_that_no_row_has_leaves_the_labelled_rows(copied_run, recipe):
    sets = ["transfer.all.confidence={least=1}"]
    found = limbeck.run(recipe, copied_run.parent / "labels", sets=sets)["parts"]
    assert [one["kept"] for one in found] == [100, 0, 0, 0]


# ---------------------------------------------------------------- baselines


def test_a_baseline_takes_about_as_many_steps_as_its_student(recipe, tmp_path):
    told = Listening()
    limbeck.run(recipe, tmp_path / "runs" / "run", progress=told, sets=["student.net.train.batch_size=10"])
    student, baseline = told.totals["student net (temperature 4)"], told.totals["baseline net"]
    assert student == 2 * 78
    assert baseline == 2 * 8 * 10  # eight times over a hundred rows, against 780
    history = json.loads((tmp_path / "runs/run/models/baseline/net/history.json").read_bytes())
    assert len(history["epochs"]) == 2


def test_a_baseline_of_labelled_rows_alone_goes_over_them_once(recipe, tmp_path):
    told = Listening()
    sets = ['transfer.all.parts=["labelled"]', "student.net.train.batch_size=10"]
    limbeck.run(recipe, tmp_path / "runs" / "run", progress=told, sets=sets, until="distill")
    assert told.totals["student net (temperature 4)"] == told.totals["baseline net"] == 2 * 10


# ---------------------------------------------------------------- bad input


@pytest.fixture
def bad(tmp_path, folder):
    """A folder with the recipe and files that do not fit it."""
    shutil.copytree(folder, tmp_path / "bad")
    found = tmp_path / "bad"
    split = load_dataset(str(folder / "rows.npz")).split(validation=200, test=0.3, labels=100)
    fine = np.load(folder / "third.npy")
    np.save(found / "tested.npy", np.concatenate([fine, split.test.inputs[3:5]]))
    np.save(found / "chosen.npy", np.concatenate([split.validation.inputs[:1], fine]))
    np.save(found / "wide.npy", np.zeros((5, 9, 8), np.uint8))
    np.save(found / "real.npy", fine.astype(np.float32) / 16)
    np.save(found / "empty.npy", np.zeros((0, 8, 8), np.uint8))
    np.savez(found / "named.npz", inputs=fine, wrong=fine)
    (found / "text.npy").write_text("no array")
    (found / "rows.txt").write_text("1 2 3")
    return found


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("file:tested.npy", "file:tested.npy: 2 of its 152 rows are also test rows (row 150, 151)"),
        ("file:chosen.npy", "file:chosen.npy: 1 of its 151 rows is also a validation row (row 0)"),
        ("file:wide.npy", "wide.npy"),
        ("file:real.npy", "real.npy"),
        ("file:empty.npy", "empty.npy"),
        ("file:named.npz", "named.npz"),
        ("file:text.npy", "text.npy"),
        ("file:rows.txt", "rows.txt"),
        ("file:missing.npy", "missing.npy does not exist"),
        ("unlabeled", 'no part is named "unlabeled", did you mean "unlabelled"?'),
        ("file:", 'found "file:" without a path'),
        ("test", 'no part is named "test"'),
    ],
)
def test_a_part_that_cannot_be_is_refused_in_one_line_and_nothing_is_lost(
    copied_run, bad, refused, contents, part, message
):
    before = contents(copied_run.parent)
    for out in (copied_run, copied_run.parent / "new"):
        code, line = refused(
            "run", bad / "recipe.toml", "--out", out, "--set", f'transfer.all.parts=["labelled", "{part}"]'
        )
        assert code in (1, 2)
        if out is not copied_run:
            assert message in line
            assert "transfer.all.parts" in line
    assert contents(copied_run.parent) == before


@pytest.mark.parametrize("labels", ["5", "431", "0", "1.5", "true"])
def test_a_number_of_labels_that_cannot_be_is_refused_in_one_line(recipe, tmp_path, refused, labels):
    code, line = refused("run", recipe, "--out", tmp_path / "runs" / "run", "--set", f"data.labels={labels}")
    assert code in (1, 2)
    assert "labels" in line
    assert not (tmp_path / "runs").exists()


def test_as_a_command_a_part_of_test_rows_ends_with_one_line_and_code_1(bad, tmp_path):
    command = [sys.executable, "-m", "limbeck", "run", str(bad / "recipe.toml"), "--out", str(tmp_path / "runs" / "r")]
    done = subprocess.run(
        [*command, "--set", 'transfer.all.parts=["labelled", "file:tested.npy"]'], capture_output=True, text=True
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("limbeck: transfer.all.parts: file:tested.npy: 2 of its 152 rows are also test rows")
    assert not (tmp_path / "runs").exists()


def test_a_file_part_with_labels_of_its_own_counts_as_unlabelled(recipe, folder, digits, tmp_path):
    np.savez(tmp_path / "labelled.npz", inputs=digits.inputs[900:1100], labels=digits.labels[900:1100])
    road = Road.open(
        recipe, tmp_path / "runs" / "run", sets=[f'transfer.all.parts=["labelled", "file:{tmp_path}/labelled.npz"]']
    )
    (stage,) = road.planner.students()[0].trials
    assert (stage.rows.train.labels[100:] == -1).all()


def test_a_file_that_goes_missing_is_named_and_the_run_is_left_whole(copied_run, bad, contents):
    (bad / "more.npz").unlink()
    before = contents(copied_run.parent)
    with pytest.raises(LimbeckError, match=r"transfer\.all\.parts: .*more\.npz does not exist"):
        limbeck.run(bad / "recipe.toml", copied_run)
    assert contents(copied_run.parent) == before


def test_predictions_by_row_number_are_not_taken_for_those_of_another_files_rows(recipe, folder, tmp_path, refused):
    np.savez(tmp_path / "guesses.npz", ids=np.arange(900), logits=np.eye(10)[np.arange(900) % 10])
    whole = UNLABELLED.split("[[transfer]]")
    teacher = (
        f'{whole[0].partition("[[teacher]]")[0]}[[teacher]]\nname = "guesses"\nfrom = "{tmp_path}/guesses.npz"\n\n'
    )
    given = folder / "given.toml"
    given.write_text(f"{teacher}[[transfer]]{whole[1].replace('views = { count = 1, rotate = 10 }', '')}")
    code, line = refused("run", given, "--out", tmp_path / "runs" / "run")
    assert code in (1, 2)
    assert "teacher guesses is a file of predictions" in line
    assert "file:more.npz" in line


def test_smoothed_labels_on_rows_without_labels_are_refused_for_that_reason(recipe, tmp_path, refused):
    change = 'student.net.distill.targets="smoothed_labels"'
    code, line = refused("run", recipe, "--out", tmp_path / "runs" / "run", "--set", change)
    assert code in (1, 2)
    assert "no labels" in line
    assert "synthetic" not in line


def test_a_forest_answers_for_training_rows_in_a_file_by_the_trees_that_have_not_seen_them(tmp_path):
    """They are known by what is in them: in a file they have other numbers."""
    data = {"source": "digits", "validation": 200, "test": 0.3}
    train = limbeck.load_dataset("digits").split(validation=200, test=0.3).train
    np.savez(tmp_path / "again.npz", x=train.inputs[:300])
    recipe = {
        "title": "Again", "data": data,
        "teacher": [{"name": "forest", "model": {"kind": "random-forest", "trees": 20}}],
        "transfer": [{"name": "all", "parts": ["train", f"file:{tmp_path / 'again.npz'}"], "dtype": "float32"}],
        "student": [{"name": "net", "model": {"kind": "mlp", "widths": [8]}, "train": {"epochs": 1}}],
    }  # fmt: skip
    of_train, of_file = limbeck.run(parse_recipe(recipe, "again"), tmp_path / "runs" / "again")["parts"]
    assert of_file["rows"] == 300
    assert abs(of_file["confidence"] - of_train["confidence"]) < 0.05
