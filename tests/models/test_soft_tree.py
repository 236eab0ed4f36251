"""The soft decision tree against the paper's equations, worked out node by node."""

import math

import numpy as np
import pytest
import torch

from limbeck.data import load_dataset
from limbeck.distillation import teach
from limbeck.errors import UsageError
from limbeck.metrics import errors
from limbeck.models import SoftDecisionTree, build_model, load_model, save_model
from limbeck.models.path_probabilities import Reach
from limbeck.models.soft_tree import LEAF_RATE
from limbeck.objectives import Objective
from limbeck.train_settings import TrainSettings
from limbeck.training import predict_log_probs

WAYS = ("path", "greedy", "average")


def tree_of(depth=3, features=5, classes=4, seed=0, **settings):
    torch.manual_seed(seed)
    tree = SoftDecisionTree((features,), classes, depth, **settings)
    with torch.no_grad():
        tree.bias.normal_()
        tree.leaves.normal_()
    return tree


def path_probabilities(tree, row):
    """P of each leaf, by walking to it from the root: eq. 1 and the product of the turns."""
    found = []
    for leaf in range(2**tree.depth):
        probability, node = 1.0, 0
        for level in reversed(range(tree.depth)):
            right = (leaf >> level) & 1
            x = row.double() / math.sqrt(len(row))
            score = tree.inverse_temperature * (tree.weight[node].double() @ x + tree.bias[node])
            turn = 1 / (1 + math.exp(-score.item()))
            probability *= turn if right else 1 - turn
            node = 2 * node + 1 + right
        found.append(probability)
    return np.array(found)


@pytest.fixture(scope="module")
def rows():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def split():
    return load_dataset("digits").split(validation=200, test=0.25, seed=0)


@pytest.fixture(scope="module")
def trained(split):
    torch.manual_seed(0)
    tree = SoftDecisionTree((8, 8), 10, 5, sharpness=2.0)
    teach(tree, split.train, TrainSettings(epochs=25, batch_size=64, learning_rate=1e-2), validation=split.validation)
    tree.count(split.train.inputs)
    return tree


def test_path_probabilities_are_the_products_of_the_turns(rows):
    tree = tree_of(inverse_temperature=1.7)
    weights = tree(rows).logits.weights.detach().numpy()
    for row, found in zip(rows, weights, strict=True):
        np.testing.assert_allclose(found, path_probabilities(tree, row), rtol=1e-5)


def test_each_way_of_answering_is_what_it_says(rows):
    tree = tree_of().eval()
    leaves = tree.leaf_logits.softmax(dim=-1).detach().numpy()
    answers = {way: tree.answering(way)(rows).logits.softmax(dim=-1).detach().numpy() for way in WAYS}
    for index, row in enumerate(rows):
        reach = path_probabilities(tree, row)
        np.testing.assert_allclose(answers["path"][index], leaves[reach.argmax()], rtol=1e-5)
        np.testing.assert_allclose(answers["average"][index], reach @ leaves, rtol=1e-5)
        node = 0
        for _ in range(tree.depth):
            x = row / math.sqrt(len(row))
            node = 2 * node + 1 + int(tree.weight[node] @ x + tree.bias[node] > 0)
        np.testing.assert_allclose(answers["greedy"][index], leaves[node - len(tree.bias)], rtol=1e-5)


def test_an_average_has_the_sharpness_that_the_tree_learnt_with(rows):
    tree = tree_of(sharpness=1.0, final_sharpness=2.0, predict="average").eval()
    leaves = tree.leaf_logits.softmax(dim=-1).detach().numpy()
    answers = tree(rows).logits.softmax(dim=-1).detach().numpy()
    for row, found in zip(rows, answers, strict=True):
        raised = path_probabilities(tree, row) ** 2
        np.testing.assert_allclose(found, raised / raised.sum() @ leaves, rtol=1e-4)
    np.testing.assert_allclose(np.exp(tree.to_numpy().predict_log_probs(rows.numpy())), answers, rtol=1e-4)


def test_one_row_is_answered_as_among_others(rows):
    for way in WAYS:
        tree = tree_of(predict=way).eval()
        torch.testing.assert_close(tree(rows[:1]).logits, tree(rows).logits[:1])


