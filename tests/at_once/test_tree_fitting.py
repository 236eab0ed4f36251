"""Fitted trees against scikit-learn's own answers, on the bundled digits."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from limbeck.at_once.trees import fit_threshold_tree
from limbeck.errors import LimbeckError, UsageError
from limbeck.metrics import nll
from limbeck.models import build_model, load_model, save_model
from limbeck.models.threshold_tree import ThresholdTree
from limbeck.objectives import Objective, hard_label_loss, logit_matching_loss, soft_target_loss, tempered

HARD = Objective(loss="hard_labels")
SOFT = Objective(loss="soft_targets", temperature=4.0)
LOGITS = Objective(loss="logit_matching")
WAYS = {"hard": HARD, "soft": SOFT, "logits": LOGITS}
LIMITS = [{}, {"max_depth": 6}, {"max_leaf_nodes": 40}, {"min_samples_leaf": 7}, {"max_depth": 1}]


@pytest.fixture(scope="module")
def rows(digits):
    """Inputs and labels to fit to, a teacher's log-probabilities for them, and inputs and labels to test on."""
    rng = np.random.default_rng(0)
    cut = 1200
    logits = rng.normal(size=(cut, 10)) + 5 * np.eye(10)[digits.labels[:cut]]
    teacher = log_softmax(logits, axis=1).astype(np.float16)
    return digits.inputs[:cut], digits.labels[:cut], teacher, digits.inputs[cut:], digits.labels[cut:]


def fit(rows, objective, seed=0, **settings):
    inputs, labels, teacher, _, _ = rows
    tree = ThresholdTree(inputs.shape[1:], 10, **settings)
    return fit_threshold_tree(tree, inputs, labels, teacher, objective, seed)


def fit_sklearn(rows, objective, seed=0, criterion="gini", **limits):
    """scikit-learn's tree, and what it was fitted to."""
    inputs, labels, teacher, _, _ = rows
    wide = teacher.astype(np.float64)
    if objective.loss == "hard_labels":
        return DecisionTreeClassifier(criterion=criterion, random_state=seed, **limits).fit(flat(inputs), labels)
    # The last digit of a target can settle which of two equal splits is taken: so they are computed alike.
    soft = tempered(torch.from_numpy(wide), 4.0).exp().numpy()
    targets = soft if objective is SOFT else wide - wide.mean(axis=1, keepdims=True)
    return DecisionTreeRegressor(random_state=seed, **limits).fit(flat(inputs), targets)


def flat(inputs):
    return inputs.reshape(len(inputs), -1).astype(np.float32)


def log_probs_of(tree, inputs):
    return tree(torch.from_numpy(inputs)).logits.numpy()


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("criterion", ["gini", "entropy"])
def test_fitted_to_labels_it_answers_as_scikit_learn(rows, limits, criterion):
    tree, theirs = fit(rows, HARD, criterion=criterion, **limits), fit_sklearn(rows, HARD, 0, criterion, **limits)
    found = log_probs_of(tree, rows[3])
    assert np.array_equal(found.argmax(axis=1), theirs.predict(flat(rows[3])))
    # With the pseudo-counts taken out again, the frequencies.
    n = theirs.tree_.n_node_samples[theirs.apply(flat(rows[3]))][:, None]
    frequencies = (np.exp(found) * (n + 10) - 1) / n
    assert frequencies == pytest.approx(theirs.predict_proba(flat(rows[3])), abs=2e-5)


@pytest.mark.parametrize("limits", LIMITS)
def test_fitted_to_soft_targets_its_answer_at_their_temperature_is_scikit_learn_s(rows, limits):
    tree, theirs = fit(rows, SOFT, **limits), fit_sklearn(rows, SOFT, **limits)
    found, expected = log_probs_of(tree, rows[3]), theirs.predict(flat(rows[3]))
    assert softmax(found.astype(np.float64) / 4, axis=1) == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("limits", LIMITS)
