"""A tree's top levels as SVG."""

import dataclasses
import itertools
from xml.etree import ElementTree

import numpy as np
import pytest

from limbeck.errors import UsageError
from limbeck.trees import Drawing, TreeArrays, draw, prune
from limbeck.trees.svg import PATH

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(SVG + "text")]


def test_every_question_of_the_top_levels_is_a_picture_and_what_is_below_is_summed_up(random_tree, digits):
    root = ElementTree.fromstring(draw(random_tree(5, (8, 8))))
    assert len(list(root.iter(SVG + "image"))) == 7
    assert all(image.get("href").startswith("data:image/png;base64,") for image in root.iter(SVG + "image"))
    assert texts(draw(random_tree(5, (8, 8)))).count("4 leaves") == 8


def test_a_drawing_of_all_levels_ends_in_the_leaves_classes_and_their_certainty(table_tree):
    said = texts(draw(table_tree(), levels=9))
    assert [text for text in said if text in "abc"] == ["a", "b", "b", "c"]
    assert said.count("80%") == 4


def test_the_path_of_an_input_is_marked_with_each_turns_probability(table_tree):
    row = np.array([3.0, 2.0])
    tree = table_tree()
    said = texts(draw(tree, path_of=row))
    scores = tree.scores(row[None])[0]
    path = tree.path_to(int(tree.leaf_of(row[None])[0]))
    assert len(path) == 3
    for node, child in itertools.pairwise(path):
        score = scores[tree.question[node]]
        probability = 1 / (1 + np.exp(-score if child == tree.right[node] else score))
        assert f"{probability:.0%}" in said
    assert PATH in draw(tree, path_of=row)
    assert PATH not in draw(tree)


def test_an_input_of_images_stands_beside_the_root_within_the_drawing(random_tree, digits):
    tree = random_tree(4, (8, 8))
    for levels in (0, 1, 3):
        root = ElementTree.fromstring(draw(tree, levels=levels, path_of=digits.inputs[0]))
        images = list(root.iter(SVG + "image"))
        assert len(images) == 2**levels
        assert min(float(image.get("x")) for image in images) >= 0


def test_edges_are_as_wide_as_the_share_that_takes_them(random_tree):
    reached = np.array([1, 0.75, 0.25])
    root = ElementTree.fromstring(draw(random_tree(1, (8, 8), reached=reached)))
    wide, narrow = (float(path.get("stroke-width")) - 1 for path in root.iter(SVG + "path"))
    assert wide == pytest.approx(3 * narrow, abs=0.02)


def test_a_question_of_a_table_names_what_weighs_most_in_units_of_spread(table_tree):
    said = texts(draw(table_tree(spread=np.array([100, 1])), features=["age", "height"], levels=2))
    below = said[said.index("age", 1) :]
    assert below.index("age") < below.index("height")
    assert "→" in said
    assert "←" in said


def test_the_drawing_is_on_white_and_its_text_is_text(random_tree):
    root = ElementTree.fromstring(draw(random_tree(3, (8, 8))))
    first = next(root.iter(SVG + "rect"))
    assert (first.get("width"), first.get("fill")) == (root.get("width"), "#ffffff")
    assert "left" in "".join(texts(draw(random_tree(3, (8, 8)))))


def test_markup_and_control_characters_in_names_are_only_text(random_tree):
    tree = random_tree(2, (2,))
    tree = dataclasses.replace(tree, classes=('</text><script>"&', "b\x00\x1b", "c", "d"))
    svg = draw(tree, levels=2, features=["<a>", "b&\x07"], path_of=np.zeros(2))
    assert "<script" not in svg
    assert "<a>" in "".join(texts(svg))


@pytest.mark.parametrize("predict", ["path", "greedy", "average"])
def test_a_single_leaf_and_a_pruned_tree_can_be_drawn(random_tree, single_leaf, digits, predict):
    assert "70%" in texts(draw(single_leaf(predict=predict), path_of=np.zeros(2)))
    assert "70%" in texts(draw(single_leaf((2, 2), predict=predict), path_of=np.zeros((2, 2), np.uint8)))
    tree = random_tree(4, (8, 8), 10, predict=predict)
    pruned = prune(tree, digits.inputs[:50], reach=0.2).tree
    assert pruned.leaves < tree.leaves
    ElementTree.fromstring(draw(pruned, levels=9, path_of=digits.inputs[0]))


def test_colour_images_and_long_ones_keep_their_shape(random_tree):
    random = np.random.default_rng(0)
    for shape in ((4, 6, 3), (4, 12, 1), (3, 3, 4)):
        svg = draw(random_tree(2, shape), path_of=random.integers(0, 256, shape).astype(np.uint8))
        image = next(ElementTree.fromstring(svg).iter(SVG + "image"))
        ratio = float(image.get("width")) / float(image.get("height"))
        assert ratio == pytest.approx(shape[1] / shape[0], rel=0.01)


def test_the_same_tree_gives_the_same_bytes(random_tree, digits):
    one, other = (draw(random_tree(3, (8, 8)), path_of=digits.inputs[0]) for _ in range(2))
    assert one == other


def test_a_drawing_is_shown_by_notebooks_and_saved(random_tree, tmp_path):
    drawing = Drawing(draw(random_tree(2, (8, 8))))
    assert drawing._repr_svg_() == drawing.svg
    drawing.save(tmp_path / "tree.svg")
    assert (tmp_path / "tree.svg").read_text(encoding="utf-8") == drawing.svg


def test_levels_below_0_and_wrong_inputs_and_names_are_refused(table_tree):
    with pytest.raises(UsageError, match="levels = -1: expected 0 or more"):
        draw(table_tree(), levels=-1)
    with pytest.raises(UsageError, match=r"the inputs have the shape \(3,\), but the tree takes \(2,\)"):
        draw(table_tree(), path_of=np.zeros(3))
    with pytest.raises(UsageError, match="1 names for 2 features"):
        draw(table_tree(), features=["age"])


def test_classes_that_no_row_reaches_are_left_out_of_a_summary():
    log_probs = np.log([[0.9, 0.1], [0.1, 0.9]])
    reached = np.array([1.0, 1.0, 0.0])
    tree = TreeArrays.complete(np.ones((1, 4)), [0.0], log_probs, (2, 2), ["cat", "dog"], reached=reached)
    assert "cat" in texts(draw(tree, levels=0))
    assert "dog" not in texts(draw(tree, levels=0))
