from typing import Any

import numpy as np

from limbeck.report import render_report
from limbeck.report.richest import TEMPERATURES, find_richest

LOG_PROBS = np.log(
    np.array(
        [
            [0.9, 0.05, 0.05],
            [0.4, 0.35, 0.25],  # says most
            [0.5, 0.3, 0.2],
            [0.34, 0.33, 0.33],  # would say most, but is wrong
        ]
    )
)
LABELS, CLASSES = np.array([0, 0, 0, 1]), ("cat", "dog", "car")


def find(inputs: np.ndarray) -> Any:
    return find_richest("big", LOG_PROBS, LABELS, CLASSES, inputs, 2.0)


def test_the_richest_come_first_and_wrong_ones_not_at_all() -> None:
    found = find(np.zeros((4, 2, 2), np.uint8))
    assert [rich.row for rich in found.inputs] == [1, 2, 0]
    assert found.inputs[0].truth == "cat"
    root = np.sqrt([0.4, 0.35, 0.25])
    assert found.inputs[0].classes[0] == ("cat", f"{100 * root[0] / root.sum():.0f}")
    assert all(rich.picture.startswith("data:image/png") for rich in found.inputs)


def test_temperature_flattens_from_line_to_line() -> None:
    one = find(np.zeros((4, 2, 2), np.uint8)).over_temperatures[0]
    assert [temperature for temperature, _ in one.lines] == [f"{t:g}" for t in TEMPERATURES]
    top = [squares[0].strength for _, squares in one.lines]
    assert top == sorted(top, reverse=True)
    assert top[0] == 0.4


def test_tables_have_no_pictures_and_a_teacher_that_is_never_right_has_nothing() -> None:
    assert all(rich.picture is None for rich in find(np.zeros((4, 5), np.float32)).inputs)
    assert find_richest("big", LOG_PROBS, np.array([1, 1, 1, 1]), CLASSES, np.zeros((4, 5)), 2.0) is None


def test_the_page_shows_them(example: dict[str, Any]) -> None:
    page = render_report(**example)
    assert "<h2>The richest soft targets</h2>" in page
    assert page.count('<th scope="row">T = 20</th>') == 3
