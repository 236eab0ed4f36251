"""An ensemble and a file without labels, as docs/many-teachers.md has it: its Python and its recipe, as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "many-teachers.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What a reader's Python knows after the page's first lines, in the folder with its files."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(compile(blocks("python")[0], "docs/many-teachers.md", "exec"), found)
    return found


@pytest.mark.slow
def test_the_recipe_makes_one_net_of_ten_and_a_file(limbeck, names: dict[str, object]) -> None:
    Path("ten.toml").write_text(blocks("toml")[0], "utf-8")
    code, _, said = limbeck("run", "ten.toml")
    assert code == 0, said
    results = json.loads(Path("runs/ten/results.json").read_text("utf-8"))
    rows = [(row["role"], row["name"]) for row in results["models"]]
    assert rows == [
        *[("reference", "single")] * 10, ("teacher", "ensemble"), ("student", "mlp"), ("baseline", "mlp"),
    ]  # fmt: skip
    assert [part["part"] for part in results["parts"]] == ["train", "file:more.npz"]
    ensemble = results["ensembles"]["teacher/ensemble"]
    assert ensemble["errors"] <= ensemble["mean_errors"]


@pytest.mark.slow
def test_a_list_of_models_teaches_in_python(names: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[1], "docs/many-teachers.md", "exec"), names)
    wrong, of = re.fullmatch(r"(\d+) errors in (\d+)\n", capsys.readouterr().out).groups()
    assert int(wrong) < int(of) / 4
