import json
import os
import shutil

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError
from limbeck.inspection import verification
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.models import build_model, save_model


def artifact(run, kind, number=0):
    return sorted((run.parent / "artifacts" / kind).iterdir())[number]


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def named(path):
    """The names of the files that are damaged, each in one line that repeats its path."""
    found = verify(path)
    for damage in found:
        assert str(damage.path) in str(damage)
        assert "\n" not in str(damage)
    return [damage.path.name for damage in found]


# ---------------------------------------------------------------- what it is


def test_an_onnx_file_says_what_it_takes_and_gives(finished, grapes_finished, tmp_path, limbeck):
    pytest.importorskip("onnxruntime")
    from limbeck.exporting import export

    model = finished / "models" / "student" / "2x16-temperature=4"
    export(model, tmp_path / "m.onnx")
    code, out, _ = limbeck("inspect", tmp_path / "m.onnx")
    assert (code, out.splitlines()) == (
        0,
        [
            f"{tmp_path / 'm.onnx'}: ONNX model",
            f"  key          {model.resolve().name}",
            "  kind         mlp",
            "  input shape  (8, 8)",
            "  classes      10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
            f"  bytes        {(tmp_path / 'm.onnx').stat().st_size:,}",
        ],
    )
    assert verify(tmp_path / "m.onnx") == []
    export(grapes_finished / "models" / "student" / "plain-temperature=4", tmp_path / "g.onnx")
    assert inspect(tmp_path / "g.onnx").facts["columns"].startswith("5: ")


@pytest.mark.parametrize("ask", [inspect, verify])
def test_a_file_that_is_no_onnx_model_is_refused(tmp_path, ask):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(LimbeckError) as error:
        ask(tmp_path / "notes.txt")
    assert str(error.value) == (
        f"{tmp_path / 'notes.txt'} is neither an artifact nor a run, and no .onnx file: give the path of one of these"
    )


def test_a_teacher_is_described(finished):
    folder = artifact(finished, "teacher")
    found = inspect(folder)
    assert found.kind == "teacher"
    assert found.facts["key"] == folder.name
    assert found.facts["model"] == "convnet (dropout 0.25, hidden 16, widths [8, 8, 16])"
    assert found.facts["input shape"] == "(8, 8)"
    assert found.facts["classes"] == "10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert found.facts["seed"] == "0"
    assert "epochs 3" in found.facts["training"]
    history = json.loads((folder / "history.json").read_text())
    assert found.facts["kept epoch"] == f"{history['kept_epoch']} of 3"
    kept = history["epochs"][history["kept_epoch"] - 1]
    assert found.facts["validation accuracy"] == f"{kept['validation_accuracy']:.2%}"


def test_a_student_is_described_by_any_of_its_names(finished):
    link = finished / "models" / "student" / "2x16-temperature=4"
    found = inspect(link)
    assert found.kind == "student"
    assert found.facts == inspect(link.resolve()).facts
    assert "temperature 4" in found.facts["objective"]
    assert found.facts["knowledge"].count(",") == 2
    assert "knowledge" not in inspect(finished / "models" / "baseline" / "2x16").facts


def test_knowledge_is_described(finished):
    found = [inspect(artifact(finished, "knowledge", number)) for number in range(3)]
    assert [one.kind for one in found] == ["knowledge"] * 3
    for one in found:
        assert one.facts["rows"] == "1,147"
        assert one.facts["shards"] == "1"
        assert one.facts["teacher"] == artifact(finished, "teacher").name
        assert one.facts["outputs"] == "categorical, log-probabilities at temperature 1 as float16"
        size = sum(path.stat().st_size for path in one.path.iterdir())
        assert one.facts["bytes"] == f"{size:,}"
    views = sorted(one.facts["view"] for one in found)
    assert views == ["number 1 (rotate 10, shift 0.5)", "number 2 (rotate 10, shift 0.5)", "the inputs themselves"]


def test_knowledge_shows_the_classes_that_it_finds_most_alike(finished):
    shown = inspect(artifact(finished, "knowledge")).facts["most alike"]
    first = shown.split(", ")[0]
    assert first.count(" and ") == 1
    assert 0 < float(first.partition("(")[2].rstrip(")")) < 1