def test_probabilities_too_small_for_a_float_do_not_vanish():
    tree = tree_of(depth=6, inverse_temperature=200.0)
    with torch.no_grad():
        tree.weight.zero_()
        tree.bias.fill_(1.0)
    reach = Reach.apply(torch.full((63, 2), 200.0))
    assert torch.isfinite(reach).all()
    assert reach.min() == pytest.approx(-6 * 200)
    mixture = tree(torch.randn(2, 5)).logits
    loss = Objective(loss="hard_labels")(mixture, labels=torch.tensor([0, 1]))
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in tree.parameters())


def test_the_gradient_of_path_probabilities_is_that_of_finite_differences():
    scores = torch.randn(15, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Reach.apply, (scores,))


def test_sharpness_raises_path_probabilities_to_a_power_while_it_learns(rows):
    tree = tree_of(sharpness=3.0)
    raised = path_probabilities(tree, rows[0]) ** 3
    np.testing.assert_allclose(tree(rows).logits.weights[0].detach(), raised / raised.sum(), rtol=1e-4)


def test_sharpness_and_inverse_temperature_are_annealed_by_progress():
    tree = tree_of(inverse_temperature=1.0, final_inverse_temperature=4.0, sharpness=1.0, final_sharpness=9.0)
    for fraction, beta, sharpness in ((0.0, 1.0, 1.0), (0.5, 2.0, 3.0), (1.0, 4.0, 9.0)):
        tree.set_progress(fraction)
        assert tree.inverse_temperature.item() == pytest.approx(beta)
        assert tree.sharpness == pytest.approx(sharpness)


def test_a_learnt_inverse_temperature_is_a_parameter(rows):
    tree = tree_of(inverse_temperature=2.0, learn_inverse_temperature=True)
    assert tree.inverse_temperature.item() == pytest.approx(2.0)
    Objective(loss="hard_labels")(tree(rows).logits, labels=torch.zeros(7, dtype=torch.int64)).backward()
    assert tree.log_beta.grad.item() != 0


def turns_after(trees_and_rows, depth=2):
    """Running averages of what each question sends left and right, worked out leaf by leaf; both over its window."""
    level = np.array([n for n in range(depth) for _ in range(2**n)])
    turns = np.repeat(0.5 ** (level + 1)[:, None], 2, axis=1)
    for tree, rows in trees_and_rows:
        reach = np.stack([path_probabilities(tree, row) for row in rows]).mean(axis=0)
        for node in range(2**depth - 1):
            width = 2 ** (depth - level[node])
            first = (node + 1 - 2 ** level[node]) * width
            here = reach[first : first + width].reshape(2, -1).sum(axis=1)
            turns[node] += (here - turns[node]) * 0.5 ** level[node] / 10
    return level, turns


def test_the_penalty_is_the_papers_with_a_window_that_doubles_with_each_level(rows):
    tree = tree_of(depth=2, penalty=0.3)
    tree(rows)
    tree(rows[:3])
    level, turns = turns_after([(tree, rows), (tree, rows[:3])])
    np.testing.assert_allclose(tree.turns, turns, rtol=1e-5)
    alpha = turns[:, 1] / turns.sum(axis=1)  # eq. 4
    expected = -(0.3 * 0.5**level * 0.5 * (np.log(alpha) + np.log(1 - alpha))).sum()  # eq. 5
    assert tree.penalty().item() == pytest.approx(expected, rel=1e-5)


