import json
from pathlib import Path

import numpy as np
import pytest

from limbeck.data import Reading, load_dataset, shared_rows
from limbeck.errors import LimbeckError
from limbeck.recipe import Data
from limbeck.road import run
from limbeck.run_data import opened_split, opened_texts, run_split
from limbeck.stages.extraction_warnings import split_warnings

RECIPE = """
title = "Wine"

[data]
source = "wine.csv"
label = "kind"
test = 0.25

[[teacher]]
name = "net"
model = { kind = "mlp", widths = [4] }
train = { epochs = 1 }

[[student]]
name = "mlp"
model = { kind = "mlp", widths = [2] }
train = { epochs = 1 }
"""
SPLIT = {"validation": 10, "test": 0.25}


def sentences(count):
    return [f"text number {number} is {'good' if number % 2 else 'bad'}" for number in range(count)]


def labelled(folder, texts):
    lines = [json.dumps({"text": text, "label": "pos" if "good" in text else "neg"}) for text in texts]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return Data(source="rows.jsonl", label="label", **SPLIT)


def plain(folder, texts):
    (folder / "plain.txt").write_text("\n".join(texts) + "\n")
    return Data(source="plain.txt", validation=30)


def test_rows_that_are_in_two_parts_are_counted_and_said(tmp_path):
    split = opened_split(labelled(tmp_path, sentences(40) * 3), tmp_path)
    validation, test = (len(shared_rows(part, split.train)) for part in (split.validation, split.test))
    both = len(shared_rows(split.validation, split.test))
    assert 0 < both <= validation < 11
    assert 10 < test <= 30
    assert list(split_warnings(split, [])) == [
        f"{validation} of 10 validation rows are also training rows: choices made on them favour what remembers",
        f"{test} of 30 test rows are also training rows: test accuracy says more than it should",
        f"{both} of 10 validation rows are also test rows: what is chosen on them suits the test",
    ]
    assert list(split_warnings(opened_split(labelled(tmp_path, sentences(120)), tmp_path), [])) == []


def test_equal_rows_with_different_labels_are_counted(tmp_path):
    texts = sentences(120)
    data = labelled(tmp_path, texts)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    lines += [lines[number].replace("pos", "neg") for number in (1, 3, 5)]
    lines.append(json.dumps({"text": texts[0].upper(), "label": "pos"}))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    assert list(split_warnings(opened_split(data, tmp_path), []))[-1] == (
        "8 rows have the inputs of another row, and another label: no model can be right about both"
    )


def test_texts_that_are_held_out_are_left_out_wherever_they_are_repeated(tmp_path):
    data = plain(tmp_path, sentences(60) + [text.upper() for text in sentences(60)])
    train, held_out = opened_texts(data, tmp_path)
    assert len(held_out) == 30
    assert len(shared_rows(train, held_out)) == 0
    assert 60 <= len(train) < 90
    once, held_out = opened_texts(plain(tmp_path, sentences(120)), tmp_path)
    assert (len(once), len(held_out)) == (90, 30)
    assert np.intersect1d(once.ids, held_out.ids).size == 0


def test_where_all_texts_are_one_it_is_said(tmp_path):
    with pytest.raises(LimbeckError, match=r"^plain\.txt: all texts are those held out, repeated: give others$"):
        opened_texts(plain(tmp_path, ["the same"] * 60), tmp_path)


def test_a_run_finds_its_data_from_any_folder_and_when_all_has_moved_together(tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "recipes").mkdir(parents=True)
    (project / "recipes" / "wine.csv").write_text(
        "width,kind\n" + "".join(f"{number},{'ab'[number % 2]}\n" for number in range(60))
    )
    (project / "recipes" / "wine.toml").write_text(RECIPE)
    monkeypatch.chdir(project)
    run("recipes/wine.toml", "runs/wine", until="teach")
    monkeypatch.chdir(tmp_path)
    test = run_split(project / "runs" / "wine").test
    assert len(test) == 15
    project.rename(tmp_path / "moved")
    assert run_split(tmp_path / "moved" / "runs" / "wine").test.inputs_hash == test.inputs_hash
    (tmp_path / "moved" / "recipes" / "wine.csv").unlink()
    with pytest.raises(LimbeckError, match=r"^wine\.csv, which moved/runs/wine has its data from, is no longer where"):
        run_split(Path("moved") / "runs" / "wine")


@pytest.mark.parametrize("source", ["./a:b.csv", "~/wine.csv", "letters"])
def test_data_are_found_again_whatever_they_are_called(tmp_path, monkeypatch, source):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    project = tmp_path / "project"
    for folder in (project / "recipes", tmp_path / "home"):
        folder.mkdir(parents=True)
    table = "width,kind\n" + "".join(f"{number},{'ab'[number % 2]}\n" for number in range(60))
    for file in (project / "recipes" / "a:b.csv", tmp_path / "home" / "wine.csv"):
        file.write_text(table)
    (project / "test.csv").write_text("width,kind\n0.5,a\n1.5,b\n")
    recipe = RECIPE.replace('"wine.csv"', f'"{source}"').replace("test = 0.25", 'test = "file:test.csv"')
    (project / "recipes" / "wine.toml").write_text(recipe)
    if source == "letters":  # a set that has a name, beside it a file of test rows
        monkeypatch.setattr("limbeck.run_data.load_dataset", lambda *given, **more: load_dataset(
            str(project / "recipes" / "a:b.csv"), Reading(label="kind")
        ))  # fmt: skip
    monkeypatch.chdir(project)
    run("recipes/wine.toml", "runs/wine", until="teach")  # the test rows lie where it is called from
    monkeypatch.chdir(tmp_path)
    split = run_split(project / "runs" / "wine")
    assert (len(split.test), len(split.train) + len(split.validation)) == (2, 60)


def test_a_run_of_an_older_version_says_by_its_command_where_its_recipe_lay(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    table = "width,kind\n" + "".join(f"{number},{'ab'[number % 2]}\n" for number in range(60))
    (tmp_path / "recipes" / "wine.csv").write_text(table)
    (tmp_path / "recipes" / "wine.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    run("recipes/wine.toml", "runs/wine", until="teach")
    about = json.loads(Path("runs/wine/run.json").read_text())
    del about["folders"]
    Path("runs/wine/run.json").write_text(json.dumps(about))
    assert len(run_split(Path("runs/wine")).test) == 15
