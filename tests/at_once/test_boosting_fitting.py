"""Boosted trees against scikit-learn's own answers, on the bundled digits; and a run whose students they are."""

import json

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

import limbeck
from limbeck.at_once.boosting import FLOOR, fit_tree_ensemble
from limbeck.data import Column, TableForm
from limbeck.dry_run import plan
from limbeck.errors import LimbeckError, UsageError
from limbeck.metrics import nll
from limbeck.models import TreeEnsemble, build_model, load_model, save_model
from limbeck.objectives import Objective
from limbeck.recipe import parse_recipe
from limbeck.road import Road
from limbeck.training import predict_log_probs

HARD = Objective(loss="hard_labels")
SOFT = Objective(loss="soft_targets", temperature=0.7)
LOGITS = Objective(loss="logit_matching")
WAYS = {"hard": HARD, "soft": SOFT, "logits": LOGITS}
FEW = {"iterations": 3, "leaves": 8}
SKLEARN_FEW = {"max_iter": 3, "max_leaf_nodes": 8, "early_stopping": False}
LIMITS = [
    ({}, {}),
    ({"leaves": 31, "learning_rate": 0.3}, {"max_leaf_nodes": 31, "learning_rate": 0.3}),
    ({"max_depth": 2, "min_samples_leaf": 3, "l2": 2.0}, {"max_depth": 2, "min_samples_leaf": 3, "l2_regularization": 2.0}),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So few rows take longer on several threads, far longer where another process has the cores."""
    with threadpool_limits(1, "openmp"):
        yield


@pytest.fixture(scope="module", params=[10, 2], ids=["ten classes", "two"])
def rows(digits, request):
    """Inputs and labels to fit to, a teacher's log-probabilities for them, and inputs and labels to test on."""
    return rows_of(digits, request.param)


def rows_of(digits, classes):
    of = digits.labels < classes
    inputs, labels = digits.inputs[of], digits.labels[of]
    cut = 2 * len(labels) // 3
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(cut, classes)) + 5 * np.eye(classes)[labels[:cut]]
    teacher = log_softmax(logits, axis=1).astype(np.float16)
    return inputs[:cut], labels[:cut], teacher, inputs[cut:], labels[cut:]


@pytest.fixture(scope="module")
def ten(digits):
    return rows_of(digits, 10)


def fit(rows, objective, seed=0, **settings):
    inputs, labels, teacher, *_ = rows
    unfitted = TreeEnsemble(inputs.shape[1:], teacher.shape[1], **{**FEW, **settings})
    return fit_tree_ensemble(unfitted, inputs, labels, teacher, objective, seed)


def flat(inputs):
    return inputs.reshape(len(inputs), -1).astype(np.float32)


def all_inputs(rows):
    return np.concatenate([rows[0], rows[3]])


def logits_of(ensemble, inputs):
    return ensemble(torch.from_numpy(inputs)).logits.numpy()


def regressed(rows, targets, **limits):
    """What scikit-learn's regressors answer, fitted to a column each."""
    centred = targets - targets.mean(axis=1, keepdims=True)
    grown = [
        HistGradientBoostingRegressor(**{**SKLEARN_FEW, **limits}).fit(flat(rows[0]), centred[:, of])
        for of in range(targets.shape[1])
    ]
    return np.stack([one.predict(flat(all_inputs(rows))) for one in grown], axis=1)


@pytest.mark.parametrize(("settings", "limits"), LIMITS)
def test_fitted_to_labels_it_answers_as_scikit_learn(rows, settings, limits):
    theirs = HistGradientBoostingClassifier(**{**SKLEARN_FEW, **limits})
    theirs.fit(flat(rows[0]), rows[1])
    found = logits_of(fit(rows, HARD, **settings), all_inputs(rows))
    expected = theirs.decision_function(flat(all_inputs(rows)))
    if rows[2].shape[1] == 2:
        expected = np.stack([np.zeros_like(expected), expected], axis=1)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert softmax(found, axis=1) == pytest.approx(theirs.predict_proba(flat(all_inputs(rows))), abs=1e-6)


@pytest.mark.parametrize(("settings", "limits"), LIMITS)
def test_fitted_to_logits_it_answers_as_scikit_learn_s_regressors(rows, settings, limits):
    found = logits_of(fit(rows, LOGITS, **settings), all_inputs(rows))
    assert found == pytest.approx(regressed(rows, rows[2].astype(np.float64), **limits), rel=1e-6, abs=1e-6)


