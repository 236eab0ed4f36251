import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import limbeck as library
from limbeck.artifacts import TIMES, write_sums
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import read_tensors
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.metrics import agreement
from limbeck.models import build_model, save_model
from limbeck.precision import resolve_precision
from limbeck.progress import Lines
from limbeck.road import Road, run

GRID = 'student.2x16.grid={"distill.temperature"=[2, 4]}'


class Said:
    """Progress that remembers what was said, and which stages there were."""

    def __init__(self):
        self.lines, self.stages = [], []

    def line(self, text):
        self.lines.append(text)

    def start(self, title, total):
        self.stages.append(title)

    def at(self, done, note=""):
        pass

    def end(self, note=""):
        pass


def walked(recipe, out, **more):
    said = Said()
    run(recipe, out, progress=said, **more)
    return said


def made(root):
    """Every artifact's files and the run's predictions, durations and what was set aside left out."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != TIMES and ("artifacts" in path.parts or "predictions" in path.parts)
        and ".damaged-" not in str(path)
    }  # fmt: skip


def artifact(out, kind, number=0):
    return sorted((out.parent / "artifacts" / kind).iterdir())[number]


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


# ---------------------------------------------------------------- sharing and going on


def test_a_second_run_of_the_same_trains_and_records_nothing(tiny, tiny_run):
    other = tiny_run.with_name("other")
    said = walked(tiny, other)
    assert said.stages == []
    before, after = ({name: content for name, content in made(tiny_run.parent).items() if name.startswith(folder)}
                     for folder in ("tiny/", "other/"))  # fmt: skip
    assert list(before.values()) == list(after.values())
    assert (other / "report.html").exists()


@pytest.mark.slow
def test_two_recipes_that_ask_for_the_same_teacher_share_it_whatever_its_name(tiny, tiny_run):
    text = tiny.read_text().replace('name = "convnet"', 'name = "other"').replace("[16, 16]", "[17]")
    recipe = tiny_run.parent / "renamed.toml"
    recipe.write_text(text)
    assert walked(recipe, tiny_run.with_name("renamed")).stages == ["student 2x16 (temperature 4)", "baseline 2x16"]


@pytest.mark.slow
def test_stage_after_stage_comes_to_the_same_as_all_at_once(tiny, tmp_path, finished):
    out = tmp_path / "runs" / "tiny"
    kinds = {}
    for until in ("teach", "extract", "distill", "evaluate", "report"):
        results = run(tiny, out, until=until)
        kinds[until] = sorted(path.name for path in (tmp_path / "runs" / "artifacts").glob("[!.]*"))
        assert ("models" in results) == (until in ("evaluate", "report"))
        assert (out / "results.json").exists() == (until in ("evaluate", "report"))
        assert (out / "report.html").exists() == (until == "report")
    assert kinds["teach"] == ["teacher"]
    assert kinds["extract"] == ["knowledge", "teacher"]
    assert kinds["distill"] == ["knowledge", "student", "teacher"]
    assert made(tmp_path / "runs") == made(finished.parent)


def test_an_unknown_stage_is_refused(tiny, tmp_path):
    with pytest.raises(UsageError, match='until = "train": there are teach, extract, distill, evaluate, report'):
        run(tiny, tmp_path / "tiny", until="train")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(tiny, tmp_path, seed):
    with pytest.raises(UsageError, match=f"seed = {seed} is not a whole number from 0 to"):
        run(tiny, tmp_path / "tiny", seed=seed)
    assert list(tmp_path.iterdir()) == []


def test_images_too_small_for_a_network_are_refused_before_anything_is_written(tiny, tmp_path, digits):
    folder = tmp_path / "idx"
    folder.mkdir()
    for name, array in (("images-idx3", digits.inputs[:900, :5, :5]), ("labels-idx1", digits.labels[:900])):
        content = array.astype(np.uint8)
        header = bytes([0, 0, 8, content.ndim]) + np.array(content.shape, dtype=">u4").tobytes()
        (folder / f"train-{name}-ubyte").write_bytes(header + content.tobytes())
    with pytest.raises(UsageError, match=r"at least 8×8 pixels, but an input has the shape \(5, 5\)"):
        run(tiny, tmp_path / "runs" / "tiny", sets=[f"data.source=idx:{folder}"])
    assert [path.name for path in tmp_path.iterdir()] == ["idx"]


def test_a_recipe_made_in_python_is_walked_like_its_file(tiny, tmp_path, finished):
    from limbeck.recipe import load_recipe

    out = tmp_path / "runs" / "tiny"
    run(load_recipe(tiny), out, until="distill")
    command = json.loads((out / "run.json").read_text())["command"]
    assert command == f"limbeck run {out}/recipe.toml --out {out} --seed 0"
    assert run(out / "recipe.toml", out, until="distill")  # and that command is accepted
    kept = {name: content for name, content in made(finished.parent).items() if name.startswith("artifacts/")}
    assert made(tmp_path / "runs") == kept


def test_rows_that_are_in_two_parts_are_said(tiny, tmp_path, digits):
    road = Road.open(tiny, tmp_path / "runs" / "tiny", progress=(said := Said()))
    twice = road.split.train.take(np.arange(7))
    replace(road, split=type(road.split)(road.split.train, twice, twice))._warn()
    assert said.lines == [
        "7 of 7 validation rows are also training rows: choices made on them favour what remembers",
        "7 of 7 test rows are also training rows: test accuracy says more than it should",
        "7 of 7 validation rows are also test rows: what is chosen on them suits the test",
    ]


# ---------------------------------------------------------------- plans and locks


@pytest.fixture
def begun(tiny, tmp_path):
    """A run whose teacher was begun and killed: its plan is there, and nothing else."""

    def begin(**plan):
        road = Road.open(tiny, tmp_path / "runs" / "tiny")
        (stage,) = road.planner.teachers()
        part = road.store.part(stage.identity)
        part.mkdir(parents=True)
        (part / "plan.json").write_text(json.dumps({"device": "cpu", **plan}))
        return road.folder.path, part

    return begin


def test_a_training_goes_on_with_the_threads_that_it_was_begun_with(tiny, begun):
    before = torch.get_num_threads()
    out, _ = begun(precision=resolve_precision("auto", "convnet"), threads=before + 1)
    threads = set()

    class Looks(Said):
        def at(self, done, note=""):
            threads.add(torch.get_num_threads())

    run(tiny, out, until="teach", progress=(said := Looks()))
    assert threads == {before + 1}
    assert torch.get_num_threads() == before
    assert said.lines == [f"teacher convnet was begun with {before + 1} threads and goes on with as many"]
    assert json.loads((artifact(out, "teacher") / "plan.json").read_text())["threads"] == before + 1


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"precision": "float64"}, "was begun in float64, but here teacher convnet would train in"),
        (
            {"precision": "float32", "device": "cuda:7"},
            "was begun on cuda:7, but here teacher convnet would train on cpu: continue with --device cuda:7",
        ),
    ],
)
def test_a_training_begun_in_another_precision_or_elsewhere_is_refused_and_stays(tiny, begun, contents, plan, message):
    out, part = begun(**plan, threads=1)
    before = contents(part)
    with pytest.raises(LimbeckError, match=f"{part} {message}"):
        run(tiny, out, device="cpu")
    after = contents(part)
    after.pop("lock", None)
    assert after == before


def test_a_stage_that_another_process_works_on_is_waited_for(tiny, begun, finished):
    out, part = begun(precision="float32", threads=1)
    lock = out.parent / "artifacts" / ".locks" / part.stem
    # The other process holds the stage, completes it as the finished run did, and ends.
    program = (
        "import pathlib, shutil, sys, time\nfrom limbeck.artifacts import hold\nlock, made, part = map(pathlib.Path, sys.argv[1:])\n"
        "with hold(lock, 'x'): print('held', flush=True); time.sleep(1.5); shutil.rmtree(part); shutil.copytree(made, part.with_suffix(''))"
    )
    lock.parent.mkdir(parents=True, exist_ok=True)
    made = finished.parent / "artifacts" / "teacher" / part.stem
    said = io.StringIO()
    with subprocess.Popen([sys.executable, "-c", program, lock, made, part], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        run(tiny, out, until="teach", progress=Lines(said))
    (line,) = said.getvalue().splitlines()
    assert line == f"teacher {part.stem[:12]} is being made by another process: waiting for it"


def test_a_run_that_another_process_works_on_is_neither_walked_nor_set_aside(tiny, tiny_run, contents):
    road = Road.open(tiny, tiny_run)
    before = contents(tiny_run.parent)
    with road.folder.held():
        for fresh in (False, True):
            with pytest.raises(LimbeckError, match=f"{tiny_run} is being worked on by another process"):
                run(tiny, tiny_run, fresh=fresh)
    assert contents(tiny_run.parent) == before


# ---------------------------------------------------------------- mended


def test_a_damaged_teacher_and_damaged_knowledge_are_both_made_again(tiny, tiny_run):
    before = made(tiny_run.parent)
    flip(artifact(tiny_run, "teacher") / "model.safetensors")
    flip(artifact(tiny_run, "knowledge", 1) / "00000.safetensors")
    flip(artifact(tiny_run, "knowledge", 2) / "knowledge.json", 5)
    said = walked(tiny, tiny_run)
    assert "3 damaged artifacts made again" in said.lines
    assert made(tiny_run.parent) == before
    assert verify(tiny_run) == []
    assert walked(tiny, tiny_run).lines == [f"nothing to do: {tiny_run} is complete"]


def test_a_damaged_shard_is_made_again_for_a_new_student_too(tiny, tiny_run):
    shard = artifact(tiny_run, "knowledge") / "00000.safetensors"
    whole = shard.read_bytes()
    flip(shard)
    said = walked(tiny, tiny_run.with_name("warm"), sets=["student.*.distill.temperature=8"])
    assert f"{shard} is damaged: made again" in said.lines
    assert shard.read_bytes() == whole


def test_two_views_that_were_swapped_are_noticed_and_made_again(tiny, tiny_run):
    before = made(tiny_run.parent)
    first, second = (artifact(tiny_run, "knowledge", number) for number in range(2))
    first.rename(first.with_name("aside"))
    second.rename(first)
    first.with_name("aside").rename(second)
    assert len(verify(tiny_run)) == 2
    walked(tiny, tiny_run.with_name("warm"), sets=["student.*.distill.temperature=8"])
    after = made(tiny_run.parent)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_damaged_prediction_is_made_again_by_the_same_command(tiny, tiny_run, damage):
    before = made(tiny_run.parent)
    path = tiny_run / "predictions" / "student" / "2x16-temperature=4.safetensors"
    if damage == "flipped":
        flip(path)
    else:
        path.unlink()
    walked(tiny, tiny_run)
    assert made(tiny_run.parent) == before
    assert verify(tiny_run) == []


@pytest.mark.parametrize("name", ["report.html", "run.json", "results.json"])
def test_a_missing_file_of_the_run_is_written_again_without_training(tiny, tiny_run, name):
    (tiny_run / name).unlink()
    assert walked(tiny, tiny_run).stages == []
    assert (tiny_run / name).exists()


def test_costs_are_measured_once(tiny, tiny_run):
    before = json.loads((tiny_run / "results.json").read_text())
    (tiny_run / "report.html").unlink()
    assert run(tiny, tiny_run) == before


@pytest.mark.slow
@pytest.mark.parametrize("refit", [False, True])
def test_the_chosen_of_a_grid_is_mended_too(tiny, tiny_run, refit):
    out, sets = tiny_run.with_name("grid"), [GRID, f"student.*.train.refit={str(refit).lower()}"]
    run(tiny, out, sets=sets)
    chosen = next((out / "models" / "student").iterdir()).resolve()
    before = made(tiny_run.parent)
    flip(chosen / "model.safetensors")
    assert "1 damaged artifact made again" in walked(tiny, out, sets=sets).lines
    assert made(tiny_run.parent) == before
    assert verify(out) == []


@pytest.mark.slow
def test_of_a_grid_the_best_on_the_validation_rows_is_chosen(tiny, tiny_run):
    results = run(tiny, tiny_run.with_name("grid"), sets=[GRID])
    scores = {}
    for folder in (tiny_run.parent / "artifacts" / "student").iterdir():
        described = json.loads((folder / "model.json").read_text())["identity"]
        history = json.loads((folder / "history.json").read_text())
        kept = history["epochs"][history["kept_epoch"] - 1]
        if described["settings"]["objective"]["loss"] == "soft_targets":
            temperature = described["settings"]["objective"]["temperature"]
            scores[temperature] = (kept["validation_accuracy"], -kept["validation_nll"])
    assert scores.keys() == {2, 4}
    assert results["models"][1]["variant"]["temperature"] == max(scores, key=scores.get)
    assert (results["models"][1]["trials"], results["models"][2]["trials"]) == (2, 1)


# ---------------------------------------------------------------- a teacher given by path


def given(path):
    return f'teacher=[{{name="convnet", from="{path}"}}]'


@pytest.mark.parametrize("where", ["artifacts", "models"])
def test_a_teacher_is_given_as_an_artifact_or_by_a_run_s_name_for_it(tiny, tiny_run, where):
    path = artifact(tiny_run, "teacher") if where == "artifacts" else tiny_run / "models" / "teacher" / "convnet"
    out = tiny_run.with_name("given")
    said = walked(tiny, out, sets=[given(path)])
    assert said.stages == []  # same teacher, same knowledge, same student
    before, after = (json.loads((folder / "results.json").read_text())["models"] for folder in (tiny_run, out))
    assert [row["errors"] for row in after] == [row["errors"] for row in before]
    # Whoever trained it chose on rows of their own.
    assert ["validation_errors" in row["metrics"] for row in after] == [False, True, True]
    assert verify(out) == []


def test_a_damaged_given_teacher_is_refused_and_stays(tiny, tiny_run, contents, tmp_path):
    folder = shutil.copytree(artifact(tiny_run, "teacher"), tmp_path / "given")
    flip(folder / "model.safetensors")
    before = contents(folder)
    with pytest.raises(LimbeckError, match=f"{folder}/model.safetensors is damaged"):
        run(tiny, tmp_path / "new" / "tiny", sets=[given(folder)])
    assert contents(folder) == before


def test_a_given_teacher_whose_outputs_are_not_finite_is_refused_by_row(tiny, tmp_path, digits):
    model = build_model({"kind": "mlp", "widths": [4]}, (8, 8), 10, digits.inputs)
    with torch.no_grad():
        model.layers[0].weight.fill_(torch.inf)
    save_model(tmp_path / "model", model, digits.classes)
    with pytest.raises(LimbeckError, match="the teacher's output for row 0 is not finite"):
        run(tiny, tmp_path / "runs" / "tiny", sets=[given(tmp_path / "model")])
    assert not list((tmp_path / "runs" / "artifacts").rglob("SHA256SUMS"))


def test_a_given_teacher_that_knows_nothing_is_refused(tiny, tmp_path, digits):
    torch.manual_seed(0)
    save_model(tmp_path / "model", build_model({"kind": "mlp", "widths": [4]}, (8, 8), 10), digits.classes)
    with pytest.raises(LimbeckError, match=r"the teacher agrees with the labels on .* and chance would give"):
        run(tiny, tmp_path / "runs" / "tiny", sets=[given(tmp_path / "model")])


def test_a_given_teacher_with_its_classes_in_another_order_is_refused(tiny, tiny_run, tmp_path):
    model, _ = library.load_model(artifact(tiny_run, "teacher"))
    with torch.no_grad():
        order = [1, 0, *range(2, 10)]
        model.head.weight.copy_(model.head.weight[order])
        model.head.bias.copy_(model.head.bias[order])
    save_model(tmp_path / "model", model, tuple("0123456789"))
    with pytest.raises(LimbeckError, match=r"if its classes are renamed \(.*0→1, 1→0"):
        run(tiny, tiny_run.with_name("renamed"), sets=[given(tmp_path / "model")])


def test_knowledge_that_the_teacher_no_longer_agrees_with_is_refused(tiny, tiny_run, tmp_path):
    road = Road.open(tiny, tiny_run.with_name("warm"), sets=["student.*.distill.temperature=8"])
    folder = artifact(tiny_run, "teacher")
    model, classes = library.load_model(folder)
    with torch.no_grad():
        model.head.weight.mul_(3)
    details = {"identity": json.loads((folder / "model.json").read_text())["identity"]}
    save_model(folder, model, classes, details)
    write_sums(folder)
    with pytest.raises(LimbeckError, match=r"asked again about row \d+, the teacher answers otherwise than is stored"):
        road.walk()


# ---------------------------------------------------------------- afresh


class StopsAt(Said):
    """Progress that ends the work, as Ctrl-C would, when a stage begins."""

    def __init__(self, stage):
        super().__init__()
        self.stage = stage

    def start(self, title, total):
        super().start(title, total)
        if title == self.stage:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_fresh_run_that_was_interrupted_is_gone_on_with_by_the_same_command(tiny, tiny_run):
    before = made(tiny_run.parent)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, tiny_run, fresh=True, progress=StopsAt("student 2x16 (temperature 4)"))
    said = walked(tiny, tiny_run, fresh=True)
    assert said.stages == ["student 2x16 (temperature 4)", "baseline 2x16"]
    now = {name: content for name, content in made(tiny_run.parent).items() if ".old-" not in name}
    assert now == before
    assert verify(tiny_run) == []
    assert [path.name for path in tiny_run.parent.glob("*.old-*")] == ["tiny.old-1"]
    assert walked(tiny, tiny_run.with_name("other")).stages == []


def test_artifacts_that_another_run_has_are_not_set_aside(tiny, tiny_run, contents):
    other = tiny_run.with_name("warm")
    run(tiny, other, sets=["student.*.distill.temperature=8"])
    before = contents(tiny_run.parent)
    with pytest.raises(LimbeckError, match=f"{tiny_run} cannot be set aside with its artifacts: {other} shares"):
        run(tiny, tiny_run, fresh=True)
    assert contents(tiny_run.parent) == before


def test_artifacts_of_a_run_that_has_only_begun_are_not_set_aside_either(tiny, tiny_run):
    other = tiny_run.with_name("begun")
    run(tiny, other, until="teach", sets=["student.*.distill.temperature=8"])
    with pytest.raises(LimbeckError, match=f"{tiny_run} cannot be set aside with its artifacts: {other} shares"):
        run(tiny, tiny_run, fresh=True)


@pytest.mark.slow
def test_a_run_that_shares_nothing_is_not_in_the_way_of_a_fresh_one(tiny, tiny_run):
    other = Road.open(tiny, tiny_run.with_name("other"), seed=1)
    other.walk("teach")
    with other.folder.held():
        run(tiny, tiny_run, fresh=True)
    assert verify(tiny_run) == []


@pytest.mark.slow
def test_a_run_with_another_seed_sets_the_old_one_s_artifacts_aside(tiny, tiny_run):
    before = made(tiny_run.parent)
    models = sorted((tiny_run / "models").glob("*/*"))
    run(tiny, tiny_run, fresh=True, seed=1)
    old = tiny_run.with_name("tiny.old-1")
    assert sorted((old / "models").glob("*/*")) == [old / path.relative_to(tiny_run) for path in models]
    assert {name.replace("tiny.old-1/", ""): content for name, content in made(tiny_run.parent).items()
            if name.startswith("tiny.old-1/artifacts/")} == {
        name: content for name, content in before.items() if name.startswith("artifacts/") and ".locks" not in name
    }  # fmt: skip
    assert verify(old) == []
    assert (old / "models" / "student" / "2x16-temperature=4" / "model.safetensors").is_file()
    flip((old / "models" / "teacher" / "convnet" / "model.safetensors").resolve())
    assert len(verify(old)) == 1
    assert verify(tiny_run) == []


@pytest.mark.slow
def test_a_fresh_run_that_was_cut_off_while_it_set_artifacts_aside_can_be_repeated(tiny, tiny_run):
    teacher = artifact(tiny_run, "teacher")
    aside = tiny_run / "artifacts" / "teacher" / teacher.name
    aside.parent.mkdir(parents=True)
    shutil.copytree(teacher, aside)
    run(tiny, tiny_run, fresh=True)
    assert verify(tiny_run) == []
    kept = tiny_run.with_name("tiny.old-1") / "artifacts" / "teacher"
    assert sorted(path.name for path in kept.iterdir()) == [teacher.name, f"{teacher.name}.old-1"]


# ---------------------------------------------------------------- more that is mended


@pytest.mark.parametrize("what", ["report.html", "models", "results.json", "recipe.toml", "run.json"])
def test_what_was_emptied_or_deleted_of_a_finished_run_is_noticed_and_written_again(tiny, tiny_run, what):
    before = made(tiny_run.parent)
    if what == "models":
        shutil.rmtree(tiny_run / "models")
    else:
        (tiny_run / what).write_text("")
    assert {damage.path.name for damage in verify(tiny_run)} >= ({"convnet"} if what == "models" else {what})
    assert walked(tiny, tiny_run).stages == []
    assert verify(tiny_run) == []
    assert made(tiny_run.parent) == before
    assert (tiny_run / "models" / "teacher" / "convnet" / "model.json").exists()


@pytest.mark.parametrize("name", ["knowledge.json", "plan.json", "SHA256SUMS"])
def test_knowledge_without_one_of_its_files_is_recorded_again(tiny, tiny_run, name):
    before = made(tiny_run.parent)
    (artifact(tiny_run, "knowledge") / name).unlink()
    walked(tiny, tiny_run.with_name("warm"), sets=["student.*.distill.temperature=8"])
    after = made(tiny_run.parent)
    assert {name: after[name] for name in before} == before


def test_a_model_that_lacks_only_the_rename_is_not_trained_again(tiny, tiny_run):
    before = made(tiny_run.parent)
    folder = artifact(tiny_run, "teacher")
    folder.rename(folder.with_name(f"{folder.name}.part"))
    (tiny_run / "results.json").unlink()
    assert walked(tiny, tiny_run).stages == []
    assert made(tiny_run.parent) == before


@pytest.mark.slow
def test_a_training_begun_with_a_plan_that_cannot_be_read_is_set_aside_and_begun_anew(tiny, begun):
    out, part = begun(precision="float32", threads=1)
    (part / "plan.json").write_text("{")
    said = walked(tiny, out, until="teach")
    assert said.stages == ["teacher convnet"]
    assert f"{part}/plan.json is damaged: what was begun is set aside" in said.lines[0]
    assert part.with_name(f"{part.name}.damaged-1").is_dir()


@pytest.mark.slow
def test_another_model_in_a_teacher_s_place_is_noticed_and_made_again(tiny, tiny_run):
    before = made(tiny_run.parent)
    run(tiny, tiny_run.with_name("other"), seed=1, until="teach")
    ours = next(tiny_run.glob("models/teacher/convnet")).resolve()
    (other,) = (folder for folder in (tiny_run.parent / "artifacts" / "teacher").iterdir() if folder.name != ours.name)
    shutil.rmtree(ours)
    shutil.copytree(other, ours)
    assert "1 damaged artifact made again" in walked(tiny, tiny_run).lines
    after = made(tiny_run.parent)
    assert {name: after[name] for name in before} == before


def test_a_given_teacher_that_was_trained_on_other_rows_is_pointed_out(tiny, tiny_run):
    path = artifact(tiny_run, "teacher")
    said = walked(tiny, tiny_run.with_name("given"), sets=[given(path), "data.split_seed=1"], until="teach")
    assert said.lines[-1].startswith("teacher convnet was trained on other rows than this run's training rows")


@pytest.mark.slow
def test_a_student_is_set_against_the_teacher_that_taught_it_where_another_is_refitted(tiny, tmp_path):
    text = tiny.read_text()
    begin = text.index("[[student]]")
    recipe = tmp_path / "both.toml"
    again = text[begin:].replace('"2x16"', '"refitted"').replace("epochs = 4", "epochs = 4, refit = true")
    recipe.write_text(text + again)
    results = run(recipe, tmp_path / "runs" / "both")
    rows = {(row["role"], row["name"], str(row["variant"])): row for row in results["models"]}
    assert [key for key in rows if key[0] == "teacher"] == [
        ("teacher", "convnet", "{}"), ("teacher", "convnet", "{'refit': False}")
    ]  # fmt: skip
    found = {name: read_tensors(path)[0]["log_probs"] for name, path in (
        (path.stem, path) for path in (tmp_path / "runs" / "both" / "predictions").rglob("*.safetensors"))}  # fmt: skip
    student = rows["student", "2x16", "{'temperature': 4}"]
    other = rows["student", "refitted", "{'temperature': 4}"]
    assert student["agreement"] == agreement(found["2x16-temperature=4"], found["convnet-refit=false"])
    assert other["agreement"] == agreement(found["refitted-temperature=4"], found["convnet"])


def test_a_run_in_the_folder_where_one_is_has_its_artifacts_beside_it(tiny, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert Road.open(tiny, ".").store.root == tmp_path / "artifacts"


@pytest.mark.parametrize("kind", ["teacher", "knowledge", "student"])
@pytest.mark.parametrize("what", ["gone", "emptied", "a file", "undescribed"])
def test_whatever_lies_in_an_artifact_s_place_is_named_and_mended_by_the_same_command(tiny, tiny_run, kind, what):
    before = made(tiny_run.parent)
    folder = artifact(tiny_run, kind)
    if what == "undescribed":
        for name in ("SHA256SUMS", "model.json", "knowledge.json"):
            (folder / name).unlink(missing_ok=True)
    else:
        shutil.rmtree(folder)
    if what == "emptied":
        folder.mkdir()
    elif what == "a file":
        folder.write_text("not an artifact")
    assert str(folder) in str(verify(tiny_run)[0])
    walked(tiny, tiny_run)
    assert verify(tiny_run) == []
    after = made(tiny_run.parent)
    assert {name: after[name] for name in before} == before


def test_a_damaged_trial_that_was_not_chosen_is_named_too(tiny, tiny_run):
    out = tiny_run.with_name("grid")
    run(tiny, out, sets=[GRID])
    chosen = {path.resolve().name for path in (out / "models" / "student").iterdir()}
    tried = [key for name, key in json.loads((out / "run.json").read_text())["parts"].items() if "-trial=" in name]
    (other,) = (key for key in tried if key not in chosen)
    flip(tiny_run.parent / "artifacts" / "student" / other / "model.safetensors")
    (damage,) = verify(out)
    assert damage.path.parent.name == other


def test_a_model_trained_again_obeys_the_plan_of_the_damaged_one(tiny, tmp_path):
    out = tmp_path / "runs" / "tiny"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    road = Road.open(tiny, out)
    (stage,) = road.planner.teachers()
    torch.set_num_threads(1)
    road.workshop.model(stage)
    weights = road.workshop.folder(stage) / "model.safetensors"
    whole = weights.read_bytes()
    flip(weights)
    torch.set_num_threads(2)
    road.workshop.model(stage)
    torch.set_num_threads(before)
    assert weights.read_bytes() == whole


@pytest.mark.parametrize("name", ["artifacts", "cache"])
def test_a_run_does_not_lie_where_runs_keep_their_artifacts(tiny, tmp_path, name):
    with pytest.raises(LimbeckError, match=f"{name} is where runs keep their {name}: give --out another name"):
        run(tiny, tmp_path / name)


@pytest.mark.parametrize(("name", "content"), [("results.json", '{"models": [{}]}'), ("run.json", "{}")])
def test_json_that_was_changed_by_hand_is_damage_and_no_traceback(tiny, tiny_run, name, content):
    (tiny_run / name).write_text(content)
    assert next(damage.path.name for damage in verify(tiny_run)) == name
    assert inspect(tiny_run).kind == "run"
    walked(tiny, tiny_run)
    assert verify(tiny_run) == []


def test_a_stray_file_among_the_predictions_is_left_alone(tiny, tiny_run):
    stray = tiny_run / "predictions" / "mine.safetensors"
    stray.write_text("mine")
    assert verify(tiny_run) == []
    assert walked(tiny, tiny_run).lines == [f"nothing to do: {tiny_run} is complete"]
    assert stray.read_text() == "mine"


def test_values_of_a_grid_without_effect_are_no_trials(tiny, tiny_run):
    road = Road.open(tiny, tiny_run.with_name("grid"), sets=['student.2x16.grid={"train.momentum"=[0.1, 0.5]}'])
    (plan,) = road.planner.students()
    assert (len(plan.trials), len(plan.baselines)) == (1, 1)


def test_another_title_is_the_same_run(tiny, tiny_run):
    assert walked(tiny, tiny_run, sets=["title=Other"]).stages == []
