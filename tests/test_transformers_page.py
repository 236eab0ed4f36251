"""Encoders of half the layers, as docs/transformers.md has them: its Python and its recipes, as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "transformers.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run_recipe(limbeck, number: int, name: str) -> tuple[list[dict[str, Any]], str]:
    """Make the page's encoder and run one of its recipes, here: the rows of its results, and what was printed."""
    exec(compile(blocks("python")[0], "docs/transformers.md", "exec"), {})
    Path(f"{name}.toml").write_text(blocks("toml")[number], "utf-8")
    code, printed, said = limbeck("run", f"{name}.toml")
    assert code == 0, said
    return json.loads(Path(f"runs/{name}/results.json").read_text("utf-8"))["models"], printed


@pytest.mark.slow
def test_the_page_halves_an_encoder_and_takes_it_away(
    limbeck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found, _ = run_recipe(limbeck, 0, "halves")
    rows = {(row["role"], row["name"]): row for row in found}
    assert list(rows) == [
        ("teacher", "bert"), ("student", "half"), ("baseline", "half"), ("student", "half-trimmed"),
    ]  # fmt: skip
    assert all(row["accuracy"] > 0.8 for row in rows.values())
    sizes = [rows[key]["parameters"] for key in (("teacher", "bert"), ("student", "half"), ("student", "half-trimmed"))]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] > sizes[2]
    exec(compile(blocks("python")[1], "docs/transformers.md", "exec"), {})
    assert capsys.readouterr().out.endswith("positive\n")
    code, printed, _ = limbeck(
        "predict", "runs/halves/models/student/half-temperature=4", "a moving film and great music"
    )
    assert code == 0
    assert printed.split("\t")[1].startswith("positive")


@pytest.mark.slow
def test_the_page_distils_an_encoder_before_there_is_a_task(
    limbeck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows, printed = run_recipe(limbeck, 1, "plain")
    assert "kept: its share of the teacher's macro" in printed
    assert [(row["role"], row["name"]) for row in rows] == [
        ("teacher", "bert"), ("student", "small"), ("baseline", "small"), ("reference", "undistilled"),
    ]  # fmt: skip
    assert all(row["accuracy"] > 0.8 for row in rows)
    capsys.readouterr()
    exec(compile(blocks("python")[2], "docs/transformers.md", "exec"), {})
    assert capsys.readouterr().out.endswith("(1, 6, 32)\n")