def test_a_run_is_described(finished):
    found = inspect(finished)
    assert found.kind == "run"
    assert (found.facts["recipe"], found.facts["seed"]) == ("tiny", "0")
    assert found.facts["command"].startswith("limbeck run ")
    assert "torch" in found.facts["versions"]
    assert found.facts["student/2x16-temperature=4"] == (finished / "models/student/2x16-temperature=4").resolve().name
    assert found.facts["knowledge"] == "3 artifacts"
    assert found.facts["state"] == "complete"


def test_an_unfinished_run_says_so(tiny_run):
    for name in ("report.html", "results.json", "run.json"):
        (tiny_run / name).unlink()
        assert inspect(tiny_run).facts["state"] == "unfinished: the same command goes on"
    assert inspect(tiny_run).facts["seed"] == "0"


def test_unfinished_knowledge_says_how_far_it_is(tiny_run):
    folder = artifact(tiny_run, "knowledge")
    (folder / "SHA256SUMS").unlink()
    part = folder.rename(folder.with_name(f"{folder.name}.part"))
    found = inspect(part)
    assert found.kind == "unfinished knowledge"
    assert found.facts["recorded"] == "1,147 of 1,147 rows; the same command goes on"
    (part / "00000.safetensors").unlink()
    assert inspect(part).facts["recorded"] == "0 of 1,147 rows; the same command goes on"


def test_an_unfinished_model_says_what_is_there(tiny_run):
    folder = artifact(tiny_run, "teacher")
    part = folder.rename(folder.with_name(f"{folder.name}.part"))
    for path in part.iterdir():
        if path.name != "plan.json":
            path.unlink()
    found = inspect(part)
    assert found.kind == "unfinished artifact"
    assert found.facts == {"key": folder.name, "files": "plan.json"}


def test_an_artifact_is_described_wherever_it_lies(tiny_run, tmp_path):
    copied = shutil.copytree(artifact(tiny_run, "teacher"), tmp_path / "elsewhere")
    assert inspect(copied).facts == inspect(artifact(tiny_run, "teacher")).facts
    assert verify(copied) == []


def test_what_is_neither_artifact_nor_run_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LimbeckError, match=f"{tmp_path}/none does not exist"):
        inspect(tmp_path / "none")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(LimbeckError, match=f"{path} is neither an artifact nor a run"):
            inspect(path)
        with pytest.raises(LimbeckError, match=f"{path} is neither an artifact nor a run"):
            verify(path)


@pytest.mark.parametrize("content", ['{"what": "another program\'s"}', "[]", "{", ""])
def test_another_program_s_model_json_is_no_traceback(tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    for look in (inspect, verify):
        with pytest.raises(DamagedFileError, match=r"model\.json is damaged"):
            look(tmp_path)


@pytest.mark.parametrize("content", ['{"what": "another program\'s"}', "[]", "{", ""])
def test_another_program_s_knowledge_json_is_no_traceback(tmp_path, content):
    for folder in (tmp_path / "x", tmp_path / "x.part"):
        folder.mkdir()
        (folder / "knowledge.json").write_text(content)
        with pytest.raises(LimbeckError, match="damaged"):
            inspect(folder)


# ---------------------------------------------------------------- whether it is whole


def test_a_finished_run_and_all_that_it_made_are_whole(finished):
    assert verify(finished) == []
    for kind, count in (("teacher", 1), ("knowledge", 3), ("student", 2)):
        for number in range(count):
            assert verify(artifact(finished, kind, number)) == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("teacher", "model.safetensors"),
        ("teacher", "model.json"),
        ("student", "history.json"),
        ("student", "plan.json"),
        ("student", "SHA256SUMS"),
        ("knowledge", "knowledge.json"),
        ("knowledge", "plan.json"),
        ("knowledge", "00000.safetensors"),
        ("knowledge", "SHA256SUMS"),
    ],
)
@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_every_damaged_file_is_named_from_the_artifact_and_from_the_run(tiny_run, kind, name, damage):
    folder = artifact(tiny_run, kind)
    if damage == "flipped":
        flip(folder / name, 9)
    else:
        (folder / name).unlink()
    assert named(folder) == [name]
    assert named(tiny_run) == [name]