def test_soft_targets_are_logits_raised_to_a_thousandth_of_the_top_class_s_at_their_temperature(rows):
    wide = rows[2].astype(np.float64)
    q = softmax(wide / 0.7, axis=1)
    raised = 0.7 * np.log(np.maximum(q, FLOOR * q.max(axis=1, keepdims=True)))
    assert (q < FLOOR * q.max(axis=1, keepdims=True)).any()
    found = logits_of(fit(rows, SOFT), all_inputs(rows))
    assert found == pytest.approx(regressed(rows, raised), rel=1e-5, abs=1e-5)


def test_at_a_high_temperature_soft_targets_are_logit_matching(ten):
    hot, limit = (fit(ten, objective) for objective in (Objective(temperature=100.0), LOGITS))
    assert all(torch.equal(found, limit.state_dict()[name]) for name, found in hot.state_dict().items())


def test_an_impossible_class_does_not_take_all_the_trees(ten):
    """A floor of −10⁵ under one class on some rows: at a temperature of 1 it is as good as −7."""
    labels, teacher = ten[1], ten[2].astype(np.float32)
    never = teacher.copy()
    never[labels == 3, 4] = -1e5
    found = fit((*ten[:2], never, *ten[3:]), Objective(temperature=1.0), iterations=20)
    answers = logits_of(found, ten[3])
    assert np.abs(answers).max() < 30
    assert (answers.argmax(axis=1) == ten[4]).mean() > 0.8


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e30])
def test_inputs_at_a_threshold_and_beside_it_turn_as_scikit_learn_s(scale):
    rng = np.random.default_rng(1)
    inputs = np.float32(scale) * rng.normal(size=(200, 3)).astype(np.float32)
    labels = rng.integers(0, 3, size=200)
    ours = fit_tree_ensemble(TreeEnsemble((3,), 3, min_samples_leaf=1, **FEW), inputs, labels, None, HARD, 0)
    theirs = HistGradientBoostingClassifier(**SKLEARN_FEW, min_samples_leaf=1).fit(inputs, labels)
    nodes = np.concatenate([tree.nodes for trees in theirs._predictors for tree in trees])
    exact = nodes["num_threshold"][nodes["is_leaf"] == 0]
    near = exact.astype(np.float32)
    # Some thresholds lie between two float32, rounded up here, and some are rounded down.
    assert (near > exact).any()
    assert (near < exact).any()
    beside = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    probes = rng.choice(np.concatenate(beside), size=(20_000, 3))
    assert logits_of(ours, probes) == pytest.approx(theirs.decision_function(probes), abs=1e-6)


def test_a_table_s_rows_are_fitted_and_asked_as_its_features_are(ten):
    rng = np.random.default_rng(2)
    form = TableForm((Column("size", None, missing=True), Column("colour", ("red", "green", "blue"))))
    raw = np.stack([rng.normal(size=500), rng.integers(0, 3, size=500)], axis=1).astype(np.float32)
    raw[rng.random(500) < 0.2, 0] = np.nan
    labels = ((np.nan_to_num(raw[:, 0]) > 0) ^ (raw[:, 1] == 2)).astype(np.int64)
    unfitted = build_model({"kind": "boosted-trees", **FEW}, (2,), 2, raw, form)
    fitted = fit_tree_ensemble(unfitted, raw, labels, None, HARD, 0)
    known = np.isfinite(raw[:, 0])
    assert (logits_of(fitted, raw).argmax(axis=1) == labels)[known].mean() > 0.95
    features = unfitted.encoding(torch.from_numpy(raw)).numpy()
    theirs = HistGradientBoostingClassifier(**SKLEARN_FEW).fit(features, labels)
    assert logits_of(fitted, raw)[:, 1] == pytest.approx(theirs.decision_function(features), abs=1e-6)


def test_rows_without_a_label_are_left_out_of_hard_labels(ten):
    inputs, labels, teacher, *rest = ten
    some = np.where(np.arange(len(labels)) % 3 == 0, -1, labels)
    found = fit((inputs, some, teacher, *rest), HARD)
    without = fit((inputs[some >= 0], some[some >= 0], teacher[some >= 0], *rest), HARD)
    assert all(torch.equal(tensor, without.state_dict()[name]) for name, tensor in found.state_dict().items())


