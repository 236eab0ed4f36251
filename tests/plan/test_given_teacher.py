"""Teachers that exist already, by their path: folders, ONNX and skops files, predictions; and their means."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import limbeck
from limbeck.artifacts import TIMES
from limbeck.data import load_dataset
from limbeck.dry_run import describe_plan
from limbeck.errors import LimbeckError, UsageError
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.knowledge import Knowledge
from limbeck.models import build_model, save_model
from limbeck.models.estimator_file import save_estimator
from limbeck.progress import Lines
from limbeck.recipe.toml import toml_document
from limbeck.road import OTHER_ROWS, Road, run, run_split

RECIPE = """
title = "Given"

[data]
source = "grapes.csv"
label = "grape"
id = "bottle"
ignore = ["colour", "ash"]
validation = 40
test = 0.3

{teachers}

[[student]]
name = "small"
teacher = "{taught_by}"
model = {{ kind = "mlp", widths = [8] }}
train = {{ epochs = 2, batch_size = 32 }}
{more}
"""
TREE = "sklearn.tree._tree.Tree"


@pytest.fixture
def given(grapes, tmp_path):
    """A function: a recipe for the table whose teacher is given by its path, or by these tables of TOML."""
    shutil.copy(grapes.parent / "grapes.csv", tmp_path)

    def write(path=None, *, trust=None, teachers=None, taught_by="given", more="", ignore=None):
        trusted = f"\ntrust = {json.dumps(trust)}" if trust else ""
        teachers = teachers or f'[[teacher]]\nname = "given"\nfrom = "{path}"{trusted}'
        text = RECIPE.format(teachers=teachers, taught_by=taught_by, more=more)
        if ignore is not None:
            text = text.replace('ignore = ["colour", "ash"]', f"ignore = {json.dumps(ignore)}")
        (tmp_path / "given.toml").write_text(text)
        return tmp_path / "given.toml"

    return write


@pytest.fixture
def split(given, tmp_path):
    """The table as the recipe cuts it."""
    recipe = given(teachers='[[teacher]]\nname = "given"\nmodel = { kind = "random-forest", trees = 3 }')
    return Road.open(recipe, tmp_path / "nowhere" / "x").split


@pytest.fixture
def fitted(split, tmp_path):
    """A function: a classifier fitted to the training rows, in a skops file."""

    def write(estimator, names=True):
        labels = np.array(split.train.classes)[split.train.labels] if names else split.train.labels
        save_estimator(tmp_path / "teacher.skops", estimator.fit(split.train.inputs, labels))
        return tmp_path / "teacher.skops"

    return write


@pytest.fixture
def predicted(split, tmp_path):
    """A function: predictions for some parts, probabilities that are right in most rows; as .csv."""

    def write(*parts, hard=False, leave_out=(), name="said.csv", classes=None):
        classes = classes or split.train.classes
        random = np.random.default_rng(0)
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "prediction"] if hard else ["id", *(f"p_{one}" for one in classes)])
            for part in parts:
                for number, label in zip(part.ids, part.labels, strict=True):
                    if number in leave_out:
                        continue
                    scores = random.dirichlet(np.ones(3)) + 1.5 * (np.arange(3) == label)
                    said = classes[scores.argmax()]
                    writer.writerow([number, said] if hard else [number, *(scores / scores.sum())])
        return tmp_path / name

    return write


def walked(recipe, out, until="report", **options):
    """What results.json says, and what was said on the way."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with (out.parent / "said.txt").open("w") as file:
        found = limbeck.run(recipe, out, until=until, progress=Lines(file), **options)
    return found, (out.parent / "said.txt").read_text()


