"""Runs whose test rows have a file of their own."""

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_wine

from limbeck import write_recipe
from limbeck.files import read_json
from limbeck.recipe import load_recipe
from limbeck.road import run
from limbeck.run_data import run_split

WINE = load_wine(as_frame=True)
TEST = np.arange(len(WINE.data)) % 3 == 0

RECIPE = """
title = "Wine"

[data]
source = "train.csv"
label = "cultivar"
validation = 0.2
test = "file:test.csv"

[[teacher]]
name = "given"
from = "predictions.npz"

[[student]]
name = "mlp"
model = { kind = "mlp", widths = [8] }
train = { epochs = 3, learning_rate = 1e-2 }
"""


@pytest.fixture
def wine(tmp_path):
    table = WINE.data[["alcohol", "hue", "proline"]].assign(cultivar=WINE.target_names[WINE.target])
    table[~TEST].to_csv(tmp_path / "train.csv", index=False)
    table[TEST].to_csv(tmp_path / "test.csv", index=False)
    return tmp_path


def said(folder, ids, labels):
    probabilities = np.full((len(labels), 3), 0.05)
    probabilities[np.arange(len(labels)), labels] = 0.9
    np.savez(folder / "predictions.npz", ids=ids, probabilities=probabilities)


def rows(out):
    return {row["role"]: row for row in read_json(out / "results.json")["models"]}


def test_a_student_is_measured_on_the_rows_of_the_file(wine):
    (wine / "wine.toml").write_text(RECIPE)
    said(wine, np.arange((~TEST).sum()), WINE.target[~TEST])
    run(wine / "wine.toml", wine / "runs" / "wine")
    test = run_split(wine / "runs" / "wine").test
    assert len(test) == TEST.sum()
    assert [test.classes[label] for label in test.labels] == list(WINE.target_names[WINE.target[TEST]])
    assert rows(wine / "runs" / "wine")["student"]["errors"] is not None


def test_ids_of_training_rows_say_nothing_of_test_rows_that_are_numbered_alike(wine):
    (wine / "wine.toml").write_text(RECIPE)
    said(wine, np.arange((~TEST).sum()), WINE.target[~TEST])  # from 0, as the test rows are, too
    run(wine / "wine.toml", wine / "runs" / "wine")
    assert rows(wine / "runs" / "wine")["teacher"]["errors"] is None


def test_a_teacher_is_measured_on_test_rows_that_have_ids_of_their_own(wine):
    table = pandas.concat([pandas.read_csv(wine / "train.csv"), pandas.read_csv(wine / "test.csv")])
    table["number"] = np.arange(len(table))
    table[: (~TEST).sum()].to_csv(wine / "train.csv", index=False)
    table[(~TEST).sum() :].to_csv(wine / "test.csv", index=False)
    (wine / "wine.toml").write_text(RECIPE.replace("label =", 'id = "number"\nlabel ='))
    said(wine, np.arange(len(table)), np.concatenate([WINE.target[~TEST], WINE.target[TEST]]))
    run(wine / "wine.toml", wine / "runs" / "wine")
    assert rows(wine / "runs" / "wine")["teacher"]["errors"] == 0


def test_init_writes_it_into_the_recipe(wine, limbeck):
    (wine / "held").mkdir()
    (wine / "test.csv").rename(wine / "held" / "test.csv")
    code, shown, err = limbeck("init", wine / "train.csv", "--label", "cultivar", "--test", wine / "held" / "test.csv")
    assert (code, err) == (0, ""), shown
    recipe = load_recipe(wine / "train.toml")
    assert recipe.data.test == "file:held/test.csv"
    with pytest.raises(Exception, match=r"held/none\.csv does not exist"):
        write_recipe(wine / "train.csv", "cultivar", wine / "other.toml", test=wine / "held" / "none.csv")
    assert not (wine / "other.toml").exists()
