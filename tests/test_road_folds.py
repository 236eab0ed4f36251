"""Networks that are trained beside their teacher, each without a part of the rows, to label that part."""

import json
import shutil

import numpy as np
import pytest

import limbeck
from limbeck.artifacts import TIMES
from limbeck.errors import LimbeckError
from limbeck.inspection.verification import verify
from limbeck.knowledge import Knowledge
from limbeck.models.opening import open_model
from limbeck.precision import resolve_precision
from limbeck.progress import Silent
from limbeck.road import Road, run_split
from limbeck.teachers.out_of_fold import OWN_ROWS, OwnRows
from limbeck.training import predict_log_probs
from tiny_texts import learnable_folder, written_texts
from walks import Stops, artifact, artifacts, said

DIGITS = """
title = "By folds"

[data]
source = "digits"
validation = 200
test = 0.25

[[teacher]]
name = "net"
model = { kind = "mlp", widths = [32] }
train = { epochs = 3, batch_size = 32 }
folds = 3

[[student]]
name = "small"
model = { kind = "mlp", widths = [8] }
train = { epochs = 2, batch_size = 32 }
"""
TEXTS = """
title = "By folds"

[data]
source = "rows.jsonl"
label = "label"
validation = 60
test = 0.25

[[teacher]]
name = "big"
model = { kind = "encoder", from = "base" }
train = { epochs = 4, batch_size = 16, learning_rate = 2e-3, warmup = 0.1 }
folds = 2

[[student]]
name = "half"
model = { kind = "encoder", layers = 2 }
distill = { hard = 1 }
train = { epochs = 1, batch_size = 16, learning_rate = 2e-3, warmup = 0.1 }
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The recipe, and a finished run with what it said. Not to be changed."""
    folder = tmp_path_factory.mktemp("folds")
    (folder / "digits.toml").write_text(DIGITS)
    recipe, out = folder / "digits.toml", folder / "runs" / "digits"
    return recipe, out, said(recipe, out)


def seconds(folder):
    return json.loads((folder / TIMES).read_text())["seconds"]


def test_every_training_row_is_labelled_by_the_network_that_has_not_seen_it(digits):
    _, out, _ = digits
    train = run_split(out).train
    folder = artifact(out, "teacher/net")
    known, own = OwnRows.load(folder / OWN_ROWS).answers_for(train)
    assert known.all()
    answered = np.zeros(len(train), int)
    for fold in (1, 2, 3):
        net = open_model(artifact(out, f"teacher/net-fold={fold}"))[0]
        answers = predict_log_probs(net, train.inputs, precision=resolve_precision("auto", net.kind))
        answered += np.abs(answers - own).max(axis=1) < 1e-4
    assert (answered >= 1).all()
    assert (answered > 1).mean() < 0.01
    recorded = Knowledge.open(next(iter((out.parent / "artifacts" / "knowledge").glob("[!.]*")))).log_probs()
    np.testing.assert_allclose(recorded, own, atol=0.01)


