import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread

from limbeck.report.disagreements import find_disagreements, is_image, picture_uri

CLASSES = ("a", "b", "c")
TEACHER = np.log(np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.05, 0.9, 0.05], [0.1, 0.2, 0.7]], np.float32))
STUDENT = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.95, 0.03, 0.02]], np.float32))
LABELS = np.array([0, 1, 1, 1])
IMAGES = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)


def pixels(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.rint(imread(io.BytesIO(base64.b64decode(body)), format="png")[:, :, :3] * 255).astype(np.uint8)


def test_the_surest_disagreement_comes_first_and_all_are_counted() -> None:
    found = find_disagreements(TEACHER, STUDENT, LABELS, CLASSES, IMAGES, limit=2, budget=10_000)
    assert (found.total, found.teacher_right, found.student_right, found.neither_right) == (3, 1, 1, 1)
    assert [case.row for case in found.cases] == [2, 3]
    case = found.cases[0]
    assert (case.truth, case.teacher.label, case.teacher.probability, case.teacher.right) == (
        "b",
        "b",
        "90",
        True,
    )
    assert (case.student.label, case.student.right) == ("c", False)


def test_models_that_always_agree_have_no_cases() -> None:
    found = find_disagreements(TEACHER, TEACHER, LABELS, CLASSES, IMAGES, limit=2, budget=10_000)
    assert (found.total, found.cases) == (0, ())


def test_pictures_stop_where_the_budget_ends() -> None:
    one = len(picture_uri(IMAGES[2], 143))
    found = find_disagreements(TEACHER, STUDENT, LABELS, CLASSES, IMAGES, limit=3, budget=one)
    assert [case.picture is not None for case in found.cases] == [True, False, False]


def test_a_picture_holds_the_pixels_it_was_given() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    colour = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(picture_uri(grey))[:, :, 0], grey)
    np.testing.assert_array_equal(pixels(picture_uri(colour)), colour)


def test_a_low_range_is_brightened() -> None:
    assert pixels(picture_uri(np.array([[0, 8], [16, 4]], np.uint8), brightest=16)).max() == 255


@pytest.mark.parametrize("shape", [(96, 128, 3), (200, 2), (1, 500, 1), (65, 65)])
def test_a_large_picture_is_made_smaller(shape: tuple[int, ...]) -> None:
    small = pixels(picture_uri(np.full(shape, 200, np.uint8)))
    assert max(small.shape[:2]) <= 64
    assert (small == 200).all()


@pytest.mark.parametrize(
    ("inputs", "image"),
    [
        (np.zeros((5, 8, 8), np.uint8), True),
        (np.zeros((5, 8, 8, 3), np.uint8), True),
        (np.zeros((5, 8, 8, 2), np.uint8), False),
        (np.zeros((5, 64), np.uint8), False),
        (np.zeros((5, 8, 8), np.float32), False),
    ],
)
def test_what_counts_as_pictures(inputs: np.ndarray, image: bool) -> None:
    assert is_image(inputs) is image