def test_several_damaged_files_are_all_named(tiny_run):
    folder = artifact(tiny_run, "student")
    flip(folder / "model.safetensors")
    (folder / "history.json").unlink()
    assert named(folder) == ["history.json", "model.safetensors"]
    flip(artifact(tiny_run, "knowledge") / "00000.safetensors")
    assert sorted(named(tiny_run)) == ["00000.safetensors", "history.json", "model.safetensors"]


def test_whole_content_under_another_key_is_named(tiny_run):
    first, second = (artifact(tiny_run, "student", number) for number in range(2))
    shutil.rmtree(second)
    shutil.copytree(first, second)
    (damage,) = verify(second)
    assert f"its content is that of {first.name}" in str(damage)


def test_times_are_not_vouched_for(tiny_run):
    (artifact(tiny_run, "student") / "times.json").write_text('{"seconds": 0}')
    assert verify(tiny_run) == []


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_damaged_prediction_is_named(tiny_run, damage):
    path = tiny_run / "predictions" / "student" / "2x16-temperature=4.safetensors"
    if damage == "flipped":
        flip(path)
    else:
        path.unlink()
    assert named(tiny_run) == [path.name]


@pytest.mark.parametrize("name", ["run.json", "results.json"])
def test_a_damaged_file_of_the_run_is_named(tiny_run, name):
    (tiny_run / name).write_text("{")
    assert named(tiny_run) == [name]


def test_a_missing_artifact_of_a_run_is_named_with_its_part(tiny_run):
    folder = artifact(tiny_run, "teacher")
    shutil.rmtree(folder)
    (damage,) = verify(tiny_run)
    assert damage.path == folder
    assert f"it is missing (teacher/convnet of {tiny_run})" in str(damage)


def test_an_unfinished_artifact_is_not_whole(tiny_run):
    folder = artifact(tiny_run, "knowledge")
    part = folder.rename(folder.with_name(f"{folder.name}.part"))
    (damage,) = verify(part)
    assert "it is unfinished" in str(damage)


def test_a_model_that_was_only_saved_vouches_for_its_weights(tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "model", build_model({"kind": "mlp", "widths": [4]}, (8, 8), 10), tuple("0123456789"))
    assert inspect(tmp_path / "model").kind == "model"
    assert verify(tmp_path / "model") == []
    flip(tmp_path / "model" / "model.safetensors")
    assert named(tmp_path / "model") == ["model.safetensors"]


def test_inspecting_changes_nothing(tiny_run, contents):
    before = contents(tiny_run.parent)
    inspect(tiny_run)
    verify(tiny_run)
    for kind in ("teacher", "knowledge", "student"):
        inspect(artifact(tiny_run, kind))
    assert contents(tiny_run.parent) == before


def test_a_broken_link_among_the_models_is_no_traceback(tiny_run):
    link = tiny_run / "models" / "student" / "2x16-temperature=4"
    link.unlink()
    os.symlink("nowhere", link)
    with pytest.raises(LimbeckError, match="does not exist"):
        inspect(link)
    assert verification.verify(tiny_run) == []  # the artifact itself is there


def test_knowledge_says_which_classes_are_alike_and_what_temperature_does(finished):
    folder = next(path for path in (finished.parent / "artifacts" / "knowledge").iterdir() if path.is_dir())
    similar, richest = inspect(folder).tables.values()
    lines = similar.splitlines()
    assert lines[0].split() == list("0123456789")
    for number, line in enumerate(lines[2:]):
        name, *shares = line.split()
        assert name == str(number)
        assert sum(map(float, shares)) == pytest.approx(100, abs=0.6)
    assert [line.split("T = ")[1].split()[0] for line in richest.splitlines()[2:5]] == ["1", "4", "20"]