def refused(recipe, tmp_path, kind=LimbeckError):
    with pytest.raises(kind) as error:
        Road.open(recipe, tmp_path / "runs" / "given")
    assert not (tmp_path / "runs").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def shown(page):
    """What a page says, without drawings and scripts."""
    text = re.sub(r"<(script|style|svg).*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def described_as_planned(recipe, out):
    """A dry run before and after the run itself writes nothing, and counts a given teacher as there."""
    text = describe_plan(Road.open(recipe, out), "report")
    assert re.search(r"^there +teacher given ", text, re.MULTILINE)
    return text


# ---------------------------------------------------------------- folders


def test_a_path_that_leads_nowhere_is_named(given, tmp_path):
    assert refused(given("no/where"), tmp_path) == (
        "teacher.given.from: there is no no/where: give the path of a saved model, or of a file of predictions"
    )


@pytest.mark.parametrize(("name", "ending"), [("model.pkl", ".pkl"), ("model", "no suffix")])
def test_a_file_of_another_kind_is_refused(given, tmp_path, name, ending):
    (tmp_path / name).write_bytes(b"x")
    assert refused(given(tmp_path / name), tmp_path) == (
        f"teacher.given.from: {tmp_path / name} ends in {ending}, expected the folder of a saved model, an .onnx or "
        ".skops file, or predictions in one of .csv, .parquet, .npz"
    )


def saved_net(folder, split, classes=None, form=None, shape=None):
    torch.manual_seed(0)
    classes = classes or split.train.classes
    shape = shape or split.train.inputs.shape[1:]
    model = build_model({"kind": "mlp", "widths": [4]}, shape, len(classes), form=form)
    save_model(folder, model, classes)
    return folder


def test_a_folder_of_other_classes_or_of_another_order_is_refused(given, split, tmp_path):
    turned = split.train.classes[::-1]
    folder = saved_net(tmp_path / "net", split, turned, split.train.form)
    assert refused(given(folder), tmp_path) == (
        f"teacher.given.from: {folder} has the classes grignolino, barolo, barbera, but the data has barbera, barolo, grignolino: they must "
        "be the same, in the same order"
    )


def test_a_folder_for_other_inputs_is_refused(given, split, tmp_path):
    folder = saved_net(tmp_path / "net", split, shape=(8, 8))
    assert refused(given(folder), tmp_path) == (
        f"teacher.given.from: {folder} takes inputs of shape (8, 8), but the data's have (3,): give a teacher for these data"
    )


def test_a_folder_for_another_table_s_columns_is_refused(given, grapes_finished, tmp_path):
    """As many columns, but others."""
    folder = grapes_finished / "models" / "teacher" / "forest"
    recipe = given(folder, ignore=[])
    text = (tmp_path / "grapes.csv").read_text()
    (tmp_path / "grapes.csv").write_text(text.replace("magnesium", "iron", 1))
    message = f"teacher.given.from: {folder} was made for a table with other columns or categories than the data's: give a teacher for these"
    assert refused(recipe, tmp_path) == message
    mean = grapes_finished / "models" / "teacher" / "both"
    assert refused(given(mean, ignore=[]), tmp_path) == message.replace(str(folder), str(mean))


def test_an_artifact_keeps_its_key_and_its_answers_out_of_fold(given, grapes_finished, grapes, tmp_path):
    """The same rows: what was recorded of it there is what is recorded here."""
    recipe = tmp_path / "given.toml"
    text = grapes.read_text()
    forest = text[text.index('[[teacher]]\nname = "forest"') : text.index('[[teacher]]\nname = "boosting"')]
    text = text.replace(forest, f'[[teacher]]\nname = "forest"\nfrom = "{grapes_finished}/models/teacher/forest"\n\n')
    given()  # the table
    recipe.write_text(text)
    out = tmp_path / "runs" / "grapes"
    _, heard = walked(recipe, out, "distill")
    parts, before = (json.loads((run / "run.json").read_text())["parts"] for run in (out, grapes_finished))
    assert parts == before
    name = before["knowledge/forest-plain-view=0"]
    recorded = [run.parent / "artifacts" / "knowledge" / name / "00000.safetensors" for run in (out, grapes_finished)]
    assert recorded[0].read_bytes() == recorded[1].read_bytes()
    assert "memorised" not in heard


def test_a_mean_by_its_path_teaches_as_it_did_where_it_was_made(given, grapes_finished, grapes, tmp_path):
    text = grapes.read_text()
    start, stop = text.index("[[teacher]]"), text.index("[[transfer]]")
    mean = f'[[teacher]]\nname = "both"\nfrom = "{grapes_finished}/models/teacher/both"\n\n'
    given()
    recipe = tmp_path / "given.toml"
    recipe.write_text(text[:start] + mean + text[stop:])
    out = tmp_path / "runs" / "grapes"
    _, heard = walked(recipe, out)
    parts, before = (json.loads((run / "run.json").read_text())["parts"] for run in (out, grapes_finished))
    for name in ("teacher/both", "student/plain-temperature=4", "student/munge-rows=munge,temperature=4"):
        assert parts[name] == before[name]
    for mine, theirs in (("both-1", "forest"), ("both-2", "boosting")):
        assert parts[f"knowledge/{mine}-munge-view=1"] == before[f"knowledge/{theirs}-munge-view=1"]
    student = "models/student/plain-temperature=4/model.safetensors"
    assert (out / student).read_bytes() == (grapes_finished / student).read_bytes()
    assert "memorised" not in heard
    assert verify(out) == []
    rows = [json.loads((run / "results.json").read_text())["models"] for run in (out, grapes_finished)]
    mine, theirs = (next(row for row in found if row["name"] == "both") for found in rows)
    assert {name: mine[name] for name in ("errors", "bytes", "parameters")} == {
        name: theirs[name] for name in ("errors", "bytes", "parameters")
    }
    assert describe_plan(Road.open(recipe, out), "report").endswith("nothing to do: all 13 stages are there")


def test_a_mean_by_its_path_is_no_member_of_another(given, grapes_finished, grapes, tmp_path):
    text = grapes.read_text()
    start, stop = text.index("[[teacher]]"), text.index("[[transfer]]")
    teachers = (
        f'[[teacher]]\nname = "a"\nfrom = "{grapes_finished}/models/teacher/both"\n[[teacher]]\nname = "f2"\n'
        'model = { kind = "random-forest", trees = 5 }\n[[teacher]]\nname = "both"\nof = ["a", "f2"]\n\n'
    )
    given()
    (tmp_path / "given.toml").write_text(text[:start] + teachers + text[stop:])
    assert refused(tmp_path / "given.toml", tmp_path, UsageError) == (
        'teacher.both.of: "a" is a mean itself, expected those that it is of'
    )


# ---------------------------------------------------------------- skops


def test_a_fitted_estimator_teaches(given, fitted, split, tmp_path):
    forest = RandomForestClassifier(20, random_state=0)
    recipe = given(fitted(forest), trust=[TREE])
    out = tmp_path / "runs" / "given"
    assert "stages to do" in described_as_planned(recipe, out)
    found, _ = walked(recipe, out)
    teacher = found["models"][0]
    assert (teacher["role"], teacher["name"], teacher["train_seconds"]) == ("teacher", "given", None)
    assert teacher["bytes"] == (tmp_path / "teacher.skops").stat().st_size
    right = np.array(split.test.classes)[split.test.labels] == forest.predict(split.test.inputs)
    assert teacher["errors"] == int((~right).sum())
    assert "nothing to do: all" in described_as_planned(recipe, out)
    assert f"nothing to do: {out} is complete" in walked(recipe, out)[1]
    assert verify(out) == []
    assert inspect(out).facts["state"] == "complete"


def test_classes_as_numbers_are_the_data_s_in_their_order(given, fitted, tmp_path):
    recipe = given(fitted(RandomForestClassifier(20, random_state=0), names=False), trust=[TREE])
    assert walked(recipe, tmp_path / "runs" / "given")[0]["models"][0]["accuracy"] > 0.7


def test_types_that_are_not_known_to_be_safe_are_listed(given, fitted, tmp_path):
    path = fitted(RandomForestClassifier(3, random_state=0))
    assert refused(given(path), tmp_path) == (
        f"{path} holds types that are not known to be safe: {TREE}: if you trust whoever made the file, allow them by "
        f'trust = ["{TREE}"]'
    )


def test_an_estimator_of_other_classes_is_refused_with_its_file(given, split, tmp_path):
    path = tmp_path / "teacher.skops"
    save_estimator(
        path, LogisticRegression(max_iter=1000).fit(split.train.inputs, np.array(["a", "b", "c"])[split.train.labels])
    )
    assert refused(given(path), tmp_path) == (
        f"{path}: the teacher's classes are a, b, c, but the data's are barbera, barolo, grignolino: they must be the "
        "same, by name or as the numbers 0 to 2 in the data's order"
    )


def test_an_estimator_for_other_rows_is_refused_before_anything_is_written(given, split, tmp_path):
    path = tmp_path / "teacher.skops"
    save_estimator(path, LogisticRegression().fit(split.train.inputs[:, :2], split.train.labels))
    assert refused(given(path), tmp_path) == (
        f"{path}: LogisticRegression was fitted to 2 features, but the inputs have 3: give it rows like those it was "
        "fitted to"
    )


def test_a_file_that_is_no_skops_file_is_refused(given, tmp_path):
    (tmp_path / "teacher.skops").write_bytes(b"\x80\x04pickle")
    assert refused(given(tmp_path / "teacher.skops"), tmp_path).startswith(
        f"{tmp_path / 'teacher.skops'} is no skops file, or damaged ("
    )


def test_hard_labels_are_said_to_be_so(given, fitted, tmp_path):
    recipe = given(fitted(LinearSVC(random_state=0)))
    _, heard = walked(recipe, tmp_path / "runs" / "given", "extract")
    assert "teacher given gives hard labels: they say no more than which class it takes\n" in heard


def test_a_teacher_that_remembers_its_rows_is_warned_of(given, fitted, tmp_path):
    recipe = given(fitted(RandomForestClassifier(20, random_state=0)), trust=[TREE])
    _, heard = walked(recipe, tmp_path / "runs" / "given", "extract")
    (line,) = [line for line in heard.splitlines() if "memorised" in line]
    assert re.fullmatch(
        r"teacher given: the teacher agrees with 100\.0% of the labels on its training rows, but with \d\d\.\d% on "
        r"validation rows: it has memorised its rows, and teaches little there that the labels do not say; "
        + re.escape(OTHER_ROWS),
        line,
    )


def test_one_that_is_asked_about_synthetic_rows_needs_no_warning(given, fitted, tmp_path):
    more = 'transfer = "more"\n\n[[transfer]]\nname = "more"\nviews = { count = 1, rows = "munge" }'
    recipe = given(fitted(RandomForestClassifier(20, random_state=0)), trust=[TREE], more=more)
    _, heard = walked(recipe, tmp_path / "runs" / "given", "extract")
    assert "memorised" not in heard


def test_one_that_is_fitted_here_is_asked_out_of_bag_and_needs_no_warning(given, tmp_path):
    here = '[[teacher]]\nname = "given"\nmodel = { kind = "random-forest", trees = 30 }'
    _, heard = walked(given(teachers=here), tmp_path / "runs" / "given", "extract")
    assert "memorised" not in heard


def test_a_forest_of_repeated_rows_says_that_their_twins_were_seen(given, tmp_path):
    here = '[[teacher]]\nname = "given"\nmodel = { kind = "random-forest", trees = 60 }'
    recipe = given(teachers=here)
    _, heard = walked(recipe, tmp_path / "runs" / "given", "teach")
    assert "repeated" not in heard
    header, *rows = (tmp_path / "grapes.csv").read_text().splitlines()
    place = header.split(",").index("bottle")  # the ids
    twins = [
        [*row[:place], str(int(row[place]) + 10**6), *row[place + 1 :]] for row in (one.split(",") for one in rows)
    ]
    (tmp_path / "grapes.csv").write_text("\n".join([header, *rows, *map(",".join, twins)]) + "\n")
    _, heard = walked(recipe, tmp_path / "twice" / "given", "teach")
    assert re.search(r"teacher given: \d+ of its rows are repeated, and trees that have not seen a row", heard)
    _, heard = walked(given(teachers=f"{here}\nfolds = 3"), tmp_path / "folds" / "given", "teach")
    assert "repeated, and trees" not in heard


def test_boosting_without_folds_is_warned_of_with_the_remedy(given, tmp_path):
    here = '[[teacher]]\nname = "given"\nmodel = { kind = "gradient-boosting", iterations = 20, learning_rate = 0.4, leaves = 8, min_samples_leaf = 3 }'
    _, heard = walked(given(teachers=here), tmp_path / "runs" / "given", "extract")
    assert "it has memorised its rows" in heard
    assert "set folds = 3, so that each row is answered by a model that has not seen it" in heard
    _, heard = walked(given(teachers=f"{here}\nfolds = 3"), tmp_path / "folds" / "given", "extract")
    assert "memorised" not in heard


# ---------------------------------------------------------------- ONNX


@pytest.fixture
def onnx_file(split, tmp_path):
    """A net for these three columns as an ONNX file of `limbeck export`."""
    pytest.importorskip("onnxruntime")
    from limbeck.exporting import export_module

    torch.manual_seed(0)
    net = build_model({"kind": "mlp", "widths": [4]}, (3,), 3, split.train.inputs, split.train.form)
    export_module(net, tmp_path / "net.onnx", split.train.classes, split.train.inputs)
    return tmp_path / "net.onnx"


def test_an_onnx_file_teaches(given, grapes_finished, tmp_path):
    """A student of another run, exported; the same rows, and so the same numbers."""
    pytest.importorskip("onnxruntime")
    from limbeck.exporting import export
    from limbeck.files import read_tensors

    exported = grapes_finished / "models" / "student" / "plain-temperature=4"
    export(exported, tmp_path / "net.onnx", rows=str(tmp_path / "grapes.csv"))
    recipe, out = given(tmp_path / "net.onnx", ignore=[]), tmp_path / "runs" / "given"
    recipe.write_text(recipe.read_text().replace("validation = 40", "validation = 30"))
    described_as_planned(recipe, out)
    found, _ = walked(recipe, out)
    row = found["models"][0]
    assert (row["role"], row["bytes"]) == ("teacher", (tmp_path / "net.onnx").stat().st_size)
    mine = read_tensors(out / "predictions/teacher/given.safetensors")[0]["log_probs"]
    theirs = read_tensors(grapes_finished / "predictions/student/plain-temperature=4.safetensors")[0]["log_probs"]
    np.testing.assert_allclose(mine, theirs, atol=1e-4)
    assert verify(out) == []
    assert f"nothing to do: {out} is complete" in walked(recipe, out)[1]
    assert "nothing to do: all" in described_as_planned(recipe, out)


def test_an_onnx_file_of_another_order_of_classes_is_refused(given, split, tmp_path):
    pytest.importorskip("onnxruntime")
    from limbeck.exporting import export_module

    net = build_model({"kind": "mlp", "widths": [4]}, (3,), 3, split.train.inputs, split.train.form)
    export_module(net, tmp_path / "net.onnx", split.train.classes[::-1], split.train.inputs)
    assert refused(given(tmp_path / "net.onnx"), tmp_path) == (
        f'{tmp_path / "net.onnx"} has the classes "grignolino", "barolo", "barbera", but the data have "barbera", '
        '"barolo", "grignolino": a teacher whose classes or order differ from the data\'s'
    )


def test_an_onnx_file_for_other_columns_is_refused(given, onnx_file, tmp_path):
    message = refused(given(onnx_file, ignore=["acid", "ash"]), tmp_path)
    assert message.startswith(f"{onnx_file} ")
    assert '"acid"' in message


# ---------------------------------------------------------------- predictions


def test_predictions_for_all_rows_teach_and_are_measured(given, split, predicted, tmp_path):
    path = predicted(split.train, split.validation, split.test)
    recipe, out = given(path), tmp_path / "runs" / "given"
    described_as_planned(recipe, out)
    found, heard = walked(recipe, out)
    teacher, student, baseline = found["models"]
    assert teacher["accuracy"] > 0.7
    assert [teacher[name] for name in ("parameters", "bytes", "multiply_adds", "latency_ms")] == [None] * 4
    assert teacher["metrics"]["auc"] > 0.7
    assert student["agreement"] is not None
    assert baseline["agreement"] is not None
    assert "memorised" not in heard
    assert verify(out) == []
    assert f"nothing to do: {out} is complete" in walked(recipe, out)[1]
    assert "nothing to do: all" in described_as_planned(recipe, out)


def test_predictions_are_recorded_as_they_are(given, split, predicted, tmp_path):
    path = predicted(split.train)
    out = tmp_path / "runs" / "given"
    walked(given(path), out, "extract")
    (folder,) = (out.parent / "artifacts" / "knowledge").iterdir()
    said = {int(row[0]): list(map(float, row[1:])) for row in list(csv.reader(path.open()))[1:]}
    expected = np.array([said[number] for number in split.train.ids])
    np.testing.assert_allclose(np.exp(Knowledge.open(folder).log_probs().astype(np.float32)), expected, atol=2e-3)


def test_predictions_without_the_test_rows_have_a_row_of_nulls(given, split, predicted, tmp_path, limbeck):
    recipe, out = given(predicted(split.train)), tmp_path / "runs" / "given"
    code, said, _ = limbeck("run", recipe, "--out", out)
    assert code == 0
    teacher, student, _ = json.loads((out / "results.json").read_text())["models"]
    assert (teacher.pop("role"), teacher.pop("name"), teacher.pop("variant"), teacher.pop("metrics")) == (
        "teacher", "given", {}, {},
    )  # fmt: skip
    assert set(teacher.values()) == {None}
    assert [student[name] for name in ("agreement", "gap_recovered")] == [None, None]
    assert student["verdict"] is not None
    assert re.search(r"^teacher +given +– +– +– ", said, re.MULTILINE)
    assert "small learnt from given makes" in said
    page = shown(out / "report.html")
    assert re.search(r"given teacher( –){12}", page)
    assert "None" not in page
    assert "small learnt from given makes" in page
    assert verify(out) == []
    assert inspect(out).facts["state"] == "complete"
    code, _, err = limbeck("run", recipe, "--out", out)
    assert (code, err) == (0, f"nothing to do: {out} is complete\n")
    code, table, _ = limbeck("compare", out)
    assert code == 0
    assert "given" in table


def test_the_same_predictions_in_another_file_and_order_are_the_same_teacher(given, split, predicted, tmp_path):
    path = predicted(split.train)
    header, *lines = path.read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join([header, *reversed(lines)]) + "\n")
    keys = [
        Road.open(given(file), tmp_path / "runs" / "given").planner.teachers()[0].identity.key
        for file in (path, tmp_path / "other.csv")
    ]
    assert keys[0] == keys[1]


