import json
import re
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from limbeck.recipe import Claim
from limbeck.recipe.claim import claim_problems, class_problems
from limbeck.recipe.rows import PlannedRow
from limbeck.report.claims import claim_lines, measured
from limbeck.report.resampling import REPLICATES
from limbeck.rows import row_id


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


SINGLE = {"role": "reference", "name": "single"}
ENSEMBLE = {"role": "teacher", "name": "ensemble"}
SHARE: dict[str, Any] = {"row": {"name": "net"}, "gap": [SINGLE, ENSEMBLE], "average": ["gap[0]"]}


def ensemble_rows(*members: int, ensemble: int, student: int) -> list[dict[str, Any]]:
    singles = [row("reference", wrong, member=number) for number, wrong in enumerate(members, start=1)]
    of_two = row("teacher", ensemble + 9, members=2)
    return [
        *({**single, "name": "single"} for single in singles),
        *({**teacher, "name": "ensemble"} for teacher in (row("teacher", ensemble), of_two)),
        row("student", student),
        row("student", student + 7, unlabelled=False),
    ]


def of_rows(rows: list[dict[str, Any]], **given: Any) -> Any:
    return measured([Claim.model_validate({"text": "A claim", **given})], rows)[0]["here"]


def test_a_claim_averages_the_rows_of_the_keys_that_it_names_and_of_no_others() -> None:
    rows = ensemble_rows(30, 40, 50, ensemble=20, student=25)
    assert of_rows(rows, **SHARE) == pytest.approx((40 - 25) / (40 - 20))
    assert of_rows(rows, **{**SHARE, "average": None}) == pytest.approx((30 - 25) / (30 - 20))
    assert of_rows(rows, row=SINGLE, minus=ENSEMBLE, average=["row"]) == 20
    assert of_rows(rows, row=SINGLE, minus=ENSEMBLE, average=["row", "minus"]) == 15.5


def test_a_mean_of_rows_of_which_one_has_no_number_is_none() -> None:
    rows = ensemble_rows(30, 40, ensemble=20, student=25)
    rows[1] |= {"errors": None, "accuracy": None}
    assert of_rows(rows, **SHARE) is None
    assert of_rows(rows, row=SINGLE, average=["row"]) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"average": True}, r'found true, expected a list of the keys whose rows are averaged, such as \["gap\[0\]"\]'),
        ({"average": []}, r"found \[\], expected a list of the keys"),
        ({"average": ["minus"]}, r'found "minus", expected keys of this claim that say which row: "row"$'),
        ({"average": ["row"], "best": "temperature"}, r'found both of "best" and "average"'),
    ],
)
def test_what_cannot_be_averaged_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Claim.model_validate({"text": "A claim", "row": {"name": "net"}, **given})
    (error,) = caught.value.errors()
    assert re.search(message, error["msg"])


def test_a_mean_of_rows_of_which_one_will_have_no_such_number_is_a_problem() -> None:
    def planned(**variant: Any) -> PlannedRow:
        return PlannedRow("student", "net", variant, {})

    rows = [planned(without=[3], bias="test"), planned(without=[4])]
    first, both = (
        [Claim.model_validate({"text": "A", "row": {"name": "net"}, "average": average, "show": show})]
        for average, show in ((None, "bias_raised"), (["row"], "bias_raised"))
    )
    assert not list(claim_problems(first, rows))
    assert list(claim_problems(both, rows)) == ["claim[0].row: student net (without 4) will have no bias_raised"]
    on_3 = [Claim.model_validate({"text": "A", "row": {"name": "net"}, "average": ["row"], "show": "errors_on_3"})]
    assert list(class_problems(on_3, rows, lambda classes: [str(each) for each in classes])) == [
        'claim[0].show: found "errors_on_3", expected a class left out there: errors_on_3, errors_on_4'
    ]


