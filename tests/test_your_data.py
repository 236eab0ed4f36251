"""A user's own road, as docs/your-data.md has it: its Python and its commands, run as they stand there."""

from __future__ import annotations

import re
import shlex
import tomllib
import warnings
from pathlib import Path

import pytest
import torch

from limbeck.recipe import load_recipe, parse_recipe

PAGE = Path(__file__).parent.parent / "docs" / "your-data.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run_python(text: str, names: dict[str, object]) -> None:
    exec(compile(text, "docs/your-data.md", "exec"), names)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader works, with the page's table in it."""
    monkeypatch.chdir(tmp_path)
    run_python(blocks("python")[0], {})
    return tmp_path


@pytest.mark.slow
def test_five_commands_lead_from_a_table_and_a_pipeline_to_an_onnx_file(limbeck, folder: Path) -> None:
    commands = next(block for block in blocks("") if block.startswith("python ")).splitlines()
    assert len(commands) == 5
    assert commands[0] == "python teacher.py"
    run_python(blocks("python")[1], {})
    shown, said = {}, {}
    for command in commands[1:]:
        words = [
            word for one in shlex.split(command)[1:] for word in (map(str, Path().glob(one)) if "*" in one else [one])
        ]
        code, shown[words[0]], said[words[0]] = limbeck(*words)
        assert code == 0, said[words[0]]

    data = load_recipe("cancer.toml").data
    assert (data.validation, data.test) == (0.2, 0.3)  # as the page's teacher.py cuts the rows
    assert re.search(r"^student +mlp \(rows munge", shown["run"], re.MULTILINE)
    classes = [line.split("\t")[1].split()[0] for line in shown["predict"].splitlines()]
    assert classes == ["malignant"] * 4
    assert said["predict"].splitlines() == [
        'column "size": 1 row has "enormous", which the model has never seen: it counts as unknown',
        'column "mean radius": 1 row has no value, which the model has never met here',
    ]
    assert "0 rows have another class" in shown["export"]
    assert (folder / "cancer.onnx").stat().st_size < (folder / "teacher.skops").stat().st_size / 20
    assert limbeck("predict", "cancer.onnx", "new.csv")[1].count("malignant") >= 4


def test_fifteen_lines_of_python_do_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, teacher, road = blocks("python")
    assert len([line for line in road.splitlines() if line.strip()]) <= 15
    names: dict[str, object] = {}
    run_python(teacher, names)
    capsys.readouterr()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of a teacher that memorised its rows
        run_python(road, names)
    accuracy, *lines = capsys.readouterr().out.splitlines()
    assert float(accuracy) > 0.87
    assert sum('"enormous"' in line for line in lines) == 1
    assert [line.split("\t")[1].split()[0] for line in lines if "\t" in line] == ["malignant"] * 4
    assert (folder / "small.onnx").is_file()


def test_the_teacher_s_file_is_refused_where_its_types_were_not_allowed(limbeck, refused, folder: Path) -> None:
    run_python(blocks("python")[1], {})
    assert limbeck("init", "cancer.csv", "--label", "diagnosis", "--teacher", "teacher.skops")[0] == 0
    code, message = refused("run", "cancer.toml")
    assert code == 1
    assert "numpy.dtype, sklearn.tree._tree.Tree" in message
    assert not (folder / "runs").exists()
    text = (folder / "cancer.toml").read_text("utf-8")
    (folder / "cancer.toml").write_text(text.replace("# trust = ", "trust = "), "utf-8")
    assert limbeck("run", "cancer.toml", "--dry-run")[0] == 0


def test_the_teacher_from_elsewhere_on_the_page_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    rest = '[data]\nsource = "t.csv"\n[[student]]\nname = "s"\nmodel = { kind = "sklearn-tree" }\n'
    recipe = parse_recipe(tomllib.loads(f'title = "t"\n{rest}{text}'), "your-data.md")
    assert recipe.teacher[0].from_ == "predictions.csv"
