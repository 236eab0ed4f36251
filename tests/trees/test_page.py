"""The page of a tree: what is in it. What it does is tested in a real browser."""

import base64
import dataclasses
import html
import json
import re

import numpy as np
import pytest

from limbeck.data import load_dataset
from limbeck.errors import UsageError
from limbeck.trees import render_page

HOSTILE = '</script><img src=x onerror="alert(1)">\'&'


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="limbeck-tree">(.*?)</script>', page).group(1))


def test_the_weights_and_the_inputs_are_in_the_page_exactly(random_tree, digits):
    tree = random_tree(4, (8, 8), 10)
    found = embedded(render_page(tree, digits.inputs, 3, digits.labels))
    weights = np.frombuffer(base64.b64decode(found["tree"]["weights"]), "<f4").reshape(15, 64)
    assert np.array_equal(weights, tree.weights)
    inputs = np.frombuffer(base64.b64decode(found["inputs"]["bytes"]), "u1").reshape(-1, 8, 8)
    assert np.array_equal(inputs, digits.inputs[3:63])
    assert found["inputs"]["labels"] == digits.labels[3:63].tolist()


def test_inputs_that_are_not_bytes_are_kept_as_float32(random_tree):
    inputs = np.random.default_rng(0).normal(size=(5, 3))
    found = embedded(render_page(random_tree(2, (3,)), inputs, 0))["inputs"]
    assert found["bytes"] is None
    kept = np.frombuffer(base64.b64decode(found["floats"]), "<f4").reshape(5, 3)
    assert np.array_equal(kept, inputs.astype(np.float32))


def test_inputs_begin_with_the_row_asked_for_and_go_on_from_the_first_one(random_tree):
    tree = random_tree(1, (2,))
    assert embedded(render_page(tree, np.zeros((4, 2)), 2))["inputs"]["rows"] == [2, 3, 0, 1]
    assert embedded(render_page(tree, np.zeros((99, 2)), 98))["inputs"]["rows"] == [98, *range(59)]


def test_names_with_markup_do_not_leave_their_place(random_tree):
    tree = dataclasses.replace(random_tree(2, (2,)), classes=(HOSTILE, "b", "c", "d"))
    page = render_page(tree, np.zeros((3, 2)), 0, name=HOSTILE, features=[HOSTILE, "x"])
    assert page.count("</script>") == 2
    assert "<img" not in page
    found = embedded(page)
    assert found["tree"]["classes"][0] == HOSTILE
    assert found["features"][0] == HOSTILE
    assert HOSTILE in html.unescape(re.search(r"<h1.*?>(.*?)</h1>", page).group(1))


def test_the_page_asks_nothing_of_the_network_and_is_the_same_each_time(random_tree, digits):
    page, again = (render_page(random_tree(3, (8, 8), 10), digits.inputs, 0) for _ in range(2))
    assert page == again
    assert "default-src 'none'" in page
    addresses = set(re.findall(r"https?://[^\"' )]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_a_tree_of_depth_8_for_mnist_takes_less_than_2_mb(random_tree):
    test = load_dataset("mnist").test
    assert len(render_page(random_tree(8, (28, 28), 10), test.inputs, 0, test.labels).encode()) < 2_000_000


def test_drawing_is_offered_for_grey_images_only(random_tree):
    for shape, offered in (((6, 6), True), ((6, 6, 1), True), ((6, 6, 3), False), ((6,), False)):
        assert ('id="pad"' in render_page(random_tree(1, shape), np.zeros((2, *shape), np.uint8), 0)) == offered


def test_shares_that_were_not_counted_are_null(random_tree):
    assert set(embedded(render_page(random_tree(1, (2,)), np.zeros((1, 2)), 0))["tree"]["reached"]) == {None}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"row": 4}, "row = 4: expected one of the 4 rows, from 0"),
        ({"row": -1}, "row = -1: expected"),
        ({"inputs": np.zeros((4, 3))}, r"the inputs have the shape \(3,\), but the tree takes \(2,\)"),
        ({"labels": np.zeros(3, np.int64)}, "3 labels for 4 inputs: give one for each"),
        ({"labels": np.full(4, 9)}, "a label is 9, but the tree has 4 classes, from 0"),
        ({"features": ["x"]}, "1 names for 2 features"),
    ],
)
def test_what_does_not_fit_the_tree_is_refused(random_tree, given, message):
    with pytest.raises(UsageError, match=message):
        render_page(random_tree(2, (2,)), **({"inputs": np.zeros((4, 2)), "row": 0} | given))
