"""The README's Python, run as a reader would: block after block, in a new folder."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

from limbeck.inspection.verification import verify
from limbeck.metrics import agreement, errors
from limbeck.recipe import parse_recipe
from limbeck.training import predict_log_probs

README = Path(__file__).parent.parent / "README.md"
TREES = README.parent / "docs" / "trees.md"


def blocks(language: str, page: Path = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_in_the_readme_teaches_and_keeps_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    road, one_call = blocks("python")
    names: dict[str, object] = {"__name__": "readme"}
    torch.manual_seed(0)

    exec(compile(road, "README.md", "exec"), names)

    test = names["split"].test
    wrong = [errors(predict_log_probs(names[name], test.inputs), test.labels) for name in ("teacher", "student")]
    assert wrong[0] < 0.1 * len(test)
    assert wrong[1] < 0.2 * len(test)
    printed = capsys.readouterr().out.splitlines()
    for line, name, errors_found in zip(printed, ("teacher", "student"), wrong, strict=True):
        parameters = sum(parameter.numel() for parameter in names[name].parameters())
        assert line == f"{name}: {errors_found} errors in {len(test)}, {parameters:,} parameters"
    (folder,) = (tmp_path / "runs" / "artifacts" / "knowledge").iterdir()
    assert verify(folder) == []

    exec(compile(one_call, "README.md", "exec"), names)

    answers = predict_log_probs(names["distilled"].student, names["pixels"])
    assert agreement(answers, names["distilled"].knowledge.log_probs()) > 0.8
    assert names["smaller"].knowledge is names["distilled"].knowledge


def test_the_recipe_in_the_readme_is_valid() -> None:
    (text,) = blocks("toml")
    recipe = parse_recipe(tomllib.loads(text), "README.md")
    assert len(recipe.student[0].trials()) == 3


def test_the_python_about_trees_explains_draws_and_prunes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python", TREES)
    torch.manual_seed(0)
    names: dict[str, object] = {"__name__": "trees"}

    exec(compile(block, "docs/trees.md", "exec"), names)

    test, tree = names["split"].test, names["tree"]
    answers = predict_log_probs(tree, test.inputs)
    assert errors(answers, test.labels) < 0.2 * len(test)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"class {test.classes[answers[0].argmax()]}, ")
    assert printed[-2] == f"16 leaves, {names['smaller'].leaf_count} of them left"
    assert printed[-1] == str(answers[:3].argmax(axis=1))
    assert (tmp_path / "tree.svg").read_text("utf-8").startswith("<svg")