def test_a_trees_mirror_image_has_the_same_penalty(rows):
    tree, mirror = tree_of(depth=3, penalty=1.0), tree_of(depth=3, penalty=1.0)
    places = [[0], [2, 1], [6, 5, 4, 3]]
    with torch.no_grad():
        order = torch.tensor([node for level in places for node in level])
        mirror.weight.copy_(-tree.weight[order])
        mirror.bias.copy_(-tree.bias[order])
    for _ in range(20):
        tree(rows)
        mirror(rows)
    for one in (tree, mirror):
        one.penalty().backward()
    assert mirror.penalty().item() == pytest.approx(tree.penalty().item(), rel=1e-5)
    torch.testing.assert_close(mirror.weight.grad, -tree.weight.grad[order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bias", [2.0, 9.0, 20.0, -20.0])
def test_the_penalty_pulls_a_question_that_sends_all_one_way_back(rows, bias):
    # An average over a long window has next to no gradient of its own: it is that of the batch.
    tree = tree_of(depth=2, penalty=1.0)
    with torch.no_grad():
        tree.bias[1] = bias
    for _ in range(2000):
        tree(rows)
    tree.penalty().backward()
    # Of the two logarithms one is near 0, and the other falls as fast as the bias moves away.
    assert np.sign(tree.bias.grad[1].item()) == np.sign(bias)
    assert abs(tree.bias.grad[1].item()) > (0.2 if abs(bias) >= 9 else 0.1)
    _, turns = turns_after([(tree, rows)] * 2000)
    assert tree.turns[1].numpy() == pytest.approx(turns[1], rel=1e-3)


def test_without_a_penalty_there_is_none(rows):
    tree = tree_of(penalty=0.0)
    tree(rows)
    assert tree.penalty().item() == 0


def test_losses_are_the_leaves_own_or_that_of_the_mixture(rows):
    labels, teacher = torch.tensor([0, 1, 2, 3, -1, 0, 1]), torch.randn(7, 4)
    labelled = labels >= 0
    for loss in ("leaves", "mixture"):
        tree = tree_of(loss=loss)
        reach = np.stack([path_probabilities(tree, row) for row in rows])
        mixture = tree(rows).logits
        for temperature in (1.0, 4.0):
            q = (teacher / temperature).softmax(dim=-1).numpy().astype(np.float64)
            leaves = (tree.leaf_logits / temperature).softmax(dim=-1).detach().numpy().astype(np.float64)
            inside = reach @ np.log(leaves) if loss == "leaves" else np.log(reach @ leaves)
            expected = (q * (np.log(q) - inside)).sum(axis=1).mean() * temperature**2
            found = Objective(temperature=temperature)(mixture, teacher_logits=teacher)
            assert found.item() == pytest.approx(expected, rel=1e-4)
        leaves = tree.leaf_logits.softmax(dim=-1).detach().numpy()
        inside = reach @ np.log(leaves) if loss == "leaves" else np.log(reach @ leaves)
        for smoothing in (0.0, 0.1):
            wanted = np.full((7, 4), smoothing / 4)
            wanted[np.arange(7), labels.clamp(min=0)] += 1 - smoothing
            expected = -(wanted * inside).sum(axis=1)[labelled.numpy()].mean()
            found = Objective(loss="hard_labels", label_smoothing=smoothing)(mixture, labels=labels)
            assert found.item() == pytest.approx(expected, rel=1e-4)


def test_a_mixture_none_of_whose_rows_is_labelled_has_no_hard_loss(rows):
    tree = tree_of()
    loss = Objective(loss="hard_labels")(tree(rows).logits, labels=torch.full((7,), -1))
    loss.backward()
    assert loss.item() == 0
    assert not tree.weight.grad.any()


def test_logit_matching_of_leaves_is_the_mean_of_their_own(rows):
    teacher = torch.randn(7, 4)
    tree = tree_of(loss="leaves")
    reach = np.stack([path_probabilities(tree, row) for row in rows])
    difference = tree.leaf_logits.detach().numpy()[None] - teacher.numpy()[:, None]
    expected = (reach * 0.5 * difference.var(axis=2)).sum(axis=1).mean()
    found = Objective(loss="logit_matching")(tree(rows).logits, teacher_logits=teacher)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_it_learns_digits_and_answers_alike_in_numpy(trained, split):
    inputs, labels = split.test.inputs, split.test.labels
    for way in WAYS:
        tree = trained.answering(way)
        own, numpys = predict_log_probs(tree, inputs), tree.to_numpy().predict_log_probs(inputs)
        np.testing.assert_allclose(np.exp(numpys), np.exp(own), atol=1e-5)
        assert errors(own, labels) < 0.25 * len(labels)


def test_preprocessing_and_inverse_temperature_are_in_the_numpy_trees_questions(split):
    torch.manual_seed(3)
    table = split.train.inputs.reshape(len(split.train), -1)
    tree = build_model({"kind": "soft-tree", "depth": 3, "inverse_temperature": 2.5}, (64,), 10, table).eval()
    assert tree.preprocessing.mean.any()  # of tables the mean is taken out
    scores = 2.5 * (tree.preprocessing(torch.from_numpy(table)) / 8 @ tree.weight.T + tree.bias)
    np.testing.assert_allclose(tree.to_numpy().scores(table), scores.detach(), atol=1e-4)


def test_an_images_zero_stays_zero(split):
    tree = build_model({"kind": "soft-tree", "depth": 2}, (8, 8), 10, split.train.inputs)
    assert not tree.preprocessing(torch.zeros(1, 8, 8)).any()
    assert tree.preprocessing(torch.from_numpy(split.train.inputs)).square().mean() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_a_saved_tree_is_the_same_tree(trained, split, way, tmp_path):
    tree = trained.answering(way)
    save_model(tmp_path, tree, split.train.classes)
    loaded, classes = load_model(tmp_path)
    assert isinstance(loaded, SoftDecisionTree)
    assert (loaded.predict, classes) == (way, split.train.classes)
    inputs = split.test.inputs
    np.testing.assert_array_equal(predict_log_probs(loaded, inputs), predict_log_probs(tree, inputs))


def test_counts_are_shares_of_the_rows_by_the_path_of_their_answer(trained, split):
    arrays = trained.to_numpy()
    ends = arrays.leaf_of(split.train.inputs)
    assert arrays.reached[0] == 1
    for node in np.flatnonzero(arrays.leaf >= 0):
        assert arrays.reached[node] == pytest.approx((ends == node).mean(), abs=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_a_pruned_tree_is_a_tree_like_any_other(trained, split, way, tmp_path):
    from limbeck.trees import prune

    whole = trained.answering(way)
    wanted = prune(whole.to_numpy(), split.train.inputs, reach=0.005, change=0.005)
    tree = whole.pruned(split.train.inputs, 0.005)
    assert tree.leaf_count == wanted.leaves < whole.leaf_count == 32
    assert tree.parameter_count < whole.parameter_count == sum(p.numel() for p in whole.parameters())
    save_model(tmp_path, tree, split.train.classes)
    loaded, _ = load_model(tmp_path)
    for found in (predict_log_probs(loaded, split.test.inputs), loaded.to_numpy().predict_log_probs(split.test.inputs)):
        np.testing.assert_allclose(np.exp(found), np.exp(wanted.tree.predict_log_probs(split.test.inputs)), atol=1e-5)
    assert loaded.to_numpy().leaves == wanted.leaves


def test_multiply_adds_are_those_of_the_way_it_answers():
    tree = tree_of(depth=4, features=5, classes=4)
    assert {way: tree.answering(way).multiply_adds for way in WAYS} == {
        "path": 15 * 5, "greedy": 4 * 5, "average": 15 * 5 + 16 * 4,
    }  # fmt: skip


@pytest.mark.parametrize("ask", ["forward", "count", "explain", "greedy"])
def test_inputs_of_another_width_are_one_clear_line(ask):
    tree, narrow = tree_of().eval(), torch.zeros(2, 3)
    asked = {
        "forward": lambda: tree(narrow), "count": lambda: tree.count(narrow.numpy()),
        "explain": lambda: tree.explain(narrow[0].numpy()), "greedy": lambda: tree.to_numpy().greedy_leaf(narrow[0]),
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"shape \(3,\), but the tree takes \(5,\)"):
        asked[ask]()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"depth": 0}, "depth = 0: a soft decision tree has at least one question, expected 1 or more"),
        ({"depth": 40}, "GiB to learn, this machine has"),
        ({"depth": 22}, "GiB to learn, this machine has"),  # its leaves would fit, and not a batch's paths
        ({"classes": 1}, "1 classes of 5 features: a tree tells at least two classes apart"),
        ({"sharpness": "2"}, "sharpness = '2': expected a number above 0"),
        ({"penalty": None}, "penalty = None: expected 0 or more"),
        ({"depth": 10**9}, "ask for less depth"),
        ({"predict": "mode"}, "predict = 'mode': expected one of path, greedy, average"),
        ({"loss": "gini"}, "loss = 'gini': expected one of leaves, mixture"),
        ({"inverse_temperature": 0.0}, "inverse_temperature = 0.0: expected a number above 0"),
        ({"final_sharpness": math.inf}, "final_sharpness = inf: expected a number above 0"),
        ({"penalty": -1.0}, "penalty = -1.0: expected 0 or more"),
        (
            {"learn_inverse_temperature": True, "final_inverse_temperature": 2.0},
            "the inverse temperature cannot be learnt and annealed: leave one of them out",
        ),
    ],
)
def test_settings_out_of_range_are_one_clear_line(settings, told):
    with pytest.raises(UsageError) as refused:
        SoftDecisionTree((5,), settings.pop("classes", 4), **settings)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_leaves_start_nearly_even_so_that_none_is_favoured():
    tree = SoftDecisionTree((28, 28), 10, 8)
    assert tree.leaf_logits.abs().max() < 1
    assert LEAF_RATE > 1


def test_a_pruned_tree_can_be_counted_anew(trained, split):
    tree = trained.pruned(split.train.inputs, 0.005)
    before = tree.to_numpy().reached
    tree.count(split.train.inputs)
    np.testing.assert_allclose(tree.to_numpy().reached, before, atol=1e-6)
