"""`limbeck export`: from a model's folder to a checked file and its card, or to one line that says why not."""

import os
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from models_to_export import made, strange, table

from limbeck import LimbeckError, UsageError, load_model, predict_log_probs, save_model
from limbeck.exporting import Check, Exported, Int8, export, export_module, feeds
from limbeck.exporting.card import MARK
from limbeck.exporting.checking import Session, check
from limbeck.models.opening import open_model

ROW = "2x16-temperature=4"


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A folder to work in that is empty."""
    folder = tmp_path / "away"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_runs_model_is_checked_on_the_runs_test_rows(finished, limbeck, away):
    code, out, err = limbeck("export", finished / "models" / "student" / ROW, "--to", "onnx", "--int8")
    assert (code, err) == (0, "")
    first, held, speed, small, card = out.splitlines()
    assert re.fullmatch(rf"{ROW}\.onnx: [\d.]+ kB, a model of kind mlp", first)
    assert re.fullmatch(
        r"held against the model on 450 test rows of tiny, in batches of 1, 7 and 500: probabilities differ by at most "
        r"\d\.\de-0\d, 0 rows have another class",
        held,
    )
    assert re.fullmatch(
        r"one row takes [\d.]+ ms by onnxruntime, [\d.]+ ms by the model \(\d+ threads?, median\)", speed
    )
    assert re.fullmatch(
        rf"{ROW}\.int8\.onnx: [\d.]+ kB, [\d.]+ times smaller \(dynamic quantisation\); accuracy [\d.]+%, in float32 "
        r"[\d.]+%; \d+ of 450 rows have another class than in float32; one row takes [\d.]+ ms; "
        r"(not|hardly) smaller( and less accurate)?: use the float32 file",
        small,
    )
    assert card == f"card: {ROW}.md"
    assert sorted(path.name for path in away.iterdir()) == [f"{ROW}.int8.onnx", f"{ROW}.md", f"{ROW}.onnx"]


def test_the_same_models_bytes_come_out_again_and_replace_the_file(finished, away):
    model = finished / "models" / "student" / ROW
    first = export(model).path.read_bytes()
    (away / f"{ROW}.onnx").write_bytes(b"something older")
    export(model)
    assert (away / f"{ROW}.onnx").read_bytes() == first


def test_the_accuracy_is_that_of_the_run(finished, away):
    found = export(finished / "models" / "student" / ROW)
    assert f"| student 2x16 (temperature 4) | {100 * found.accuracy:.2f}% |" in found.card.read_text()


def test_the_card_says_what_is_known(finished, away):
    found = export(finished / "models" / "student" / ROW, int8=True)
    text = found.card.read_text()
    model, classes = load_model(finished / "models" / "student" / ROW)
    for line in (
        f"- a classifier of kind mlp, {sum(p.numel() for p in model.parameters()):,} parameters",
        f"- {len(classes)} classes: {', '.join(classes)}",
        "- takes raw inputs of shape 8×8, uint8",
        "On 450 test rows:",
        "This is one run, of seed 0: another seed gives other numbers.",
        "- source: digits",
        "- rows: 1,147 to train on, 200 to choose by, 450 to test on",
        "- recipe: tiny",
        "- learnt by: soft targets, temperature 4",
        "- seed: 0",
    ):
        assert line in text.splitlines()
    assert re.search(r"^\| teacher convnet \| [\d.]+% \| \d+ \|", text, re.MULTILINE)
    assert re.search(r"^\| baseline 2x16 \| [\d.]+% \| \d+ \|", text, re.MULTILINE)
    assert re.search(r"^2x16 learnt from convnet makes \d+ errors in 450; the same model .*: .*\.", text, re.MULTILINE)
    assert all(f"- {line}" in text.splitlines() for line in found.measured())
    assert re.search(r"^- training part: `[0-9a-f]{64}` \(SHA-256\)$", text, re.MULTILINE)
    assert re.search(rf"^- artifact: `{(finished / 'models' / 'student' / ROW).resolve().name}`$", text, re.MULTILINE)


def test_the_python_of_a_card_runs(finished, away):
    export(finished / "models" / "student" / ROW)
    (block,) = re.findall(r"```python\n(.*?)```", (away / f"{ROW}.md").read_text(), re.DOTALL)
    names = {}
    exec(block, names)
    assert names["probabilities"].shape == (1, 10)
    assert names["classes"].shape == (1,)


def test_an_artifact_elsewhere_is_checked_on_rows_that_are_given(finished, limbeck, away, digits):
    np.save(away / "rows.npy", digits.inputs[:30])
    artifact = (finished / "models" / "student" / ROW).resolve()
    code, out, _ = limbeck("export", artifact, "--rows", away / "rows.npy", "--out", away / "small.onnx")
    assert code == 0
    assert f"on 30 rows of {away / 'rows.npy'}, in batches" in out
    text = (away / "small.md").read_text()
    assert "# small\n" in text
    assert not re.search(r"test rows|recipe:|source:|accuracy", text)


def test_without_a_run_rows_are_asked_for(finished, refused, away):
    artifact = (finished / "models" / "student" / ROW).resolve()
    assert refused("export", artifact) == (
        1,
        f"{artifact} does not lie in a run's models/ folder, whose test rows would be taken: give real rows to check the "
        "file on by --rows FILE",
    )
    assert list(away.iterdir()) == []


def test_a_models_folder_is_found_from_within_it(finished, monkeypatch, tmp_path):
    monkeypatch.chdir(finished / "models" / "student")
    assert export(ROW, tmp_path / "m.onnx").what == "test rows of tiny"


def test_a_link_that_was_replaced_by_a_copy_is_in_its_run_too(tiny_run, tmp_path):
    link = tiny_run / "models" / "teacher" / "convnet"
    where = link.resolve()
    link.unlink()
    os.rename(where, link)
    assert export(link, tmp_path / "m.onnx").what == "test rows of tiny"


def test_a_table_comes_with_a_card_that_runs(away):
    part = table(400)
    found = export_module(made("tree", part), "gems.onnx", part.classes, strange(200))
    text = found.card.read_text()
    assert "| carat | number | float32, may be missing |" in text
    assert "| class | category | D, E, F, J, may be missing |" in text
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(block, names)
    assert names["classes"][0] in part.classes


def test_texts_of_the_data_cannot_break_the_card(away, digits):
    classes = ("a|b", "<script>", "`code`", "two\nlines", "[x](y)", "*star*", "# head", *digits.classes[7:])
    text = export_module(made("mlp", digits), "odd.onnx", classes, digits.inputs).card.read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("- 10 classes"))
    assert line == (r"- 10 classes: a\|b, \<script\>, \`code\`, two lines, \[x\](y), \*star\*, \# head, 7, 8, 9")


@pytest.mark.parametrize("out", ["model.bin", "model"])
def test_a_file_of_another_kind_is_refused(finished, refused, away, out):
    code, message = refused("export", finished / "models" / "student" / ROW, "--out", out)
    assert (code, message) == (2, f'out = "{out}": expected a file that ends in .onnx')


def test_a_form_other_than_onnx_is_refused(finished, refused, away):
    assert refused("export", finished / "models" / "student" / ROW, "--to", "tflite") == (
        2,
        'to = "tflite": expected onnx or huggingface',
    )


def test_a_page_that_is_no_card_is_left_alone(finished, refused, away):
    (away / "README.md").write_text("# My own\n")
    code, message = refused("export", finished / "models" / "student" / ROW, "--out", "README.onnx")
    assert (code, message) == (
        1,
        "README.md is there and is no model card: give --out another name, or move it away",
    )
    assert [path.name for path in away.iterdir()] == ["README.md"]


class Noise(torch.nn.Module):
    """Never answers in the same way twice."""

    def forward(self, inputs):
        rows = inputs.float().flatten(1)[:, :10]
        return rows + torch.randn_like(rows)


def test_a_file_that_answers_otherwise_is_refused_and_the_old_one_stays(away, digits):
    (away / "noise.onnx").write_bytes(b"older")
    with pytest.raises(LimbeckError, match="^the ONNX file does not answer as the model does: probabilities differ by"):
        export_module(Noise(), "noise.onnx", digits.classes, digits.inputs[:50], int8=True)
    assert {path.name: path.read_bytes() for path in away.iterdir()} == {"noise.onnx": b"older"}


def test_one_row_of_another_class_is_enough_to_refuse(away, digits):
    model = made("mlp", digits)
    path = export_module(model, "right.onnx", digits.classes, digits.inputs).path
    swapped = (digits.classes[1], digits.classes[0], *digits.classes[2:])
    with pytest.raises(LimbeckError, match="have another class; nothing was written$"):
        check(Session(path.read_bytes(), None), model, swapped, digits.inputs)


@pytest.mark.parametrize("predict", ["path", "greedy"])
def test_a_row_on_the_edge_of_two_leaves_is_counted_and_not_refused(away, digits, predict):
    model = made(predict, digits)
    with torch.no_grad():
        model.bias[0] = 0  # an input of zeros then has the score 0 at the root, …
        model.weight[1:], model.bias[1:] = 0, 1  # and all else is certain
    rows = np.concatenate([np.zeros((1, 8, 8), dtype=np.uint8), digits.inputs[:20]])
    path = export_module(model, "edge.onnx", digits.classes, rows).path
    assert check(Session(path.read_bytes(), None), model, digits.classes, rows).undecided == 1


def test_no_rows_are_refused(digits, away):
    with pytest.raises(UsageError, match="^there are no rows to check the file on: give at least one$"):
        export_module(made("tree", digits), "t.onnx", digits.classes, digits.inputs[:0])


def test_a_saved_table_model_takes_rows_from_a_csv_file(limbeck, away):
    part = table(400)
    save_model(away / "gems", made("mlp", part), part.classes)
    lines = ["carat,class,depth %,shape", "1.5,D,60,oval", ",E,58.5,oval", "2,,61,oval"]
    (away / "new.csv").write_text("\n".join(lines) + "\n")
    code, out, err = limbeck("export", "gems", "--rows", "new.csv")
    assert (code, err) == (0, "")
    assert "on 3 rows of new.csv" in out
    model, classes = load_model(away / "gems")
    rows = np.array([[1.5, 0, 60, 0], [np.nan, 1, 58.5, 0], [2, np.nan, 61, 0]], dtype=np.float32)
    _, names = onnxruntime.InferenceSession("gems.onnx").run(None, feeds(model.form, rows))
    assert names.tolist() == [classes[c] for c in predict_log_probs(model, rows).argmax(axis=1)]


def test_a_card_is_known_by_its_first_line(finished, away):
    assert export(finished / "models" / "student" / ROW).card.read_text().splitlines()[0] == MARK


def test_what_8_bits_cost_is_said_where_it_is_much():
    checked = Check(200, 0.0, 0, 0, (1, 7, 500), 0.1, 0.2, 1)
    small = Int8(Path("m.int8.onnx"), "dynamic", 300, 9, 0.94, 0.1)
    found = Exported(Path("m.onnx"), Path("m.md"), "mlp", 1200, checked, "rows", 0.95, small)
    assert found.measured()[-1] == (
        "m.int8.onnx: 300 B, 4.0 times smaller (dynamic quantisation); accuracy 94.00%, in float32 95.00%, more than "
        "half a point lost; 9 of 200 rows have another class than in float32; one row takes 0.100 ms; less accurate: use "
        "the float32 file, unless size counts more"
    )


@pytest.mark.parametrize(
    ("size", "accuracy", "said"),
    [
        (300, 0.95, "0.100 ms"),
        (900, 0.95, "0.100 ms; hardly smaller: use the float32 file"),
        (1200, 0.95, "0.100 ms; not smaller: use the float32 file"),
        (1500, 0.94, "0.100 ms; not smaller and less accurate: use the float32 file"),
    ],
)
def test_8_bits_that_gain_little_are_advised_against(size, accuracy, said):
    checked = Check(200, 0.0, 0, 0, (1, 7, 500), 0.1, 0.2, 1)
    small = Int8(Path("m.int8.onnx"), "dynamic", size, 9, accuracy, 0.1)
    found = Exported(Path("m.onnx"), Path("m.md"), "mlp", 1200, checked, "rows", 0.95, small)
    assert found.measured()[-1].endswith(f"one row takes {said}")


def test_a_file_of_8_bits_of_an_earlier_export_does_not_stay_beside_another_model(away, digits):
    export_module(made("mlp", digits), "m.onnx", digits.classes, digits.inputs[:50], int8=True)
    found = export_module(made("tree", digits), "m.onnx", digits.classes, digits.inputs[:50])
    assert sorted(path.name for path in away.iterdir()) == ["m.md", "m.onnx"]
    assert "m.int8.onnx: removed, it was an earlier export's" in found.lines()


def test_a_file_of_that_name_that_is_no_export_of_8_bits_stays(away, digits):
    export_module(made("mlp", digits), "m.int8.onnx", digits.classes, digits.inputs[:50])  # in float32
    (away / "n.int8.onnx").write_bytes(b"somebody's")
    for name in ("m", "n"):
        found = export_module(made("mlp", digits), f"{name}.onnx", digits.classes, digits.inputs[:50])
        assert found.removed is None
        assert (away / f"{name}.int8.onnx").exists()


def test_no_card_is_left_that_speaks_of_another_file(away, digits):
    export_module(made("tree", digits), "m.onnx", digits.classes, digits.inputs[:50])
    (away / "m.int8.onnx").mkdir()  # so that the second file cannot be put in place
    with pytest.raises(IsADirectoryError):
        export_module(made("mlp", digits), "m.onnx", digits.classes, digits.inputs[:50], int8=True)
    assert sorted(path.name for path in away.iterdir()) == ["m.int8.onnx", "m.onnx"]


def test_a_model_that_is_itself_an_onnx_file_is_refused(refused, away, digits):
    export_module(made("tree", digits), "t.onnx", digits.classes, digits.inputs[:50])
    assert refused("export", "t.onnx", "--out", "u.onnx") == (
        1,
        't.onnx is a model of kind "onnx", which is not exported: expected one of mlp, convnet, soft-tree, '
        "sklearn-tree, boosted-trees, encoder",
    )


@pytest.mark.parametrize(("name", "data"), [("mlp", "digits"), ("tree", "table"), ("mlp", "table")])
def test_a_file_is_a_model_again(exported, name, data):
    model, path, classes, rows = exported(name, data)
    again, its_classes = open_model(path)
    assert (its_classes, again.form) == (tuple(classes), model.form)
    np.testing.assert_allclose(
        np.exp(predict_log_probs(again, rows)), np.exp(predict_log_probs(model, rows)), atol=1e-5
    )


def test_a_model_that_learns_goes_on_learning(digits, away):
    model = made("mlp", digits).train()
    export_module(model, "m.onnx", digits.classes, digits.inputs[:50], int8=True)
    assert model.training
    assert model.layers.training


def test_labels_of_a_table_are_read_for_the_accuracy(away):
    part = table(400)
    save_model(away / "gems", made("mlp", part), part.classes)
    (away / "new.csv").write_text("carat,class,depth %,shape,cut\n9,D,60,oval,yes\n-9,E,60,oval,no\n9,E,60,oval,no\n")
    found = export("gems", rows="new.csv", label="cut", int8=True)
    assert found.accuracy == pytest.approx(2 / 3)
    assert "in float32 66.67%" in found.measured()[-1]


def test_a_label_without_rows_is_refused(finished, refused, away):
    assert refused("export", finished / "models" / "student" / ROW, "--label", "cut") == (
        2,
        'label = "cut": the rows of a run have their labels; give --rows FILE with it',
    )
