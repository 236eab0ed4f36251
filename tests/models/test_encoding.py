"""A table's raw columns to features: what scikit-learn's own preprocessing makes of the same rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from limbeck import Objective, Part, build_model, load_model, predict_log_probs, save_model
from limbeck.at_once.trees import fit_threshold_tree
from limbeck.data import Column, TableForm
from limbeck.models import TableEncoding, encoded, learn_preprocessing

FORM = TableForm(
    (
        Column("carat", None, missing=True),
        Column("colour", ("D", "E", "F", "J"), missing=True),
        Column("depth"),
        Column("shape", ("oval", "round")),
    )
)


def rows(count: int, seed: int = 0, colours: int = 3) -> np.ndarray:
    draw = np.random.default_rng(seed)
    table = np.stack(
        [
            draw.normal(2, 3, count),
            draw.integers(0, colours, count),
            draw.normal(60, 5, count),
            draw.integers(0, 2, count),
        ],
        axis=1,
    ).astype(np.float32)
    table[draw.random(count) < 0.2, 0] = np.nan
    table[draw.random(count) < 0.1, 1] = np.nan
    return table


def part(count: int, seed: int = 0) -> Part:
    inputs = rows(count, seed)
    labels = (np.nan_to_num(inputs[:, 0], nan=2.0) > 2).astype(np.int64)
    return Part("train", inputs, labels, np.arange(count), ("no", "yes"), FORM)


def test_the_features_are_those_of_scikit_learn() -> None:
    train, new = rows(500), rows(200, seed=1, colours=4)  # "J" is not among the training rows
    ours = TableEncoding(FORM.columns).fit(train)
    theirs = ColumnTransformer(
        [
            ("carat", SimpleImputer(strategy="median", add_indicator=True), [0]),
            ("colour", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [1]),
            ("depth", SimpleImputer(strategy="median"), [2]),
            ("shape", OneHotEncoder(sparse_output=False), [3]),
        ]
    ).fit(train)
    found = dict(zip(ours.features, ours(torch.from_numpy(new)).numpy().T, strict=True))
    kept = [name for name in ours.features if name != "colour=J"]
    # scikit-learn takes NaN as a category of its own, after the others: our "colour is missing".
    np.testing.assert_allclose(np.stack([found[name] for name in kept], axis=1), theirs.transform(new), rtol=1e-6)
    assert not found["colour=J"].any()


def test_an_unknown_category_is_none_of_those_there_are() -> None:
    encoding = TableEncoding(FORM.columns).fit(rows(100))
    row = torch.tensor([[1.0, -1.0, 60.0, 0.0]])
    found = dict(zip(encoding.features, encoding(row)[0].tolist(), strict=True))
    assert [found[name] for name in found if name.startswith("colour")] == [0, 0, 0, 0, 0]


def test_ones_and_zeros_are_not_standardised() -> None:
    model = build_model({"kind": "mlp", "widths": [4]}, (4,), 2, rows(300), FORM)
    standard = model.preprocessing(torch.from_numpy(encoded(model, rows(300)))).numpy()
    names = model.encoding.features
    assert set(np.unique(standard[:, names.index("colour=D")])) == {0.0, 1.0}
    assert standard[:, names.index("depth")].std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", ["mlp", "soft-tree", "sklearn-tree"])
def test_a_saved_model_takes_raw_rows_with_gaps_and_categories(kind: str, tmp_path: Path) -> None:
    train = part(300)
    settings = {"mlp": {"widths": [8]}, "soft-tree": {"depth": 3}, "sklearn-tree": {"max_depth": 4}}[kind]
    model = build_model({"kind": kind, **settings}, (4,), 2, train.inputs, FORM)
    if kind == "sklearn-tree":
        model = fit_threshold_tree(model, train.inputs, train.labels, None, Objective(loss="hard_labels"), 0)
    save_model(tmp_path, model, train.classes)
    loaded, classes = load_model(tmp_path)
    assert (loaded.form, classes) == (FORM, train.classes)
    answers = predict_log_probs(model, train.inputs)
    assert np.isfinite(answers).all()
    np.testing.assert_array_equal(predict_log_probs(loaded, train.inputs), answers)


def test_a_soft_trees_arrays_answer_for_encoded_rows_as_the_tree_does_for_raw_ones() -> None:
    train = part(300)
    tree = build_model({"kind": "soft-tree", "depth": 3}, (4,), 2, train.inputs, FORM).eval()
    arrays = tree.to_numpy(train.classes)
    answers = arrays.predict_log_probs(encoded(tree, train.inputs))
    np.testing.assert_allclose(answers, predict_log_probs(tree, train.inputs), atol=1e-5)


def test_an_explanation_of_a_row_calls_features_by_their_columns() -> None:
    train = part(300)
    tree = build_model({"kind": "soft-tree", "depth": 3}, (4,), 2, train.inputs, FORM).eval()
    text = tree.explain(train.inputs[0], classes=train.classes).text()
    assert "feature" not in text
    assert any(name in text for name in tree.features)


def test_learning_again_forgets_what_was_learnt() -> None:
    model = build_model({"kind": "mlp", "widths": [4]}, (4,), 2, rows(300), FORM)
    learn_preprocessing(model, rows(300, seed=5))
    fresh = build_model({"kind": "mlp", "widths": [4]}, (4,), 2, rows(300, seed=5), FORM)
    torch.testing.assert_close(model.encoding.fill, fresh.encoding.fill)
