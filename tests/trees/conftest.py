"""Small trees: random ones, and hand-made ones whose answers are worked out by hand."""

import numpy as np
import pytest

from limbeck.trees import TreeArrays


@pytest.fixture(scope="session")
def random_tree():
    """A function: a complete tree of a depth for inputs of a shape, with random questions and leaves."""

    def make(depth, shape, classes=4, *, seed=0, scale=1.0, **more):
        random = np.random.default_rng(seed)
        inner, features = 2**depth - 1, int(np.prod(shape))
        logits = 2 * random.normal(size=(inner + 1, classes))
        return TreeArrays.complete(
            scale * random.normal(size=(inner, features)) / np.sqrt(features),
            random.normal(size=inner),
            logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)),
            shape,
            [f"class {number}" for number in range(classes)],
            **more,
        )

    return make


@pytest.fixture(scope="session")
def single_leaf():
    """A function: a tree without a question, that says the second of three classes with 70%."""

    def make(shape=(2,), predict="path"):
        return TreeArrays.complete(
            np.zeros((0, int(np.prod(shape)))), np.zeros(0), np.log([[0.2, 0.7, 0.1]]), shape, "abc", predict=predict
        )

    return make


@pytest.fixture(scope="session")
def table_tree():
    """A function: a tree of two features by hand.

    The root asks 2·x0 − 4 > 0; on its left, x0 + 10·x1 > 0; on its right, −x1 + 3 > 0. Its leaves, from the left, say
    a, b, b and c with 80%, the others with 10% each.
    """

    def make(predict="greedy", **more):
        probabilities = np.full((4, 3), 0.1)
        probabilities[range(4), [0, 1, 1, 2]] = 0.8
        weights = [[2, 0], [1, 10], [0, -1]]
        return TreeArrays.complete(weights, [-4, 0, 3], np.log(probabilities), (2,), "abc", predict=predict, **more)

    return make


@pytest.fixture(scope="session")
def assert_leads_elsewhere():
    """A function: a change's input has the class and the probability that it says, not the class of the input."""

    def answer(tree, one):
        log_probs = tree.predict_log_probs(one[np.newaxis])[0]
        return int(log_probs.argmax()), float(np.exp(log_probs.max()))

    def check(change, tree, one):
        label, probability = answer(tree, change.changed)
        assert change.changed.dtype == one.dtype
        assert label != answer(tree, one)[0]
        assert (change.label, change.name, change.probability) == (label, tree.classes[label], probability)

    return check
