import errno
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from limbeck import __version__
from limbeck.errors import LimbeckError, UsageError
from limbeck.models import build_model, save_model
from limbeck.recipe import read_recipe
from limbeck.recipes import bundled_recipes

OUT_OF_MEMORY = "out of memory: close other programs, or take a smaller network, a smaller batch or fewer views"


@pytest.fixture
def fails(monkeypatch):
    """A function: `limbeck recipes` comes to this end."""

    def end(error):
        def raises():
            raise error

        monkeypatch.setattr("limbeck.recipe.reading.bundled_recipes", raises)

    return end


# ---------------------------------------------------------------- what comes out


def test_a_run_shows_its_table_verdict_and_report_and_what_it_does_beside(limbeck, tiny, tmp_path):
    out = tmp_path / "runs" / "tiny"
    code, shown, err = limbeck("run", tiny, "--out", out)
    assert code == 0
    for text in ("teacher   convnet", "student   2x16 (temperature 4)", "baseline  2x16", f"report: {out}/report.html"):
        assert text in shown
    assert re.search(r"2x16 learnt from convnet makes \d+ errors in 450", shown)
    done = [line.partition(":")[0] for line in err.splitlines()]
    assert done == [
        "teacher convnet",
        "knowledge of convnet, inputs and 2 views",
        "student 2x16 (temperature 4)",
        "baseline 2x16",
    ]
    assert "\x1b" not in shown + err  # a log is no terminal


def test_the_same_again_shows_the_same_and_that_there_is_nothing_to_do(limbeck, tiny, finished):
    code, shown, err = limbeck("run", tiny, "--out", finished)
    assert code == 0
    assert err == f"nothing to do: {finished} is complete\n"
    assert "report: " in shown


@pytest.mark.parametrize("until", ["teach", "extract", "distill"])
def test_a_run_as_far_as_a_stage_says_how_far_it_is(limbeck, tiny, tiny_run, until):
    code, shown, _ = limbeck(until, tiny, "--out", tiny_run)
    assert (code, shown) == (0, f"done as far as {until}: {tiny_run}\n")


@pytest.mark.parametrize("until", ["evaluate", "report"])
def test_a_run_with_results_shows_them(limbeck, tiny, tiny_run, until):
    assert "2x16 (temperature 4)" in limbeck(until, tiny, "--out", tiny_run)[1]


def test_the_recipes_are_listed_with_how_long_they_take(limbeck):
    code, shown, _ = limbeck("recipes")
    assert code == 0
    lines = shown.splitlines()
    assert [line.split()[0] for line in lines] == bundled_recipes()
    for name, line in zip(bundled_recipes(), lines, strict=True):
        timed = "minutes" in read_recipe(name)
        assert bool(re.search(r"\(about [\d.]+ (seconds|minutes) on two cores\)$", line)) == timed, line


def test_an_artifact_is_described_line_by_line(limbeck, finished):
    model = finished / "models" / "teacher" / "convnet"
    code, shown, _ = limbeck("inspect", model)
    assert code == 0
    assert shown.splitlines()[0] == f"{model}: teacher"
    assert limbeck("inspect", model, "--verify")[:2] == (0, f"{model} is whole\n")