def test_rows_without_a_prediction_are_refused_with_their_ids(given, split, predicted, tmp_path):
    left_out = split.train.ids[[3, 7]]
    path = predicted(split.train, leave_out=left_out)
    ids = np.delete(split.train.ids, [3, 7])
    assert refused(given(path), tmp_path) == (
        f"{path} has no row for 2 of {len(split.train)} training rows, the first with id {left_out[0]}, {left_out[1]}: "
        f"its {len(ids)} ids go from {ids.min()} to {ids.max()}; ask the teacher about these rows too, under the data's "
        "own ids"
    )


def test_predictions_for_views_there_are_none(given, split, predicted, tmp_path):
    path = predicted(split.train)
    more = 'transfer = "more"\n\n[[transfer]]\nname = "more"\nviews = { count = 1, rows = "munge" }'
    assert refused(given(path, more=more), tmp_path, UsageError) == (
        "transfer.more.views: teacher given is a file of predictions, which has none for views: leave views out, or "
        "give a teacher that can be asked"
    )


def test_predictions_of_other_classes_are_refused(given, split, predicted, tmp_path):
    path = predicted(split.train, classes=("x", "y", "z"))
    message = refused(given(path), tmp_path)
    assert message.startswith(f"{path}: a teacher whose classes differ from the data's")
    assert '"barbera", "barolo", "grignolino" missing' in message