def test_fitted_to_logits_it_answers_as_scikit_learn(rows, limits):
    tree, theirs = fit(rows, LOGITS, **limits), fit_sklearn(rows, LOGITS, **limits)
    found, expected = log_probs_of(tree, rows[3]), theirs.predict(flat(rows[3]))
    assert found - found.mean(axis=1, keepdims=True) == pytest.approx(expected, abs=2e-5)
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("way", WAYS)
def test_every_test_row_ends_in_scikit_learn_s_leaf(rows, way):
    tree, theirs = fit(rows, WAYS[way]), fit_sklearn(rows, WAYS[way])
    number = np.cumsum(theirs.tree_.children_left < 0) - 1
    ends = tree.leaf_of(torch.from_numpy(rows[3])).numpy()
    assert np.array_equal(ends, number[theirs.apply(flat(rows[3]))])
    assert (tree.leaves, tree.depth) == (theirs.get_n_leaves(), theirs.get_depth())


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e30])
def test_inputs_at_a_threshold_and_beside_it_turn_as_scikit_learn_s(scale):
    rng = np.random.default_rng(1)
    inputs = np.float32(scale) * rng.normal(size=(400, 3)).astype(np.float32)
    labels = rng.integers(0, 3, size=400)
    tree = fit_threshold_tree(ThresholdTree((3,), 3), inputs, labels, None, HARD, 0)
    theirs = DecisionTreeClassifier(random_state=0).fit(inputs, labels)
    asks = theirs.tree_.children_left >= 0
    exact = theirs.tree_.threshold[asks]
    near = exact.astype(np.float32)
    # Some thresholds lie between two float32, rounded up here, and some on one.
    assert (near > exact).any()
    assert (near < exact).any()
    beside = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    probes = np.repeat(inputs[rng.integers(0, 400, size=len(near))], 3, axis=0)
    probes[np.arange(len(probes)), np.repeat(theirs.tree_.feature[asks], 3)] = np.stack(beside, axis=1).ravel()
    grid = np.concatenate(beside)
    probes = np.concatenate([probes, rng.choice(grid, size=(20_000, 3))])
    number = np.cumsum(~asks) - 1
    expected = number[theirs.apply(probes)]
    assert np.array_equal(tree.leaf_of(torch.from_numpy(probes)).numpy(), expected)
    assert [tree.leaf_of(torch.from_numpy(row[None])).item() for row in probes[:300]] == expected[:300].tolist()


@pytest.mark.parametrize("way", WAYS)
def test_a_leaf_minimises_the_loss_of_its_objective(rows, way):
    objective = WAYS[way]
    tree = fit(rows, objective, max_leaf_nodes=4, pseudo_count=1e-6)
    ends = tree.leaf_of(torch.from_numpy(rows[0]))
    for leaf in range(tree.leaves):
        here = (ends == leaf).numpy()
        logits = tree.log_probs[leaf].double().clone().requires_grad_()
        many = logits.expand(int(here.sum()), -1)
        if way == "hard":
            loss = hard_label_loss(many, torch.from_numpy(rows[1][here]))
        else:
            teacher = torch.from_numpy(rows[2][here]).double()
            loss = soft_target_loss(many, teacher, 4.0) if way == "soft" else logit_matching_loss(many, teacher)
        loss.backward()
        assert logits.grad.abs().max() < 1e-5


def test_rows_that_agree_with_each_other_are_answered_as_the_teacher_does(rows):
    inputs, _, teacher, _, _ = rows
    inputs, teacher = inputs[:2], np.repeat(teacher[:1], 2, axis=0).astype(np.float32)
    for objective in (SOFT, LOGITS, Objective(temperature=30.0)):
        tree = fit_threshold_tree(ThresholdTree((8, 8), 10), inputs, None, teacher, objective, 0)
        assert tree.settings["nodes"] == 1
        assert log_probs_of(tree, inputs) == pytest.approx(log_softmax(teacher, axis=1), abs=1e-4)


def test_label_smoothing_smooths_the_leaves(rows):
    settings = {"max_leaf_nodes": 20, "pseudo_count": 1e-9}
    plain, smooth = (fit(rows, Objective(loss="hard_labels", label_smoothing=e), **settings) for e in (0.0, 0.2))
    assert torch.equal(plain.threshold, smooth.threshold)
    expected = 0.8 * plain.log_probs.double().exp() + 0.2 / 10
    assert smooth.log_probs.exp().numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_no_class_is_impossible_even_in_a_pure_leaf(rows):
    tree = fit(rows, HARD)
    assert tree.log_probs.isfinite().all()
    assert np.isfinite(nll(log_probs_of(tree, rows[3]), rows[4]))


def test_a_tempered_probability_of_zero_has_a_floor(rows):
    certain = np.where(np.eye(10)[rows[1]] > 0, 0.0, -1e5).astype(np.float32)
    tree = fit((*rows[:2], certain, *rows[3:]), Objective(temperature=1.0))
    assert tree.log_probs.isfinite().all()


def test_rows_without_a_label_are_left_out_of_hard_labels(rows):
    inputs, labels, *_ = rows
    some = np.where(np.arange(len(labels)) % 3 == 0, -1, labels)
    tree = fit_threshold_tree(ThresholdTree((8, 8), 10), inputs, some, None, HARD, 0)
    without = fit_threshold_tree(ThresholdTree((8, 8), 10), inputs[some >= 0], some[some >= 0], None, HARD, 0)
    assert all(torch.equal(found, without.state_dict()[name]) for name, found in tree.state_dict().items())


def test_classes_that_no_row_has_keep_their_places(rows):
    inputs, labels, teacher, *_ = rows
    seen = (labels == 2) | (labels == 7)
    tree = fit((inputs[seen], labels[seen], teacher[seen], *rows[3:]), HARD)
    answers = log_probs_of(tree, inputs[seen]).argmax(axis=1)
    assert np.array_equal(answers, labels[seen])
    assert tree.log_probs.shape[1] == 10