def test_the_command_prints_the_tables(finished, limbeck):
    folder = next(path for path in (finished.parent / "artifacts" / "knowledge").iterdir() if path.is_dir())
    code, out, _ = limbeck("inspect", folder)
    assert code == 0
    assert "the richest soft targets" in out


# ---------------------------------------------------------------- estimators and their mean


def test_a_forest_is_described(grapes_finished):
    folder = grapes_finished / "models" / "teacher" / "forest"
    found = inspect(folder)
    assert found.kind == "teacher"
    assert found.facts["model"] == "random-forest (max_depth None, max_features sqrt, min_samples_leaf 1, trees 30)"
    assert found.facts["input shape"] == "(5,)"
    assert found.facts["classes"] == "3: barbera, barolo, grignolino"
    assert found.facts["bytes"] == f"{(folder / 'model.skops').stat().st_size:,}"
    assert found.facts["out of fold"] == "94 rows, each answered by what has not been fitted to it"
    assert "folds" not in found.facts
    assert "kept epoch" not in found.facts


def test_boosting_by_folds_is_described(grapes_finished):
    folder = grapes_finished / "models" / "teacher" / "boosting"
    found = inspect(folder)
    assert found.facts["folds"] == "2"
    size = sum((folder / f"member-{number}.skops").stat().st_size for number in range(2))
    assert found.facts["bytes"] == f"{size:,}"


def test_a_mean_is_described_with_its_members(grapes_finished):
    teachers = grapes_finished / "models" / "teacher"
    found = inspect(teachers / "both")
    keys = [(teachers / name).resolve().name for name in ("forest", "boosting")]
    assert found.facts["model"] == "mean (of 2 models)"
    assert found.facts["members"] == ", ".join(key[:12] for key in keys)
    sizes = [int(inspect(teachers / name).facts["bytes"].replace(",", "")) for name in ("forest", "boosting")]
    assert found.facts["bytes"] == f"{sum(sizes):,}"
    assert verify(teachers / "both") == []


def test_a_mean_alone_says_that_its_members_are_missing(grapes_finished, tmp_path):
    copied = shutil.copytree(grapes_finished / "models" / "teacher" / "both", tmp_path / "both")
    assert inspect(copied).facts["bytes"] == "those of its members, which are not all beside it"
    assert verify(copied) == []  # what there is of it is whole


def test_knowledge_of_synthetic_rows_is_described(grapes_finished):
    views = {inspect(artifact(grapes_finished, "knowledge", number)).facts["view"] for number in range(6)}
    assert {view.partition(",")[0] for view in views} == {
        "the inputs themselves",
        "number 1 (munge",
        "number 2 (munge",
    }


@pytest.mark.parametrize(
    "name", ["forest/model.skops", "boosting/member-0.skops", "boosting/own_rows.safetensors", "both/model.json"]
)
def test_a_damaged_file_of_an_estimator_or_a_mean_is_named(grapes_run, name):
    teachers = grapes_run / "models" / "teacher"
    flip(teachers / name, 40)
    part, file = name.split("/")
    assert named(teachers / part) == [file]
    assert named(grapes_run) == [file]


def test_an_estimator_saved_by_itself_is_verified(tmp_path, digits):
    from limbeck.at_once.estimators import fit_estimator
    from limbeck.models.estimator_file import save_estimator_model

    fitted = fit_estimator("random-forest", {"trees": 5}, digits.take(range(200)), 0, folds=2).model
    save_estimator_model(tmp_path / "forest", fitted, digits.classes)
    assert inspect(tmp_path / "forest").kind == "model"
    assert verify(tmp_path / "forest") == []
    flip(tmp_path / "forest" / "member-1.skops", 60)
    assert named(tmp_path / "forest") == ["member-1.skops"]


def test_an_unfinished_estimator_says_what_is_there(grapes_run):
    folder = (grapes_run / "models" / "teacher" / "boosting").resolve()
    part = folder.rename(folder.with_name(f"{folder.name}.part"))
    for path in part.glob("member-*"):
        path.unlink()
    assert inspect(part).facts["bytes"] == "no weights yet"
    assert [damage.path for damage in verify(part)] == [part]