def test_hard_predictions_are_said_to_be_so(given, split, predicted, tmp_path):
    recipe = given(predicted(split.train, hard=True))
    _, heard = walked(recipe, tmp_path / "runs" / "given", "extract")
    assert "teacher given gives hard labels: they say no more than which class it takes\n" in heard
    assert "memorised" not in heard  # nothing is known of other rows


def test_predictions_that_know_their_rows_by_heart_are_warned_of(given, split, predicted, tmp_path):
    path = predicted(split.train, split.validation)
    rows = list(csv.reader(path.open()))
    train = dict(zip(split.train.ids.tolist(), split.train.labels.tolist(), strict=True))
    other = dict(zip(split.validation.ids.tolist(), split.validation.labels.tolist(), strict=True))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        for number, *_ in rows[1:]:
            label = train.get(int(number), (other.get(int(number), 0) + int(number) % 2) % 3)
            writer.writerow([number, *(0.9 if one == label else 0.05 for one in range(3))])
    _, heard = walked(given(path), tmp_path / "runs" / "given", "extract")
    assert "it has memorised its rows" in heard
    assert heard.rstrip().endswith(OTHER_ROWS)


def test_a_refitted_student_needs_predictions_for_validation_rows_too(given, split, predicted, tmp_path):
    path = predicted(split.train)
    recipe = given(path)
    recipe.write_text(recipe.read_text().replace("batch_size = 32", "batch_size = 32, refit = true"))
    assert f"{path} has no row for {len(split.validation)} of " in refused(recipe, tmp_path)
    recipe.write_text(recipe.read_text().replace(str(path), str(predicted(split.train, split.validation))))
    walked(recipe, tmp_path / "runs" / "given", "distill")