def test_rows_of_one_class_make_a_single_leaf(rows, tmp_path):
    inputs, labels, teacher, *_ = rows
    fives = labels == 5
    tree = fit((inputs[fives], labels[fives], teacher[fives], *rows[3:]), HARD)
    n = fives.sum()
    assert (tree.leaves, tree.depth, tree.settings["nodes"]) == (1, 0, 1)
    assert log_probs_of(tree, inputs[:3])[:, 5] == pytest.approx(np.log((n + 1) / (n + 10)))
    save_model(tmp_path, tree, tuple("0123456789"))
    assert np.array_equal(log_probs_of(load_model(tmp_path)[0], inputs), log_probs_of(tree, inputs))


@pytest.mark.parametrize("way", WAYS)
def test_saved_and_loaded_it_answers_the_same(rows, way, tmp_path):
    tree = fit(rows, WAYS[way])
    save_model(tmp_path, tree, tuple("0123456789"))
    loaded, _ = load_model(tmp_path)
    assert loaded.settings == tree.settings
    assert np.array_equal(log_probs_of(loaded, rows[3]), log_probs_of(tree, rows[3]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_gives_the_same_tree_and_leaves_what_was_given_alone(rows, way):
    before = [array.copy() for array in rows]
    unfitted = ThresholdTree((8, 8), 10, max_depth=9)
    trees = [fit_threshold_tree(unfitted, *rows[:3], WAYS[way], 3) for _ in range(2)]
    first, second = (tree.state_dict() for tree in trees)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert unfitted.settings["nodes"] == 1
    assert all(np.array_equal(*pair) for pair in zip(before, rows, strict=True))


def test_another_seed_may_take_another_of_two_equal_splits(rows):
    assert len({tuple(fit(rows, HARD, seed).feature.tolist()) for seed in range(4)}) > 1


def test_a_fitted_tree_can_be_fitted_again(rows):
    inputs, labels, teacher, *_ = rows
    tree = build_model({"kind": "sklearn-tree", "max_depth": 3}, (8, 8), 10)
    once = fit_threshold_tree(tree, inputs, labels, teacher, SOFT, 0)
    again = fit_threshold_tree(once, inputs, labels, teacher, HARD, 0)
    assert torch.equal(again.log_probs, fit(rows, HARD, max_depth=3).log_probs)


@pytest.mark.parametrize(
    ("objective", "changed", "kind", "message"),
    [
        (Objective(hard=0.5), {}, UsageError, r"not to a sum of both: set hard = 0 \(it is 0.5\), or loss = \"hard_labels\""),
        (HARD, {"labels": None}, UsageError, "needs labels, and none were given"),
        (SOFT, {"teacher": None}, UsageError, "a tree fitted by soft_targets needs the teacher's log-probabilities"),
        (HARD, {"labels": np.full(20, -1)}, LimbeckError, "none of the 20 rows has a label"),
        (HARD, {"labels": np.arange(20)}, LimbeckError, "a label is 10: expected 0 to 9, or −1 for none"),
        (HARD, {"labels": np.full(20, -2)}, LimbeckError, "a label is -2"),
        (HARD, {"labels": np.zeros(20)}, LimbeckError, r"the labels are float64 of shape \(20,\): expected a whole number"),
        (HARD, {"labels": np.zeros(19, int)}, LimbeckError, r"shape \(19,\): expected a whole number for each of 20 rows"),
        (HARD, {"inputs": np.zeros((0, 8, 8))}, LimbeckError, r"the inputs have the shape \(0, 8, 8\): expected at least one row"),
        (LOGITS, {"inputs": np.zeros((20, 64))}, LimbeckError, r"expected at least one row of shape \(8, 8\)"),
        (LOGITS, {"teacher": np.zeros((20, 9))}, LimbeckError, r"have the shape \(20, 9\): expected \(20, 10\)"),
        (SOFT, {"teacher": np.full((20, 10), -np.inf)}, LimbeckError, "not all finite: put a floor under"),
        (HARD, {"inputs": np.full((20, 8, 8), np.nan)}, LimbeckError, "some inputs are NaN or infinite"),
        (HARD, {"seed": -1}, UsageError, "seed = -1 is not a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_said_in_one_line(rows, objective, changed, kind, message):
    given = {"inputs": rows[0][:20], "labels": rows[1][:20], "teacher": rows[2][:20], "seed": 0, **changed}
    with pytest.raises(kind, match=message) as refused:
        fit_threshold_tree(
            ThresholdTree((8, 8), 10), given["inputs"], given["labels"], given["teacher"], objective, given["seed"]
        )
    assert "\n" not in str(refused.value)


def test_soft_targets_of_no_weight_are_hard_labels(rows):
    only_hard = Objective(soft=0.0, hard=0.3)
    assert torch.equal(fit(rows, only_hard).log_probs, fit(rows, HARD).log_probs)


def test_training_such_a_tree_by_epochs_is_refused_with_what_to_call(digits):
    from limbeck.distillation import teach

    with pytest.raises(UsageError, match="fitted at once: limbeck.at_once.trees.fit_threshold_tree does it"):
        teach(ThresholdTree((8, 8), 10), digits)