def test_classes_that_no_row_has_keep_their_places_and_answer_as_one_with_a_single_row(ten):
    inputs, labels, teacher, *rest = ten
    for seen in ([2, 7], [2, 5, 7]):
        of = np.isin(labels, seen)
        found = fit((inputs[of], labels[of], teacher[of], *rest), HARD)
        assert (logits_of(found, inputs[of]).argmax(axis=1) == labels[of]).mean() > 0.98
        assert np.isfinite(nll(log_softmax(logits_of(found, rest[0]), axis=1), rest[1]))
        starts = log_softmax(found.start.double().numpy())
        shares = np.bincount(labels[of], minlength=10) / of.sum()
        assert starts[2] - starts[0] == pytest.approx(np.log(shares[2] * of.sum()))
        assert starts[7] - starts[2] == pytest.approx(np.log(shares[7] / shares[2]))


def test_rows_of_one_class_need_no_tree(ten, tmp_path):
    inputs, labels, teacher, *rest = ten
    fives = labels == 5
    found = fit((inputs[fives], labels[fives], teacher[fives], *rest), HARD)
    n = fives.sum()
    assert (found.trees, found.leaves, found.depth) == (0, 0, 0)
    assert softmax(logits_of(found, inputs[:3]), axis=1)[:, 5] == pytest.approx(n / (n + 9))
    save_model(tmp_path, found, tuple("0123456789"))
    assert np.array_equal(logits_of(load_model(tmp_path)[0], inputs), logits_of(found, inputs))


