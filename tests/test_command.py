"""Mistakes at the command line: one line each, an exit code, nothing lost."""

import gzip
import subprocess
import sys

import numpy as np
import pytest

from limbeck.data import load_dataset


def idx_file(array):
    kind = bytes([0, 0, 8, array.ndim])
    return kind + b"".join(int(n).to_bytes(4, "big") for n in array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    digits = load_dataset("digits").train
    folder = tmp_path / "idx"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(idx_file(digits.inputs[:1000]))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_file(digits.labels[:1000])))
    return folder


def test_an_unknown_recipe_key_is_named_with_the_nearest_valid_one(refused, tiny, tmp_path):
    code, line = refused("run", tiny, "--out", tmp_path / "out", "--set", "student.2x16.trian={epochs=1}")
    assert code == 2
    assert line == f'{tiny}: student.2x16.trian: unknown key, did you mean "train"?'
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("student.*.distill.temperature=0", "student.2x16.distill.temperature: found 0, expected"),
        ("student.*.distill.temperature=-1", "student.2x16.distill.temperature: found -1, expected"),
        ("student.*.train.epochs=two", 'student.2x16.train.epochs: found "two", expected'),
        ("data.validation=5000", "validation = 5000 takes 5000 rows, but digits has 1347 training rows"),
        ("data.source=idx:nowhere", "folder nowhere does not exist"),
        ("data.source=mnits", 'did you mean "mnist"'),
        ("transfer.views.select={without=[12]}", "has no class 12"),
    ],
)
def test_a_wrong_value_is_one_line(refused, tiny, tmp_path, change, says):
    code, line = refused("run", tiny, "--out", tmp_path / "out", "--set", change)
    assert code in (1, 2)
    assert says in line
    assert not (tmp_path / "out").exists()


def test_a_file_cut_short_is_named_with_bytes(refused, tiny, tmp_path, idx_folder):
    path = idx_folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-7])
    code, line = refused("run", tiny, "--out", tmp_path / "out", "--set", f"data.source=idx:{idx_folder}")
    assert code == 1
    assert str(path) in line
    assert "cut short" in line


def test_a_folder_without_the_files_says_what_was_looked_for(refused, tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    code, line = refused("run", tiny, "--out", tmp_path / "out", "--set", f"data.source=idx:{tmp_path / 'empty'}")
    assert code in (1, 2)
    assert "train-images-idx3-ubyte" in line


def test_knowledge_of_other_data_is_not_taken(limbeck, tiny_run, tiny, idx_folder):
    teacher = tiny_run / "models" / "teacher" / "convnet"
    recipe = tiny_run.parent / "other.toml"
    text = tiny.read_text()
    begin, end = text.index('model = { kind = "convnet"'), text.index("[[transfer]]")
    recipe.write_text(text[:begin] + f'from = "{teacher}"\n\n' + text[end:])
    code, _, err = limbeck(
        "extract", recipe, "--out", tiny_run.parent / "other", "--set", f"data.source=idx:{idx_folder}"
    )
    assert code == 0, err
    assert "knowledge of convnet, inputs and 2 views: done" in err


def test_an_output_folder_that_is_a_file_is_refused(refused, tiny, tmp_path):
    (tmp_path / "out").write_text("a letter")
    code, line = refused("run", tiny, "--out", tmp_path / "out")
    assert (code, line) == (1, f"{tmp_path / 'out'} is a file: give --out a folder")
    assert (tmp_path / "out").read_text() == "a letter"


def test_nan_in_the_inputs_is_named_by_row(refused, tiny_run, tmp_path):
    inputs = np.zeros((5, 8, 8), np.float32)
    inputs[3, 0, 0] = np.nan
    np.save(tmp_path / "inputs.npy", inputs)
    code, line = refused("predict", tiny_run / "models" / "student" / "2x16-temperature=4", tmp_path / "inputs.npy")
    assert code == 1
    assert "row 3 is not finite" in line


def test_predict_gives_a_line_for_each_row(limbeck, tiny_run, tmp_path):
    digits = load_dataset("digits").train
    np.savez(tmp_path / "inputs.npz", inputs=digits.inputs[:4])
    (tmp_path / "images").write_bytes(idx_file(digits.inputs[:4]))
    model = tiny_run / "models" / "teacher" / "convnet"
    code, out, _ = limbeck("predict", model, tmp_path / "inputs.npz", "--top", "2")
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["0", "1", "2", "3"]
    assert limbeck("predict", model, tmp_path / "images", "--top", "2")[1] == out


def test_verify_names_each_damaged_file(limbeck, tiny_run):
    assert limbeck("inspect", tiny_run, "--verify")[0] == 0
    path = (tiny_run / "models" / "teacher" / "convnet" / "history.json").resolve()
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    code, _, err = limbeck("inspect", tiny_run, "--verify")
    assert code == 1
    assert str(path) in err


def test_a_dry_run_writes_nothing(limbeck, tiny, tmp_path):
    code, out, _ = limbeck("run", tiny, "--out", tmp_path / "runs" / "tiny", "--dry-run")
    assert code == 0
    assert "6 of 6 stages to do" in out
    assert not (tmp_path / "runs").exists()


def test_results_of_different_recipes_are_not_compared(refused, tiny_run, tmp_path):
    text = (tiny_run / "results.json").read_text()
    (tmp_path / "other.json").write_text(text.replace('"recipe": "tiny"', '"recipe": "small"'))
    code, line = refused("compare", tiny_run, tmp_path / "other.json")
    assert code == 1
    assert line == "these are runs of different recipes (small, tiny): compare runs of one"


def test_an_unknown_command_is_wrong_usage(refused):
    code, line = refused("destil")
    assert code == 2
    assert "destil" in line


def test_help_answers_in_a_process_of_its_own():
    ended = subprocess.run([sys.executable, "-m", "limbeck", "--help"], capture_output=True, text=True, check=True)
    assert "distill" in ended.stdout


@pytest.mark.parametrize("given", [("--seed", "one"), ("--seed=one",)])
def test_a_value_that_an_option_does_not_take_is_repeated(refused, tiny, given):
    code, line = refused("run", tiny, *given)
    assert code == 2
    assert "--seed" in line
    assert "one" in line