# ---------------------------------------------------------------- means of what is given


def test_a_mean_of_a_given_file_can_be_asked_in_its_run_alone(given, fitted, tmp_path, limbeck):
    skops = fitted(LogisticRegression(max_iter=1000))
    teachers = (
        '[[teacher]]\nname = "forest"\nmodel = { kind = "random-forest", trees = 20 }\n'
        f'[[teacher]]\nname = "a"\nfrom = "{skops}"\n[[teacher]]\nname = "both"\nof = ["forest", "a"]'
    )
    out = tmp_path / "runs" / "given"
    walked(given(teachers=teachers, taught_by="both"), out)
    both = out / "models" / "teacher" / "both"
    code, shown, said = limbeck("predict", str(both), str(tmp_path / "grapes.csv"))
    assert (code, shown) == (1, "")
    assert said.endswith(
        f"{both} is a mean of which member 2 is a file (.skops) that lies elsewhere, where the recipe of its run says "
        "(from): this mean can be asked only in its run\n"
    )
    assert said.count("\n") == 1
    assert verify(out) == []


def test_a_mean_of_predictions_and_an_estimator(given, fitted, split, predicted, tmp_path):
    skops = fitted(LogisticRegression(max_iter=1000))
    path = predicted(split.train, split.validation, split.test)
    teachers = (
        f'[[teacher]]\nname = "a"\nfrom = "{skops}"\n[[teacher]]\nname = "given"\nfrom = "{path}"\n'
        '[[teacher]]\nname = "both"\nof = ["a", "given"]'
    )
    recipe, out = given(teachers=teachers, taught_by="both"), tmp_path / "runs" / "given"
    described_as_planned(recipe, out)
    found, _ = walked(recipe, out)
    a, said, both, student, _ = found["models"]
    assert both["name"] == "both"
    assert both["latency_ms"] is None
    assert both["accuracy"] >= min(a["accuracy"], said["accuracy"]) - 0.05
    assert student["agreement"] is not None
    from limbeck.files import read_tensors

    log_probs = [
        np.exp(read_tensors(out / f"predictions/teacher/{name}.safetensors")[0]["log_probs"])
        for name in ("a", "given", "both")
    ]
    np.testing.assert_allclose(log_probs[2], (log_probs[0] + log_probs[1]) / 2, atol=1e-5)
    assert verify(out) == []
    assert f"nothing to do: {out} is complete" in walked(recipe, out)[1]
    assert "nothing to do: all" in described_as_planned(recipe, out)
    assert inspect(out / "models" / "teacher" / "both").facts["bytes"] == (
        "those of its members, which are not all beside it"
    )