def test_too_few_rows_for_a_split_make_trees_of_one_leaf(ten):
    found = fit([array[:20] for array in ten], LOGITS)
    assert (found.trees, found.leaves, found.depth) == (30, 30, 0)
    wide = ten[2][:20].astype(np.float64)
    mean = (wide - wide.mean(axis=1, keepdims=True)).mean(axis=0)
    assert logits_of(found, ten[3][:5]) == pytest.approx(np.tile(mean, (5, 1)), abs=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_saved_and_loaded_it_answers_the_same(rows, way, tmp_path):
    found = fit(rows, WAYS[way])
    save_model(tmp_path, found, tuple("0123456789"[: found.classes]))
    loaded, _ = load_model(tmp_path)
    assert loaded.settings == found.settings
    assert np.array_equal(logits_of(loaded, rows[3]), logits_of(found, rows[3]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_gives_the_same_arrays_and_leaves_what_was_given_alone(ten, way):
    before = [array.copy() for array in ten]
    unfitted = TreeEnsemble((8, 8), 10, **FEW)
    first, second = (fit_tree_ensemble(unfitted, *ten[:3], WAYS[way], 3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (unfitted.settings["trees"], unfitted.settings["nodes"]) == (0, 0)
    assert all(np.array_equal(*pair) for pair in zip(before, ten, strict=True))


def test_a_fitted_ensemble_can_be_fitted_again(ten):
    inputs, labels, teacher, *_ = ten
    once = fit(ten, LOGITS)
    again = fit_tree_ensemble(once, inputs, labels, teacher, HARD, 0)
    assert np.array_equal(logits_of(again, inputs), logits_of(fit(ten, HARD), inputs))


@pytest.mark.parametrize(
    ("objective", "changed", "kind", "message"),
    [
        (Objective(hard=0.5), {}, UsageError, r"not to a sum of both: set hard = 0 \(it is 0.5\)"),
        (Objective(loss="hard_labels", label_smoothing=0.1), {}, UsageError, "label_smoothing = 0.1: boosted trees are fitted to labels as they are, set 0"),
        (HARD, {"labels": None}, UsageError, "needs labels, and none were given"),
        (SOFT, {"teacher": None}, UsageError, "a tree fitted by soft_targets needs the teacher's log-probabilities"),
        (HARD, {"labels": np.full(20, -1)}, LimbeckError, "none of the 20 rows has a label"),
        (LOGITS, {"teacher": np.zeros((20, 9))}, LimbeckError, r"have the shape \(20, 9\): expected \(20, 10\)"),
        (SOFT, {"teacher": np.full((20, 10), -np.inf)}, LimbeckError, "not all finite: put a floor under"),
        (LOGITS, {"inputs": np.full((20, 8, 8), np.nan)}, LimbeckError, "some inputs are NaN or infinite"),
        (HARD, {"seed": -1}, UsageError, "seed = -1 is not a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_said_in_one_line(ten, objective, changed, kind, message):
    given = {"inputs": ten[0][:20], "labels": ten[1][:20], "teacher": ten[2][:20], "seed": 0, **changed}
    with pytest.raises(kind, match=message) as refused:
        fit_tree_ensemble(
            TreeEnsemble((8, 8), 10), given["inputs"], given["labels"], given["teacher"], objective, given["seed"]
        )
    assert "\n" not in str(refused.value)


def test_training_it_by_epochs_is_refused_with_what_to_call(digits):
    from limbeck.distillation import teach

    with pytest.raises(UsageError, match="fitted at once: limbeck.at_once.boosting.fit_tree_ensemble does it"):
        teach(TreeEnsemble((8, 8), 10), digits)


BOOSTED = """
title = "Boosted trees"

[data]
source = "digits"
validation = 200
test = 0.25

[[teacher]]
name = "2x64"
model = { kind = "mlp", widths = [64, 64] }
train = { epochs = 6, batch_size = 64, learning_rate = 5e-3 }

[[transfer]]
name = "train"

[[student]]
name = "boosted"
model = { kind = "boosted-trees", iterations = 4, leaves = 6 }
grid = { "distill.temperature" = [1, 8] }
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "boosted.toml"
    path.write_text(BOOSTED)
    return path


@pytest.fixture(scope="module")
def out(recipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("boosted") / "boosted"
    limbeck.run(recipe, path)
    return path


def test_a_run_has_rows_of_the_student_and_its_baseline_with_their_trees_and_leaves(out):
    rows = json.loads((out / "results.json").read_text())["models"]
    student, baseline = (next(row for row in rows if row["role"] == role) for role in ("student", "baseline"))
    for row in (student, baseline):
        model, _ = load_model(next((out / "models" / row["role"]).iterdir()))
        assert isinstance(model, TreeEnsemble)
        assert row["metrics"]["trees"] == model.trees == 40
        assert row["metrics"]["leaves"] == model.leaves <= 6 * 40
        assert row["accuracy"] > 0.7
        assert row["parameters"] == model.parameter_count
    assert student["verdict"] in ("helps", "hurts", "no difference")
    assert (student["trials"], baseline["trials"]) == (2, 1)


def test_its_history_is_one_epoch_by_which_the_grid_chose(out):
    (student,) = (out / "models" / "student").iterdir()
    history = json.loads((student / "history.json").read_text())
    assert [row["epoch"] for row in history["epochs"]] == [1]
    model, _ = load_model(student)
    validation = limbeck.load_dataset("digits").split(validation=200, test=0.25, seed=0).validation
    expected = nll(predict_log_probs(model, validation.inputs), validation.labels)
    assert history["epochs"][0]["validation_nll"] == pytest.approx(expected)


def test_run_again_nothing_is_left_to_do(out, recipe):
    before = (out / "results.json").read_bytes()
    limbeck.run(recipe, out)
    assert (out / "results.json").read_bytes() == before


def test_a_dry_run_fits_a_few_iterations_and_counts_all(recipe, tmp_path):
    took = {}
    for iterations in (1, 100):
        settings = f'student.*.model={{kind = "boosted-trees", iterations = {iterations}, leaves = 2}}'
        road = Road.open(recipe, tmp_path / "runs" / "boosted", sets=[settings, "student.*.grid={}"])
        found = {stage.title: stage for stage in plan(road, "distill")}
        took[iterations] = next(stage.seconds for title, stage in found.items() if title.startswith("baseline"))
    assert took[100] > 10 * took[1] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": {"epochs": 2}}, "student.boosted.train: a boosted-trees is fitted at once, expected no train"),
        ({"distill": {"hard": 1}}, "a boosted-trees has one criterion, expected soft or hard to be 0"),
        ({"distill": {"targets": "permuted"}}, 'found "permuted", expected "teacher"'),
        (
            {"distill": {"label_smoothing": 0.1}},
            "student.boosted.distill.label_smoothing: boosted-trees are fitted to labels as they are, expected 0",
        ),
        (
            {"model": {"kind": "boosted-trees", "learning_rate": 2}},
            "student.boosted.model.learning_rate: found 2, expected 1 or less",
        ),
    ],
)
def test_what_a_recipe_cannot_ask_of_it_is_said(changed, message):
    import tomllib

    data = tomllib.loads(BOOSTED)
    data["student"][0] = {**data["student"][0], "grid": {}, **changed}
    with pytest.raises(UsageError) as refused:
        parse_recipe(data, "boosted.toml")
    assert message in str(refused.value)
