from typing import Any

from limbeck.claims import claim_lines, measured
from limbeck.recipe import Claim


def row(role: str, errors: int, metrics: dict[str, float] | None = None, **variant: Any) -> dict[str, Any]:
    accuracy = 1 - errors / 1000
    return {"role": role, "name": "net", "variant": variant, "errors": errors, "accuracy": accuracy,
            "metrics": metrics or {}}  # fmt: skip


ROWS = [
    row("teacher", 10),
    row("student", 20, temperature=20),
    row("baseline", 40),
    row("student", 55, {"errors_on_3": 50}, temperature=20, without=[3]),
    row("student", 25, {"errors_on_3": 4}, temperature=20, without=[3], bias="test"),
    row("student", 31, temperature=1, epochs=5),
    row("student", 30, temperature=4, epochs=5),
    row("student", 33, temperature=20, epochs=5),
]


def here(**given: Any) -> float | None:
    (found,) = measured([Claim.model_validate({"text": "A claim", **given})], ROWS)
    value = found["here"]
    return value if value is None else float(value)


def test_a_claim_shows_a_field_or_a_metric_of_the_first_row_that_fits() -> None:
    assert here(row={"name": "net"}) == 20
    assert here(row={"name": "net", "role": "baseline"}) == 40
    assert here(row={"name": "net", "without": [3]}, show="errors_on_3") == 50
    assert here(row={"name": "net", "without": [3], "bias": "test"}, show="errors_on_3") == 4


def test_a_claim_may_be_about_a_difference_a_share_or_a_setting() -> None:
    baseline, teacher = {"name": "net", "role": "baseline"}, {"name": "net", "role": "teacher"}
    assert here(row={"name": "net"}, minus=baseline) == -20
    share = here(row={"name": "net"}, gap=[baseline, teacher])
    assert share is not None
    assert abs(share - 20 / 30) < 1e-9
    assert here(row={"name": "net", "epochs": 5}, best="temperature") == 4
    assert here(row={"name": "net", "epochs": 5}, best="temperature", show="accuracy") == 4


def test_what_no_row_says_is_none() -> None:
    assert here(row={"name": "net"}, show="errors_on_3") is None
    assert here(row={"name": "net"}, minus={"name": "net"}, show="errors_on_3") is None
    assert here(row={"name": "net", "epochs": 5}, best="temperature", show="errors_on_3") is None
    assert here(row={"name": "net"}, gap=[{"name": "net", "role": "teacher"}, {"name": "net"}]) is None


def test_of_several_runs_the_median_stands_between_lowest_and_highest() -> None:
    def run(value: float | None) -> list[dict[str, Any]]:
        return [
            {"text": "Errors", "show": "errors", "paper": 74.0, "goal": "at most 80", "here": value},
            {"text": "Gap", "show": "share of the gap", "paper": "87%", "goal": None, "here": 0.805},
        ]

    assert claim_lines([run(81), run(75), run(2079)]) == [
        ["Errors", "errors", "74", "at most 80", "81 (75 to 2,079)"],
        ["Gap", "share of the gap", "87%", "–", "80% (80% to 80%)"],
    ]
    assert claim_lines([run(None)])[0][-1] == "–"
    assert [line[-1] for line in claim_lines([[*run(5)[:1], *run(7)[:1]]])] == ["5", "7"]  # of one text, each its own
    assert claim_lines([run(5), []])[0][-1] == "5, in 1 of 2 runs"
    assert claim_lines([run(5), run(7)[::-1]]) == claim_lines([run(5), run(7)])
    assert claim_lines([]) == []
    assert claim_lines([run(5), run(None), run(7)])[0][-1] == "6 (5 to 7), in 2 of 3 runs"


def test_a_setting_that_was_best_is_shown_as_each_run_had_it() -> None:
    def run(value: Any) -> list[dict[str, Any]]:
        return [{"text": "Best", "show": "temperature", "paper": "2.5 to 4", "goal": None, "here": value}]

    assert claim_lines([run(4), run(8.5), run(4)])[0][-1] == "4, 8.5, 4"
    assert claim_lines([run([16, 16])])[0][-1] == "16 and 16"
    assert claim_lines([run("permuted")])[0][-1] == "permuted"


def test_a_loss_that_was_best_is_a_setting_and_no_number() -> None:
    claims = [{"text": "Best", "show": "loss", "paper": None, "goal": None, "here": "soft_targets"}]
    assert claim_lines([claims, claims])[0][-1] == "soft_targets, soft_targets"
