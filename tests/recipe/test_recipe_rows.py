"""Several rows of one name: sweeps, variants, references, biases, claims."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest

from limbeck.errors import UsageError
from limbeck.evaluation import ROW_FIELDS
from limbeck.recipe import Recipe, load_recipe, parse_recipe
from limbeck.recipe.rows import planned_rows
from limbeck.rows import NUMBERS, variant_text

SEVERAL = """
title = "Several"
[data]
source = "digits"
[[teacher]]
name = "convnet"
model = { kind = "convnet" }
train = { epochs = 3 }
[[transfer]]
name = "all"
[[transfer]]
name = "views"
views = { count = 2, jitter = 1 }
[[transfer]]
name = "no3"
select = { without = [3] }
[[student]]
name = "2x16"
transfer = "all"
model = { kind = "mlp", widths = [16, 16] }
train = { epochs = 5 }
"""
STUDENT = {"name": "2x16", "transfer": "all", "model": {"kind": "mlp", "widths": [16, 16]}, "train": {"epochs": 5}}


def several(*students: dict[str, Any], **more: Any) -> Recipe:
    """SEVERAL with more students, each like the first but for what is given, and with more sections."""
    data = tomllib.loads(SEVERAL)
    data["student"] += [{**STUDENT, **student} for student in students]
    return parse_recipe({**data, **more}, "mine.toml")


def problem(*students: dict[str, Any], **more: Any) -> str:
    with pytest.raises(UsageError) as error:
        several(*students, **more)
    return str(error.value).removeprefix("mine.toml: ")


def rows(recipe: Recipe) -> list[str]:
    found = [row.id for _, row in planned_rows(recipe.student, recipe.reference, recipe.transfer)]
    return list(dict.fromkeys(found))


def test_rows_of_one_name_are_told_apart_by_what_is_in_their_variant() -> None:
    recipe = several(
        {"transfer": "views", "variant": ["views"]},
        {"transfer": "no3", "bias": ["validation", "test"]},
        {"train": {"epochs": 2}, "variant": ["epochs"], "sweep": {"distill.temperature": [1, 20]}},
        {"distill": {"targets": "permuted"}, "baseline": False},
        {"distill": {"loss": "logit_matching"}, "baseline": False},
        reference=[{"name": "2x16", "transfer": "all", "model": STUDENT["model"], "train": {"epochs": 50}}],
    )
    assert rows(recipe) == [
        "student/2x16-temperature=4",
        "baseline/2x16",
        "student/2x16-temperature=4,views=2",
        "baseline/2x16-views=2",
        "student/2x16-temperature=4,without=3",
        "baseline/2x16-without=3",
        "student/2x16-bias=validation,temperature=4,without=3",
        "baseline/2x16-bias=validation,without=3",
        "student/2x16-bias=test,temperature=4,without=3",
        "baseline/2x16-bias=test,without=3",
        "student/2x16-epochs=2,temperature=1",
        "baseline/2x16-epochs=2",
        "student/2x16-epochs=2,temperature=20",
        "student/2x16-targets=permuted,temperature=4",
        "student/2x16-loss=logit_matching",
        "reference/2x16",
    ]


def test_a_sweep_gives_students_whose_variant_names_what_was_swept() -> None:
    (swept,) = several().student
    recipe = several({"sweep": {"model.widths": [[4], [8]], "train.epochs": [2, 3]}})
    found = recipe.student[1].swept()
    assert [(one.model.model_dump()["widths"], one.train.epochs) for one in found] == [
        ([4], 2),
        ([4], 3),
        ([8], 2),
        ([8], 3),
    ]
    assert all(one.sweep is None and one.variant == ["widths", "epochs"] for one in found)
    assert swept.swept() == [swept]


def test_a_swept_student_keeps_its_grid() -> None:
    student = several({"sweep": {"train.epochs": [2, 3]}, "grid": {"distill.temperature": [1, 2]}}).student[1]
    assert [len(one.trials()) for one in student.swept()] == [2, 2]


def test_two_rows_that_would_be_called_the_same_are_refused() -> None:
    assert problem({"train": {"epochs": 6}}) == (
        "student.2x16: found two rows student 2x16 (temperature 4), expected every one once: give one another name, or "
        'name in its "variant" what tells it apart, such as ["epochs"]; '
        "student.2x16: found two rows baseline 2x16, expected every one once: give one another name, or "
        'name in its "variant" what tells it apart, such as ["epochs"]'
    )


def test_students_that_differ_in_what_is_asked_of_the_teacher_share_a_baseline() -> None:
    assert rows(several({"distill": {"temperature": 8}})).count("baseline/2x16") == 1


def test_a_baseline_of_a_teacher_that_is_refitted_is_another_one() -> None:
    teachers = tomllib.loads(SEVERAL)["teacher"]
    teachers.append({**teachers[0], "name": "refitted", "train": {"epochs": 3, "refit": True}})
    first, second = (
        {"teacher": teacher["name"], "distill": {"temperature": n + 1}} for n, teacher in enumerate(teachers)
    )
    data = tomllib.loads(SEVERAL)
    data |= {"teacher": teachers, "student": [{**STUDENT, **first}, {**STUDENT, **second}]}
    with pytest.raises(UsageError, match="found two rows baseline 2x16"):
        parse_recipe(data, "mine.toml")
    data["student"][1]["variant"] = ["teacher"]  # a baseline has none
    with pytest.raises(UsageError, match="found two rows baseline 2x16"):
        parse_recipe(data, "mine.toml")
    data["student"][1]["baseline"] = False
    parse_recipe(data, "mine.toml")


def test_any_trial_of_a_grid_may_be_the_row_that_is_shown() -> None:
    assert "found two rows student 2x16 (temperature 4)" in problem({"grid": {"distill.temperature": [2, 4]}})


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (
            {"sweep": {"distill.temprature": [1]}},
            'student.2x16.sweep."distill.temprature": no such setting, did you mean "distill.temperature"?',
        ),
        ({"sweep": {"train.epochs": []}}, 'student.2x16.sweep."train.epochs": found [], expected at least one value'),
        (
            {"sweep": {"train.epochs": [1]}, "grid": {"train.epochs": [1]}},
            'student.2x16.sweep: found "train.epochs" in both grid and sweep, expected it in one of them',
        ),
        ({"variant": ["epoch"]}, 'student.2x16.variant: no setting is named "epoch", did you mean "epochs"?'),
        (
            {"bias": ["validation"]},
            'student.2x16.bias: transfer set "all" has all classes, expected one whose select leaves some out: the '
            "biases of those are raised",
        ),
        ({"bias": ["train"]}, 'student.2x16.bias[0]: found "train", expected "validation" or "test"'),
        (
            {"distill": {"loss": "logit_matching", "targets": "smoothed_labels"}},
            'student.2x16.distill.targets: found "smoothed_labels" with the loss "logit_matching", which has no '
            'temperature to smooth for: expected "soft_targets"',
        ),
    ],
)
def test_what_does_not_fit_is_named(student: dict[str, Any], message: str) -> None:
    assert problem({"variant": ["epochs"], "train": {"epochs": 6}, **student}).split("; ")[0] == message


def test_a_reference_s_mistakes_are_named_likewise() -> None:
    reference = {"name": "2x16", "transfer": "all", "model": STUDENT["model"], "train": {"epochs": 5}}
    assert problem(reference=[{**reference, "transfer": "al"}]) == (
        'reference.2x16.transfer: no transfer is named "al", did you mean "all"?'
    )
    assert problem(reference=[{**reference, "sweep": {"distill.temperature": [1]}}]) == (
        'reference.2x16.sweep."distill.temperature": no such setting, expected a setting of train, model, such as '
        '"train.epochs"'
    )
    assert "found two rows reference 2x16" in problem(reference=[reference, {**reference, "train": {"epochs": 6}}])


def claim(**given: Any) -> dict[str, Any]:
    return {"text": "A claim", "row": {"name": "2x16"}, **given}


def test_a_claim_about_a_row_that_there_is_not_is_refused() -> None:
    several(claim=[claim(row={"role": "teacher", "name": "convnet"})])
    assert problem(claim=[claim(), claim(row={"name": "2x16", "temperature": 5})]) == (
        'claim[1].row: no row fits { name = "2x16", temperature = 5 }, there are student 2x16 (temperature 4): '
        "mend it, or leave the claims out by --set claim=[]"
    )
    assert problem(claim=[claim(minus={"name": "2x17"})]) == (
        'claim[0].minus: no row fits { name = "2x17" }, there are student 2x16 (temperature 4), baseline 2x16, '
        "teacher convnet: mend it, or leave the claims out by --set claim=[]"
    )
    widths = {"model.widths": [[n] for n in range(1, 11)]}
    assert problem({"sweep": widths}, claim=[claim(row={"name": "2x16", "epochs": 9})]).endswith(
        "student 2x16 (temperature 4, widths 7) and 3 more: mend it, or leave the claims out by --set claim=[]"
    )
    refitted = {"train": {"epochs": 5, "refit": True}, "transfer": "no3"}
    several(refitted, claim=[claim(row={"role": "teacher", "name": "convnet", "refit": False})])


def test_a_claim_shows_one_number() -> None:
    two = claim(minus={"name": "2x16"}, best="temperature")
    assert problem(claim=[two]) == 'claim[0]: found both of "minus" and "best", expected one of them'


def test_a_claim_shows_a_number_that_rows_can_have() -> None:
    assert set(NUMBERS) < set(ROW_FIELDS)
    without = {"transfer": "no3", "bias": ["test"]}
    there = [claim(row={"name": "2x16", "without": [3]}, show="errors_on_3"), claim(show="nll"),
             claim(row={"name": "2x16", "bias": "test"}, show="bias_raised")]  # fmt: skip
    several(without, claim=there)
    for show in ("errors_on_3", "steps", "bias_raised"):
        assert problem(without, claim=[claim(show=show)]) == (
            f"claim[0].row: student 2x16 (temperature 4) will have no {show}"
        )
    for show in ("validation_errors", "errors_above_fewest"):
        wanted = claim(row={"role": "baseline", "name": "other"}, show=show)
        several({"name": "other", "train": {"epochs": 5, "snapshot_every": 1}}, claim=[wanted])
        refitted = {"name": "other", "train": {"epochs": 5, "refit": True}}
        assert f"will have no {show}" in problem(refitted, claim=[wanted])
    on_test = claim(row={"name": "2x16", "bias": "test"}, show="p_value")
    assert "will have no p_value" in problem(without, claim=[on_test])
    assert "will have no p_value" in problem(
        {"name": "other", "baseline": False}, claim=[claim(row={"name": "other"}, show="p_value")]
    )
    assert "will have no agreement" in problem(
        claim=[claim(row={"role": "teacher", "name": "convnet"}, show="agreement")]
    )
    depths = [{"name": "linear", "depths": [1, 2], "learning_rates": [0.1]}]
    of_depth = {"role": "reference", "name": "linear", "depth": 2}
    several(regression=depths, claim=[claim(row=of_depth, show="steps")])
    assert problem(regression=depths, claim=[claim(row=of_depth)]) == (
        "claim[0].row: reference linear (depth 2, power 4) will have no errors"
    )
    assert problem(claim=[claim(show="eror")]) == (
        'claim[0].show: no row has a number named "eror", did you mean "errors"?'
    )
    assert "there are errors, accuracy, nll" in problem(claim=[claim(show="x")])


def test_a_setting_that_is_best_is_one_that_rows_differ_in() -> None:
    sweep = {"sweep": {"distill.temperature": [1, 2]}, "variant": ["epochs"]}
    several(sweep, claim=[claim(best="temperature")])
    assert problem(sweep, claim=[claim(best="temprature")]) == (
        'claim[0].best: rows that fit do not differ in "temprature", did you mean "temperature"?'
    )
    assert problem(claim=[claim(best="widths")]) == (
        'claim[0].best: rows that fit do not differ in "widths", there are temperature'
    )


def test_a_claim_without_a_row_or_with_what_it_does_not_use_is_refused() -> None:
    assert problem(claim=[claim(row={})]) == (
        'claim[0].row: found {}, expected a table that says which row, such as { name = "2x16" }'
    )
    assert "claim[0].minus: found {}" in problem(claim=[claim(minus={})])
    assert "claim[0].gap[1]: found {}" in problem(claim=[claim(gap=[{"name": "2x16"}, {}])])
    ends = [{"role": "baseline", "name": "2x16"}, {"role": "teacher", "name": "convnet"}]
    several(claim=[claim(gap=ends)])
    assert 'claim[0].show: found "nll" beside "gap"' in problem(claim=[claim(gap=ends, show="nll")])
    for key in ("paper", "goal"):
        assert problem(claim=[claim(**{key: "a\nb"})]) == f'claim[0].{key}: found "a\\nb", expected one line of text'
    assert problem(claim=[claim(paper=True)]) == "claim[0].paper: found true, expected a number or a string"
    assert problem(claim=[claim(paper=math.inf)]) == "claim[0].paper: found inf, expected a finite number, or a string"


def test_no_row_is_told_apart_by_a_refit_or_by_what_is_kept_of_it() -> None:
    assert problem({"grid": {"train.refit": [True, False]}}) == (
        'student.2x16.grid."train.refit": no setting to try values of: it is its teacher\'s matter as well; leave it out'
    )
    assert 'sweep."train.snapshot_every": no setting' in problem({"sweep": {"train.snapshot_every": [1, 2]}})
    assert 'found "refit", which tells no rows apart' in problem({"variant": ["refit"], "name": "other"})


def test_a_setting_that_is_not_given_is_no_part_of_a_rows_name() -> None:
    assert "student/other-dropout=0,temperature=4" in rows(
        several({"name": "other", "variant": ["dropout", "max_norm"]})
    )


def test_a_claim_names_classes_in_any_order_as_numbers_or_words() -> None:
    sets = [{"name": "all"}, {"name": "some", "select": {"only": [7, "8"]}}]
    for classes in ([7, 8], ["8", "7"], [8, 7]):
        several({"transfer": "some"}, transfer=sets, claim=[claim(row={"name": "2x16", "only": classes})])
    assert "no row fits" in problem(
        {"transfer": "some"}, transfer=sets, claim=[claim(row={"name": "2x16", "only": [7]})]
    )


def test_values_that_differ_little_are_told_apart() -> None:
    several({"sweep": {"train.learning_rate": [0.001, 0.0010000001]}})


def test_what_is_wrong_beside_a_sweep_is_no_fault_of_the_sweep() -> None:
    swept = {"sweep": {"distill.temperature": [1, 2]}, "variant": ["model.widths"]}
    assert problem(swept).startswith('student.2x16.variant: no setting is named "model.widths"')


def test_many_classes_are_named_in_words_by_the_first() -> None:
    assert variant_text({"without": [0, 3, *range(10, 50)]}) == "without 0, 3, 10 and 39 more"
    assert variant_text({"widths": [300, 300]}) == "widths 300 and 300"


def test_classes_are_left_out_once() -> None:
    twice = [{"name": "all"}, {"name": "no3", "select": {"without": [3, 3]}}]
    assert problem(transfer=twice) == "transfer.no3.select.without: found [3, 3], expected every class once"


def test_words_and_claims_make_no_difference_to_a_run() -> None:
    from limbeck.recipe import first_difference, settings_key

    assert settings_key(several()) == settings_key(several(claim=[claim()]))
    assert first_difference(several(), several(claim=[claim()])) is None


def test_the_rows_of_the_hinton2015_recipe_have_their_names() -> None:
    found = rows(load_recipe("hinton2015"))
    assert [row for row in found if row.startswith("student/2x800") and "epochs" not in row] == [
        "student/2x800-temperature=20",
        "student/2x800-temperature=10,views=10",
        "student/2x800-temperature=20,without=3",
        "student/2x800-bias=validation,temperature=20,without=3",
        "student/2x800-bias=test,temperature=20,without=3",
        "student/2x800-only=7+8,temperature=20",
        "student/2x800-bias=validation,only=7+8,temperature=20",
        "student/2x800-bias=test,only=7+8,temperature=20",
    ]
    for name in ("2x800-epochs=20,", "2x300-", "2x30-"):
        assert [row for row in found if row.startswith(f"student/{name}temperature=")] == [
            f"student/{name}temperature={temperature}" for temperature in ("1", "2.5", "4", "8", "20")
        ]
