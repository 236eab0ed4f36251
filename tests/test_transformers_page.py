"""An encoder of half the layers, as docs/transformers.md has it: its Python and its recipe, as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "transformers.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_page_halves_an_encoder_and_takes_it_away(
    limbeck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made, taken, _ = blocks("python")
    exec(compile(made, "docs/transformers.md", "exec"), {})
    Path("halves.toml").write_text(blocks("toml")[0], "utf-8")
    code, _, said = limbeck("run", "halves.toml")
    assert code == 0, said
    results = json.loads(Path("runs/halves/results.json").read_text("utf-8"))
    rows = {(row["role"], row["name"]): row for row in results["models"]}
    assert list(rows) == [
        ("teacher", "bert"), ("student", "half"), ("baseline", "half"), ("student", "half-trimmed"),
    ]  # fmt: skip
    assert all(row["accuracy"] > 0.8 for row in rows.values())
    sizes = [rows[key]["parameters"] for key in (("teacher", "bert"), ("student", "half"), ("student", "half-trimmed"))]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] > sizes[2]
    exec(compile(taken, "docs/transformers.md", "exec"), {})
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
    made, _, taken = blocks("python")
    exec(compile(made, "docs/transformers.md", "exec"), {})
    Path("plain.toml").write_text(blocks("toml")[1], "utf-8")
    code, printed, said = limbeck("run", "plain.toml")
    assert code == 0, said
    assert "kept: its share of the teacher's macro" in printed
    results = json.loads(Path("runs/plain/results.json").read_text("utf-8"))
    assert [(row["role"], row["name"]) for row in results["models"]] == [
        ("teacher", "bert"), ("student", "small"), ("baseline", "small"), ("reference", "undistilled"),
    ]  # fmt: skip
    assert all(row["accuracy"] > 0.8 for row in results["models"])
    capsys.readouterr()
    exec(compile(taken, "docs/transformers.md", "exec"), {})
    assert capsys.readouterr().out.endswith("(1, 6, 32)\n")