def test_a_run_that_is_not_finished_is_not_called_whole(limbeck, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run", symlinks=True)
    (run / "SHA256SUMS").unlink()
    assert limbeck("inspect", finished, "--verify")[:2] == (0, f"{finished} is whole\n")
    assert limbeck("inspect", run, "--verify")[:2] == (0, f"{run} is whole so far: the run is not finished\n")


def test_a_tree_s_answer_is_explained_and_the_tree_written(limbeck, refused, tmp_path, digits):
    torch.manual_seed(0)
    tree = build_model({"kind": "soft-tree", "depth": 3}, (8, 8), 10, digits.inputs)
    save_model(tmp_path / "model", tree, digits.classes)
    code, shown, err = limbeck("explain", tmp_path / "model", "digits", "--row", 3, "--out", tmp_path / "tree.txt")
    lines = shown.splitlines()
    assert (code, err, len(lines)) == (0, "", 7)
    assert re.fullmatch(r"class \d, \d+%", lines[0])
    assert [line.startswith("question") for line in lines[2:5]] == [True] * 3
    assert lines[-1] == f"tree: {tmp_path / 'tree.txt'}"
    assert (tmp_path / "tree.txt").read_text("utf-8").count("class: ") == 8
    assert limbeck("explain", tmp_path / "model", "digits", "--row", 3)[1].splitlines() == lines[:-1]
    assert refused("explain", tmp_path / "model", "digits", "--row", -1) == (
        2, "row = -1: digits has the rows 0 to 1796"
    )  # fmt: skip


def test_runs_are_compared_as_markdown_on_request(limbeck, finished):
    code, shown, _ = limbeck("compare", finished, "--markdown")
    assert code == 0
    assert "| role | model |" in shown
    assert "tiny, seed 0" in shown


def test_a_run_is_not_compared_with_itself(refused, finished):
    assert refused("compare", finished, finished) == (
        1, f"{finished} and {finished} both have seed 0: compare runs of different seeds"
    )  # fmt: skip


def test_the_version_is_printed(limbeck):
    assert limbeck("--version") == (0, f"limbeck {__version__}\n", "")


# ---------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["destil"], "destil"),
        (["run"], "recipe"),
        (["run", "digits", "--otu", "x"], "--otu"),
        (["run", "digits", "--seed", "one"], "--seed"),
        (["run", "digits", "--seed", "-1"], "seed = -1"),
        (["run", "digits", "--set", "seed"], 'found no "="'),
        (["run", "digitss"], 'no recipe is named "digitss", did you mean "digits"'),
        (["run", "nowhere.toml"], "nowhere.toml: no such file"),
        (["run", "digits", "--set", "data.sorce=mnist"], 'data.sorce: unknown key, did you mean "source"'),
        (["compare"], "runs"),
        (["predict", "x"], "inputs"),
        (["predict", "x", "y", "--top", "0"], "--top"),
        (["explain", "x"], "inputs"),
        (["explain", "x", "y", "--row", "first"], "--row"),
        (["explain", "x", "y", "--out", "tree.pdf"], "tree.pdf"),
        (["inspect"], "path"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(refused, arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, line = refused(*arguments)
    assert code == 2
    assert says.lower() in line.lower()  # typer's own messages differ from version to version
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["inspect", "nowhere"], "nowhere does not exist"),
        (["inspect", "nowhere", "--verify"], "nowhere does not exist"),
        (["predict", "nowhere", "digits"], "nowhere does not exist: give the folder of a model"),
        (["explain", "nowhere", "digits"], "nowhere does not exist: give the folder of a model"),
        (["compare", "nowhere"], "nowhere: no such file: finish the run first"),
        (["run", "digits", "--out", "pyproject/x"], "pyproject"),
    ],
)
def test_what_failed_is_one_line_and_exit_code_1(refused, arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject").write_text("a file where a folder would have to be")
    code, line = refused(*arguments)
    assert code == 1
    assert says in line
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject"]


def test_a_label_that_the_training_rows_do_not_have_is_one_line(refused, tiny, tmp_path, digits):
    folder = tmp_path / "idx"
    folder.mkdir()
    for name, array in (
        ("train-images-idx3", digits.inputs[:500]),
        ("train-labels-idx1", digits.labels[:500]),
        ("t10k-images-idx3", digits.inputs[500:600]),
        ("t10k-labels-idx1", np.where(np.arange(100) == 42, 77, digits.labels[500:600])),
    ):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
        (folder / f"{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    code, line = refused("run", tiny, "--out", tmp_path / "out", "--set", f"data.source=idx:{folder}")
    assert code == 1
    assert "labels out of range: row 42 of" in line
    assert "has label 77" in line
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_one_line_and_untouched(refused, tiny, tmp_path, contents):
    (tmp_path / "thesis.tex").write_text("years of work")
    before = contents(tmp_path)
    for more in ((), ("--fresh",), ("--dry-run",)):
        code, line = refused("run", tiny, "--out", tmp_path, *more)
        assert code == 1
        assert line.startswith(f'{tmp_path} holds something else than a run ("thesis.tex")')
    assert contents(tmp_path) == before


def test_a_teacher_s_output_that_is_not_finite_is_one_line(refused, tiny, tmp_path, digits):
    model = build_model({"kind": "mlp", "widths": [4]}, (8, 8), 10, digits.inputs)
    with torch.no_grad():
        model.layers[-1].bias[3] = torch.nan
    save_model(tmp_path / "model", model, digits.classes)
    given = f'teacher=[{{name="convnet", from="{tmp_path}/model"}}]'
    code, line = refused("run", tiny, "--out", tmp_path / "runs" / "tiny", "--set", given)
    assert code == 1
    assert line.startswith("the teacher's output for row 0 is not finite (")


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_batch_too_small_for_batch_normalisation_is_one_line(limbeck, tiny, tmp_path, batch_size):
    changes = (
        "teacher.convnet.train.epochs=1",
        f"teacher.convnet.train.batch_size={batch_size}",
        "data.validation=1300",
    )
    sets = [word for change in changes for word in ("--set", change)]
    code, _, err = limbeck("teach", tiny, "--out", tmp_path / "runs" / "tiny", *sets)
    assert code == (2 if batch_size == 1 else 0)
    if batch_size == 1:
        assert (
            err
            == "limbeck: batch normalisation needs at least two rows in a batch: raise batch_size, or give more rows\n"
        )


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (LimbeckError("what, where\nand how to mend it"), 1, "what, where and how to mend it"),
        (UsageError("wrong"), 2, "wrong"),
        (KeyboardInterrupt(), 130, "interrupted: the same command begins anew"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            1,
            "runs/x: No space left on device: mend that, and the same command continues",
        ),
        (MemoryError(), 1, OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 1, OUT_OF_MEMORY),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), 1, OUT_OF_MEMORY),
        (RuntimeError("what"), 1, "RuntimeError: what (a bug in limbeck: --debug shows where)"),
        (KeyError("x"), 1, "KeyError: 'x' (a bug in limbeck: --debug shows where)"),
    ],
)
def test_every_end_is_one_line_with_its_exit_code(refused, fails, error, code, line):
    fails(error)
    assert refused("recipes") == (code, line)


def test_a_traceback_is_shown_on_request_alone(limbeck, fails):
    fails(KeyError("x"))
    code, _, err = limbeck("--debug", "recipes")
    assert code == 1
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1] == "limbeck: KeyError: 'x' (a bug in limbeck: --debug shows where)"


def test_without_arguments_the_help_is_shown(limbeck):
    code, shown, err = limbeck()
    assert "Usage: " in shown + err
    assert "distill" in shown + err
    assert code in (0, 2)


@pytest.mark.parametrize(
    "command",
    ["run", "teach", "extract", "distill", "evaluate", "report", "recipes", "inspect", "predict", "explain", "compare"],
)
def test_every_command_has_help(limbeck, command):
    code, shown, _ = limbeck(command, "--help")
    assert code == 0
    assert len(shown.splitlines()) > 5


@pytest.mark.slow
def test_a_reader_that_stops_reading_is_no_error(finished, tmp_path):
    model = finished / "models" / "student" / "2x16-temperature=4"
    command = [sys.executable, "-m", "limbeck", "predict", str(model), "digits", "--top", "10"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1