def test_the_teacher_is_the_network_that_has_seen_all_rows(digits):
    _, out, _ = digits
    plain = out.parent.parent / "plain" / "digits"
    said(digits[0], plain, sets=["teacher.net.folds=2"])
    folder, other = artifact(out, "teacher/net"), artifact(plain, "teacher/net")
    assert folder.name != other.name
    assert (folder / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert (folder / OWN_ROWS).read_bytes() != (other / OWN_ROWS).read_bytes()


def test_folds_are_in_the_time_that_it_took_and_in_no_row_of_the_results(digits):
    _, out, _ = digits
    results = json.loads((out / "results.json").read_text())
    assert [(row["role"], row["name"]) for row in results["models"]] == [
        ("teacher", "net"),
        ("student", "small"),
        ("baseline", "small"),
    ]
    folds = sum(seconds(artifact(out, f"teacher/net-fold={fold}")) for fold in (1, 2, 3))
    assert seconds(artifact(out, "teacher/net")) > folds
    assert verify(out) == []


def test_they_are_planned_and_made_in_their_turn(digits, limbeck):
    recipe, out, heard = digits
    code, shown, _ = limbeck("run", recipe, "--dry-run", "--out", out.parent.parent / "new" / "run")
    assert code == 0
    lines = [line for line in shown.splitlines() if " teacher " in line]
    assert [" ".join(line.split()[2:6]) for line in lines][:3] == [f"teacher net (fold {fold})" for fold in (1, 2, 3)]
    assert heard.index("teacher net (fold 3): done") < heard.index("teacher net: done")


def test_the_same_call_again_has_nothing_to_do(digits):
    recipe, out, _ = digits
    before = artifacts(out.parent)
    assert "nothing to do" in said(recipe, out)
    assert artifacts(out.parent) == before


@pytest.mark.parametrize("title", ["teacher net (fold 2)", "teacher net"])
def test_a_run_that_is_cut_off_among_them_goes_on_to_the_same_bytes(digits, title, tmp_path):
    recipe, whole, _ = digits
    out = tmp_path / "runs" / "digits"
    with pytest.raises(KeyboardInterrupt):
        limbeck.run(recipe, out, progress=Stops(title))
    limbeck.run(recipe, out, progress=Silent())
    assert artifacts(out.parent) == artifacts(whole.parent)


def test_damaged_answers_are_noticed_and_made_again(digits, tmp_path):
    recipe, whole, _ = digits
    out = tmp_path / "runs" / "digits"
    limbeck.run(recipe, out, progress=Silent())
    path = artifact(out, "teacher/net") / OWN_ROWS
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert [damage.path.name for damage in verify(out)] == [OWN_ROWS]
    heard = said(recipe, out)
    assert "is damaged: set aside" in heard
    assert path.read_bytes() == (artifact(whole, "teacher/net") / OWN_ROWS).read_bytes()


def test_a_fold_that_is_gone_is_made_again(digits, tmp_path):
    recipe, whole, _ = digits
    out = tmp_path / "runs" / "digits"
    limbeck.run(recipe, out, progress=Silent())
    shutil.rmtree(artifact(out, "teacher/net-fold=2"))
    assert verify(out)
    limbeck.run(recipe, out, progress=Silent())
    assert verify(out) == []
    assert artifacts(out.parent) == artifacts(whole.parent)


def test_a_teacher_whose_answers_are_gone_is_not_asked_in_their_place(digits, tmp_path):
    _, out, _ = digits
    shutil.copytree(artifact(out, "teacher/net"), tmp_path / "copied")
    (tmp_path / "copied" / OWN_ROWS).unlink()
    with pytest.raises(LimbeckError, match="it is missing"):
        open_model(tmp_path / "copied")


def test_more_folds_than_rows_are_refused(digits, tmp_path, refused):
    sets = ["--set", "teacher.net.folds=100", "--set", "data.labels=50"]
    code, line = refused("run", digits[0], *sets, "--out", tmp_path / "run")
    assert code == 1
    assert line.startswith("teacher.net.folds = 100, but part")


def test_a_bootstrapped_teacher_is_not_told_of_folds(tmp_path):
    table = DIGITS.replace("folds = 3\n", "members = 2\nbootstrap = true\n")
    table = table.replace("epochs = 3", "epochs = 120, learning_rate = 1e-2")
    (tmp_path / "digits.toml").write_text(
        table.replace("test = 0.25", "test = 0.95").replace("validation = 200", "validation = 50")
    )
    heard = said(tmp_path / "digits.toml", tmp_path / "runs" / "digits")
    assert "it has memorised its rows" in heard
    assert "folds" not in heard


def test_members_and_refits_have_folds_of_their_own(digits, tmp_path):
    sets = ["teacher.net.members=2", "teacher.net.folds=2", "student.small.train.refit=true"]
    stages = {
        one.id: one
        for stage in Road.open(digits[0], tmp_path / "run", sets=sets).planner.teachers()
        for one in (*stage.needs, stage)
    }
    folds = [stage for name, stage in stages.items() if "fold=" in name]
    assert {stage.rows.refit for stage in folds} >= {True}
    assert len({stage.identity.key for stage in folds}) == len(folds) == 2 * 2 * len({s.rows.refit for s in folds})


@pytest.mark.slow
def test_an_encoder_teaches_by_folds(tmp_path):
    pytest.importorskip("transformers")
    learnable_folder(tmp_path / "base")
    written_texts(tmp_path / "rows.jsonl", 400)
    (tmp_path / "texts.toml").write_text(TEXTS)
    out = tmp_path / "runs" / "texts"
    heard = said(tmp_path / "texts.toml", out)
    train = run_split(out).train
    teacher = open_model(artifact(out, "teacher/big"))[0]
    known, own = teacher.own_rows.answers_for(train)
    assert known.all()
    assert np.abs(predict_log_probs(teacher, train.inputs) - own).max() > 0.1
    assert "memorised" not in heard
    kept = limbeck.extract(teacher, train, tmp_path / "python", name="big", dtype="float32")
    np.testing.assert_allclose(kept.log_probs(), own, atol=1e-5)
    assert verify(out) == []


def test_a_network_that_has_memorised_its_rows_is_told_of_folds(tmp_path):
    table = DIGITS.replace("folds = 3\n", "").replace("epochs = 3", "epochs = 60").replace("test = 0.25", "test = 0.9")
    (tmp_path / "digits.toml").write_text(table.replace("validation = 200", "validation = 100"))
    heard = said(tmp_path / "digits.toml", tmp_path / "runs" / "digits")
    assert "it has memorised its rows" in heard
    assert "set folds = 3, so that each row is answered by a model that has not seen it" in heard
