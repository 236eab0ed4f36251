from typing import Any

import pytest

from limbeck.report.models import families, read_models
from limbeck.report.wording import (
    Finding,
    describe,
    p_value,
    percent,
    scaled,
    significant,
    time_taken,
    whole,
)


def finding(**changes: Any) -> Finding:
    """The verdict on a student with 87 errors beside a baseline with 129 and a teacher with 51."""
    cost = {"bytes": 480_000, "multiply_adds": 118_016, "latency_ms": 0.02}
    dear = {"bytes": 1_440_000, "multiply_adds": 9_000_000, "latency_ms": 0.1}
    student = {
        "role": "student",
        "name": "2x128",
        "teacher": "convnet",
        "errors": 87,
        "accuracy": 0.9913,
        **cost,
    }
    student |= {"variant": {"temperature": 4}, "gap_recovered": 0.538, "p_value": 0.002, "verdict": "helps"}
    rows = [
        {"role": "teacher", "name": "convnet", "variant": {}, "errors": 51, "accuracy": 0.9949, **dear},
        student | changes,
        {"role": "baseline", "name": "2x128", "variant": {}, "errors": 129, "accuracy": 0.9871, **cost},
    ]
    models = read_models({"models": rows}, {}, {}, 10_000, 10)
    return describe(families(models)[0], 10_000)


def test_a_student_that_gained() -> None:
    said = finding()
    assert said.mood == "helps"
    assert said.finding.replace("\u00a0", " ") == (
        "2x128 learnt from convnet makes 87 errors in 10,000; "
        "the same model trained on labels alone makes 129 (p = 0.002)"
    )
    assert said.conclusion == "distilling helps"
    assert said.cost == (
        "Beside its teacher: 76 times fewer multiply-adds, 3.0 times smaller, 5.0 times faster. "
        "It recovers 54% of the gap between labels alone and the teacher."
    )


def test_a_student_that_lost() -> None:
    said = finding(errors=160, verdict="hurts", gap_recovered=-0.4)
    assert (said.mood, said.conclusion) == ("hurts", "distilling hurts")
    assert "gap" not in said.cost


def test_a_difference_that_may_be_chance_is_not_sold_as_a_gain() -> None:
    said = finding(errors=120, verdict="no difference", p_value=0.3, gap_recovered=0.12)
    assert (said.mood, said.conclusion) == ("none", "no difference that this test set can show")
    assert "gap" not in said.cost


def test_a_student_better_than_its_teacher() -> None:
    assert "It is more accurate than its teacher." in finding(errors=40, gap_recovered=1.14).cost


def test_a_student_that_costs_more_is_called_larger_and_slower() -> None:
    cost = finding(bytes=1_450_000, multiply_adds=18_000_000, latency_ms=0.31).cost
    assert "2.0 times more multiply-adds, as large, 3.1 times slower" in cost


def test_one_error_is_singular() -> None:
    assert "makes 1 error in 10,000" in finding(errors=1).finding


def test_missing_costs_are_left_out() -> None:
    cost = finding(bytes=None, multiply_adds=None, latency_ms=None, gap_recovered=None).cost
    assert cost == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0493, "0.0493"), (1.3, "1.30"), (1234.5, "1,234"), (0.0, "0"), (None, "–"), (float("nan"), "–")],
)
def test_significant_digits(value: float | None, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(118_282, "118 k"), (999, "999"), (999_600, "1.00 M"), (0.5, "0.500"), (None, "–")]
)
def test_scaled_numbers(value: float | None, text: str) -> None:
    assert scaled(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0004, "<\u00a00.001"), (0.002, "0.002"), (0.0499, "0.0499"), (0.0501, "0.050"), (1.0, "1.000")],
)
def test_a_p_value_is_not_rounded_across_its_threshold(value: float, text: str) -> None:
    assert p_value(value) == text


def test_durations_and_the_rest() -> None:
    assert [time_taken(s) for s in (4.5, 125, None)] == ["4.5 s", "2 min 05 s", "–"]
    assert (whole(10_000), percent(0.98765), percent(-0.28, 0)) == ("10,000", "98.8", "−28")
