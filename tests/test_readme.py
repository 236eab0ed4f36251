"""The README's Python, run as a reader would: block after block, in a new folder."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

from limbeck.inspection import verify
from limbeck.metrics import agreement, errors
from limbeck.recipe import parse_recipe
from limbeck.training import predict_log_probs

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


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
