"""Runs whose test rows have a file of their own."""

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_wine

from limbeck import write_recipe
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import read_json
from limbeck.recipe import load_recipe
from limbeck.results.comparison import comparison_table
from limbeck.results.paired import paired_table
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


def test_changed_labels_are_noticed_and_other_rows_are_not_compared(wine):
    (wine / "wine.toml").write_text(RECIPE)
    said(wine, np.arange((~TEST).sum()), WINE.target[~TEST])
    out = wine / "runs" / "wine"
    run(wine / "wine.toml", out)
    run(wine / "wine.toml", wine / "runs" / "before", seed=1)
    before = rows(out)["student"]["errors"]
    table = pandas.read_csv(wine / "test.csv")
    table["cultivar"] = table["cultivar"].map({"class_0": "class_1", "class_1": "class_2", "class_2": "class_0"})
    table.to_csv(wine / "test.csv", index=False)
    run(wine / "wine.toml", out)
    assert rows(out)["student"]["errors"] != before
    with pytest.raises(LimbeckError, match=r"wine was made with other rows or labels than .*before: compare runs on"):
        comparison_table([wine / "runs" / "before", out])
    with pytest.raises(LimbeckError, match=r"before: its data have other rows or labels by now"):
        paired_table([wine / "runs" / "before"])


def test_ids_of_unlabelled_training_rows_say_nothing_of_test_rows_either(wine):
    table = pandas.read_csv(wine / "train.csv").sample(frac=1, random_state=0).reset_index(drop=True)
    classes = table["cultivar"].map({name: number for number, name in enumerate(WINE.target_names)})
    table.loc[: TEST.sum(), "cultivar"] = None  # those that are numbered as the test rows are
    table.to_csv(wine / "train.csv", index=False)
    (wine / "wine.toml").write_text(RECIPE)
    said(wine, np.arange(len(table)), classes.to_numpy())
    run(wine / "wine.toml", wine / "runs" / "wine")
    assert rows(wine / "runs" / "wine")["teacher"]["errors"] is None


def test_predictions_know_the_rows_of_a_file_by_ids_of_their_own(wine):
    train = pandas.read_csv(wine / "train.csv")
    train["number"] = np.arange(len(train))
    more = pandas.read_csv(wine / "test.csv").drop(columns="cultivar")[:30]
    more["number"] = np.arange(30) + 1000
    train.to_csv(wine / "train.csv", index=False)
    more.to_csv(wine / "more.csv", index=False)
    recipe = RECIPE.replace("label =", 'id = "number"\nlabel =').replace('test = "file:test.csv"', "test = 0.2")
    transfer = '[[transfer]]\nname = "all"\nparts = ["train", "file:more.csv"]\n\n[[student]]'
    (wine / "wine.toml").write_text(recipe.replace("[[student]]", transfer))
    ids = np.concatenate([train["number"], more["number"]])
    said(wine, ids, np.concatenate([WINE.target[~TEST], WINE.target[TEST][:30]]))
    run(wine / "wine.toml", wine / "runs" / "wine")
    assert rows(wine / "runs" / "wine")["student"]["errors"] is not None
    more["number"] = train["number"].tolist()[:30]
    more.to_csv(wine / "more.csv", index=False)
    with pytest.raises(UsageError, match=r"file:more\.csv has ids that rows of the data have, too"):
        run(wine / "wine.toml", wine / "runs" / "other")