def test_a_mean_with_predictions_for_training_rows_alone_has_a_row_of_nulls(given, split, predicted, tmp_path):
    path = predicted(split.train)
    teachers = (
        '[[teacher]]\nname = "a"\nmodel = { kind = "random-forest", trees = 20 }\n'
        f'[[teacher]]\nname = "given"\nfrom = "{path}"\n[[teacher]]\nname = "both"\nof = ["a", "given"]'
    )
    recipe, out = given(teachers=teachers, taught_by="both"), tmp_path / "runs" / "given"
    found, _ = walked(recipe, out)
    accuracy = {row["name"]: row["accuracy"] for row in found["models"] if row["role"] == "teacher"}
    assert accuracy["a"] is not None
    assert (accuracy["given"], accuracy["both"]) == (None, None)
    assert verify(out) == []
    page = shown(out / "report.html")
    assert re.search(r"both teacher( –){12}", page)
    assert "None" not in page
    # What another teacher finds alike is not what the student learnt.
    assert "finds alike" not in page


def test_predictions_given_teach_nothing_that_depends_on_where_they_lie(given, split, predicted, tmp_path):
    path = predicted(split.train)
    walked(given(path), tmp_path / "one" / "given", "distill")
    moved = shutil.move(path, tmp_path / "elsewhere.csv")
    walked(given(moved), tmp_path / "two" / "given", "distill")
    found = [
        {
            file.relative_to(root).as_posix(): file.read_bytes()
            for file in sorted((root / "artifacts").rglob("*"))
            if file.is_file() and file.name != TIMES and ".locks" not in file.parts
        }
        for root in (tmp_path / "one", tmp_path / "two")
    ]
    assert found[0] == found[1]
    assert run_split(tmp_path / "two" / "given").train.inputs_hash == split.train.inputs_hash


def test_a_relative_path_is_looked_for_beside_the_recipe_first(tmp_path, monkeypatch):
    train = load_dataset("digits").split(validation=200, test=0.25).train
    (tmp_path / "work").mkdir()
    (tmp_path / "recipes").mkdir()
    probabilities = np.full((len(train), 10), 0.01)
    probabilities[np.arange(len(train)), train.labels] = 0.91
    np.savez(tmp_path / "recipes" / "p.npz", ids=train.ids, probabilities=probabilities)
    recipe = {
        "title": "x",
        "data": {"source": "digits", "validation": 200, "test": 0.25},
        "teacher": [{"name": "t", "from": "p.npz"}],
        "student": [{"name": "s", "model": {"kind": "mlp", "widths": [4]}, "train": {"epochs": 1}}],
    }
    (tmp_path / "recipes" / "r.toml").write_text(toml_document(recipe))
    monkeypatch.chdir(tmp_path / "work")
    run("../recipes/r.toml", tmp_path / "runs" / "x", until="extract")
    assert list((tmp_path / "runs" / "artifacts" / "knowledge").iterdir())
