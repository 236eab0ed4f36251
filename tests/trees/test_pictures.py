"""Images and the questions asked of them as pictures, by hand."""

import numpy as np

from limbeck.trees.pictures import LEFT, NONE, RIGHT, picture_of_input, picture_of_question, picture_shape


def test_images_are_told_from_tables_by_their_shape():
    assert picture_shape((28, 20)) == (28, 20, 1)
    assert picture_shape((28, 20, 3)) == (28, 20, 3)
    assert picture_shape((7,)) is None


def test_a_question_s_weights_are_blue_to_the_left_and_orange_to_the_right():
    pixels = picture_of_question(np.array([-2.0, 0.0, 2.0, 1.0]), (2, 2, 1))
    assert [tuple(pixel) for pixel in pixels[0]] == [LEFT, NONE]
    assert tuple(pixels[1, 0]) == RIGHT
    np.testing.assert_allclose(pixels[1, 1], (np.array(NONE) + np.array(RIGHT)) / 2, atol=0.5)


def test_one_weight_far_beyond_the_others_does_not_leave_them_pale():
    weights = np.full(400, 1.0)
    weights[7] = 1e6
    assert (picture_of_question(weights, (20, 20, 1)) == RIGHT).all()


def test_a_question_of_colours_stands_about_a_mid_grey_without_opacity():
    pixels = picture_of_question(np.array([1.0, -1.0, 0.0, 0.5]), (1, 1, 4))
    assert pixels.tolist() == [[[255, 1, 128]]]


def test_a_question_without_weights_is_no_colour():
    assert (picture_of_question(np.zeros(4), (2, 2, 1)) == NONE).all()


def test_a_low_range_of_whole_numbers_is_brightened_and_a_full_one_kept():
    assert picture_of_input(np.array([[0, 8, 16]], np.uint8), (1, 3, 1)).ravel().tolist() == [0, 128, 255]
    assert picture_of_input(np.array([[0, 8, 200]], np.uint8), (1, 3, 1)).ravel().tolist() == [0, 8, 200]


def test_other_numbers_are_spread_from_their_least_or_0_to_their_greatest():
    assert picture_of_input(np.array([[0.5, 1.0, 2.0]]), (1, 3, 1)).ravel().tolist() == [64, 128, 255]
    assert picture_of_input(np.array([[-1.0, 0.0, 1.0]]), (1, 3, 1)).ravel().tolist() == [0, 128, 255]
    assert picture_of_input(np.zeros((1, 3)), (1, 3, 1)).ravel().tolist() == [0, 0, 0]