def simulated(
    random: np.random.Generator, *, test_rows: int = 400, student: float = 0.8
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of two members, their ensemble and a student, and on which test rows they are right.

    All are right on the easy rows; of the others the ensemble is right on a third, a member on none, and the student on
    `student` of a third.
    """
    easy = random.random(test_rows) < 0.7
    chances = {"one": 0.0, "two": 0.0, "ensemble": 1 / 3, "student": student / 3}
    right = {name: easy | (random.random(test_rows) < chance) for name, chance in chances.items()}
    rows: list[dict[str, Any]] = [
        {"role": role, "name": name, "variant": variant, "metrics": {}}
        for role, name, variant in (
            ("reference", "single", {"member": 1}),
            ("reference", "single", {"member": 2}),
            ("teacher", "ensemble", {}),
            ("student", "net", {}),
        )
    ]
    for each, correct in zip(rows, right.values(), strict=True):
        each |= {"errors": int((~correct).sum()), "accuracy": float(correct.mean())}
    return rows, {row_id(each): correct for each, correct in zip(rows, right.values(), strict=True)}


def run_of(seed: int, **given: Any) -> list[dict[str, Any]]:
    claims = [Claim.model_validate({"text": "A claim", **SHARE, "paper": 0.86})]
    rows, correct = simulated(np.random.default_rng(seed), **given)
    return measured(claims, rows, correct)


def test_what_an_interval_needs_is_kept_of_shares_and_of_differences_in_what_is_right() -> None:
    rows, correct = simulated(np.random.default_rng(0))
    difference: dict[str, Any] = {"row": {"name": "net"}, "minus": SINGLE}
    given: list[dict[str, Any]] = [
        SHARE,
        difference,
        {**difference, "show": "accuracy"},
        {**difference, "show": "nll"},
        {"row": {"name": "net"}},
    ]
    claims = [Claim.model_validate({"text": "A claim", **each}) for each in given]
    share, errors, accuracies, *others = measured(claims, rows, correct)
    gained, gap = share["fraction"]
    assert gained / gap == pytest.approx(share["here"], abs=1e-4)
    assert errors["fraction"] == [errors["here"], 1]
    assert accuracies["fraction"] == [pytest.approx(accuracies["here"], abs=1e-6), 1]
    assert [pair[0] for pair in accuracies["resampled"]] == pytest.approx(
        [-pair[0] / len(correct["student/net"]) for pair in errors["resampled"]], abs=1e-6
    )
    assert len(share["resampled"]) == len(errors["resampled"]) == REPLICATES
    assert not any("resampled" in each for each in others)
    assert json.loads(json.dumps(share)) == share
    assert not any("resampled" in each for each in measured(claims, rows))
    del correct["reference/single-member=2"]
    assert ["resampled" in each for each in measured(claims, rows, correct)] == [
        False, True, True, False, False,
    ]  # fmt: skip


def test_a_replicate_has_the_same_test_rows_in_every_run_and_claim() -> None:
    claims = [Claim.model_validate({"text": "A claim", **{**SHARE, "average": None}})]
    rows, correct = simulated(np.random.default_rng(0))
    (one,) = measured(claims, rows, correct)
    correct["reference/single-member=2"] = ~correct["reference/single-member=2"]  # not asked about by this claim
    others = [Claim.model_validate({"text": "Another", "row": SINGLE, "minus": ENSEMBLE, "average": ["row"]}), *claims]
    assert measured(others, rows, correct)[1]["resampled"] == one["resampled"]


def kept(fraction: list[float], resampled: list[list[float]], show: str = "share of the gap") -> list[dict[str, Any]]:
    gained, gap = fraction
    here = gained / gap if gap > 0 else None
    return [{"text": "A", "show": show, "paper": None, "goal": None, "here": here, "fraction": fraction,
             "resampled": resampled}]  # fmt: skip


def test_an_interval_leaves_out_a_fortieth_at_either_end() -> None:
    # Of 81 shares, 0% to 80%: two at either end are outside.
    assert claim_lines([kept([0.4, 1], [[share / 100, 1] for share in range(81)])])[0][-1] == (
        "40%, 95% over test rows: 2% to 78%"
    )
    assert claim_lines([kept([-12, 1], [[value, 1] for value in range(-52, 29)], "errors")])[0][-1] == (
        "-12, 95% over test rows: -50 to 26"
    )


def test_of_several_runs_the_sum_of_gains_is_divided_by_the_sum_of_gaps() -> None:
    # Two runs: (1 + 3) / (2 + 4) = 67% together; drawn twice each, 50% and 75%.
    runs = [kept([1, 2], [[1, 2]] * 100), kept([3, 4], [[3, 4]] * 100)]
    assert claim_lines(runs)[0][-1] == (
        "62% (50% to 75%); all seeds together 67%, 95% over test rows and seeds: 50% to 75%"
    )


def test_a_share_of_no_gap_has_no_bound() -> None:
    def ends(*resampled: list[float]) -> str:
        return claim_lines([kept([1, 2], [list(pair) for pair in resampled for _ in range(10)])])[0][-1]

    assert ends([1, 2], [1, 0]) == "50%, 95% over test rows: 50% or more"
    assert ends([1, 2], [-1, -2]) == "50%, 95% over test rows: 50% or less"
    assert ends([1, 2], [0, 0]) == "50%, 95% over test rows: 50% or less"
    assert ends([1, 2], [-1, -2], [1, -1]) == "50%, 95% over test rows: any share"
    none = kept([1, 0], [[1, 0]])
    assert claim_lines([none])[0][-1] == "–, 95% over test rows: any share"
    assert claim_lines([none, none])[0][-1].startswith("–; all seeds together no gap, 95% over test rows and seeds: ")


def test_the_order_of_runs_makes_no_difference_to_an_interval() -> None:
    runs = [run_of(seed, test_rows=50) for seed in range(4)]
    assert len({claim_lines(order)[0][-1] for order in permutations(runs)}) == 1


def test_runs_of_which_one_kept_no_resampled_values_have_no_interval() -> None:
    new, old = kept([1, 2], [[1, 2]]), kept([3, 4], [[3, 4]])
    del old[0]["resampled"]
    assert claim_lines([new, old])[0][-1] == "62% (50% to 75%)"
    old[0] |= {"fraction": None, "resampled": None}
    assert claim_lines([old])[0][-1] == "75%"


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_holds_the_true_share_about_as_often_as_it_says(seeds: int) -> None:
    held = 0
    for trial in range(40):
        runs = [run_of(100 * trial + seed, student=0.8) for seed in range(seeds)]
        lower, upper = claim_lines(runs)[0][-1].rpartition(": ")[2].split(" to ")
        held += int(lower.rstrip("%")) <= 80 <= int(upper.rstrip("%"))
    assert held >= 35


def test_a_claim_may_be_a_ratio_of_two_rows() -> None:
    baseline, teacher = {"name": "net", "role": "baseline"}, {"name": "net", "role": "teacher"}
    assert here(row={"name": "net"}, over=baseline) == 0.5
    assert here(row={"name": "net"}, over=teacher, show="accuracy") == pytest.approx(0.98 / 0.99)
    assert here(row={"name": "net"}, over={"name": "net", "without": [3]}, show="errors_on_3") is None
    claims = [
        Claim.model_validate({"text": "Kept", "row": {"name": "net"}, "over": teacher, "show": show})
        for show in ("accuracy", "errors")
    ]
    lines = claim_lines([measured(claims, ROWS)])
    assert lines == [
        ["Kept", "accuracy ratio", "–", "–", "99.0%"],
        ["Kept", "errors ratio", "–", "–", "2.00 times"],
    ]


def test_a_ratio_of_accuracies_has_an_interval_and_of_other_numbers_none() -> None:
    rows, correct = simulated(np.random.default_rng(0))
    given = {"text": "Kept", "row": {"name": "net"}, "over": {"role": "teacher", "name": "ensemble"}}
    claims = [Claim.model_validate({**given, "show": show}) for show in ("accuracy", "errors")]
    accuracies, errors = measured(claims, rows, correct)
    above, below = accuracies["fraction"]
    assert above / below == pytest.approx(accuracies["here"], abs=1e-4)
    assert len(accuracies["resampled"]) == REPLICATES
    assert "resampled" not in errors
    (line, _) = claim_lines([[accuracies, errors]])
    assert "% over test rows: 9" in line[-1]


def of_tasks(**correct: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of a model and of its rival on tasks, which are given by name as what each of them has right."""
    rows = []
    right = {}
    for task, pair in correct.items():
        for role, answers in zip(("student", "reference"), pair, strict=True):
            row = {"role": role, "name": "net", "variant": {"task": task}, "metrics": {}}
            rows.append({**row, "accuracy": float(answers.mean()), "errors": int((~answers).sum())})
            right[row_id(rows[-1])] = answers
    return rows, right


MEAN: dict[str, Any] = {
    "text": "A",
    "row": {"name": "net"},
    "show": "accuracy",
    "average": ["row", "minus"],
    "minus": {"role": "reference", "name": "net"},
}


def test_a_mean_over_tasks_has_an_interval_in_which_every_task_counts_alike() -> None:
    random = np.random.default_rng(0)
    long, short = ((random.random(count) < 0.8, random.random(count) < 0.7) for count in (4000, 100))
    rows, correct = of_tasks(long=long, short=short)
    both, over = (
        Claim.model_validate({**MEAN, "show": show, **change})
        for show, change in (
            ("accuracy", {}),
            ("accuracy", {"minus": None, "over": MEAN["minus"], "average": ["row", "over"]}),
        )
    )
    difference, ratio = measured([both, over], rows, correct)
    means = [np.mean([task[place].mean() for task in (long, short)]) for place in (0, 1)]
    assert difference["fraction"] == pytest.approx([means[0] - means[1], 1], abs=1e-6)
    assert ratio["fraction"] == pytest.approx(means, abs=1e-6)
    # Of the difference's variance nearly all is the short task's, at a quarter.
    spread = np.std([pair[0] for pair in difference["resampled"]])
    assert spread == pytest.approx(0.5 * np.sqrt((0.8 * 0.2 + 0.7 * 0.3) / 100), rel=0.25)
    lines = claim_lines([[difference, ratio]])
    assert all("95% over test rows" in line[-1] for line in lines)


def test_rows_of_several_tasks_are_drawn_independently_of_each_other() -> None:
    random = np.random.default_rng(0)
    pair = (random.random(500) < 0.8, random.random(500) < 0.7)
    claim = Claim.model_validate(MEAN)
    spreads = [
        np.std([values[0] for values in measured([claim], *of_tasks(**tasks))[0]["resampled"]])
        for tasks in ({"one": pair}, {"one": pair, "two": pair})
    ]
    assert spreads[1] == pytest.approx(spreads[0] / np.sqrt(2), rel=0.15)


def test_a_ratio_and_a_difference_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match='found both of "minus" and "over"'):
        Claim.model_validate({"text": "A claim", "row": {"name": "net"}, "minus": SINGLE, "over": SINGLE})
