"""Several teachers, students that teach, rows without labels, as a recipe says them: every refusal word for word."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest

from limbeck.errors import UsageError
from limbeck.recipe import Recipe, dump_recipe, parse_recipe

MLP = {"kind": "mlp", "widths": [8]}
TRAIN = {"epochs": 2}
ONE = {"name": "t", "model": MLP, "train": TRAIN}
TWO = ({**ONE, "name": "a"}, {**ONE, "name": "b"})
STUDENT = {"name": "small", "teacher": "t", "model": MLP, "train": TRAIN}


def recipe(*teachers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A small recipe with these teachers; `more` are sections, and `student` is a list or what the one is to have."""
    students = more.pop("student", {})
    students = students if isinstance(students, list) else [{**STUDENT, **students}]
    return {"title": "x", "data": {"source": "digits"}, "teacher": list(teachers), "student": students, **more}


def read(*teachers: dict[str, Any], **more: Any) -> Recipe:
    return parse_recipe(recipe(*teachers, **more), "mine.toml")


def problem(*teachers: dict[str, Any], **more: Any) -> str:
    with pytest.raises(UsageError) as error:
        read(*teachers, **more)
    assert error.value.exit_code == 2
    return str(error.value).removeprefix("mine.toml: ")


def one(**keys: Any) -> str:
    return problem({**ONE, **keys})


def mean(**keys: Any) -> str:
    return problem(*TWO, {"name": "t", "of": ["a", "b"], **keys})


def several(**keys: Any) -> dict[str, Any]:
    return {**ONE, "members": 4, **keys}


# ---------------------------------------------------------------- members and means


def test_what_is_written_comes_back() -> None:
    given = read(
        several(bootstrap=True, member_name="single", mean="logits", weights=[1, 0.5, 0, 2]),
        {**ONE, "name": "other", "members": 2, "weights": "fitted"},
        {"name": "next", "student": "small"},
        {"name": "m", "of": ["next", "first"], "weights": "equal"},
        {**ONE, "name": "first"},
        data={"source": "digits", "labels": 100},
        transfer=[
            {"name": "all"},
            {"name": "more", "parts": ["unlabelled", "file:more.npz"], "confidence": {"least": 0.5, "weight": True}},
        ],
        student={"transfer": "all", "distill": {"members": 2}, "train": {"epochs": 2, "passes": 3}},
    )
    assert parse_recipe(tomllib.loads(dump_recipe(given)), "written.toml") == given


def test_members_are_called_after_their_teacher_where_no_name_is_given() -> None:
    (teacher,) = read(several()).teacher
    assert teacher.called == "t-single"
    (teacher,) = read(several(member_name="single")).teacher
    assert teacher.called == "single"


def test_members_are_counted_and_a_mean_has_those_of_its_teachers() -> None:
    recipe = read(*TWO, several(), {"name": "m", "of": ["a", "b"]}, {"name": "n", "of": ["t", "a"]})
    assert [recipe.member_count(name) for name in ("a", "t", "m", "n")] == [1, 4, 2, 5]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"members": 1}, "teacher.t.members: found 1, expected 2 or more"),
        ({"members": 1001}, "teacher.t.members: found 1001, expected 1000 or less"),
        ({"bootstrap": True}, "teacher.t.bootstrap: expected it with members alone: it is about what they are"),
        ({"member_name": "one"}, "teacher.t.member_name: expected it with members alone: it is about what they are"),
        ({"mean": "logits"}, 'teacher.t.mean: expected it with "members" or "of" alone: one teacher has no mean'),
        ({"weights": "equal"}, 'teacher.t.weights: expected it with "members" or "of" alone: one teacher has no mean'),
        ({"members": 2, "mean": "median"}, 'teacher.t.mean: found "median", expected "probabilities" or "logits"'),
        (
            {"members": 2, "member_name": "T"},
            'teacher.t.member_name: found "T", expected another name than the teacher\'s',
        ),
        ({"members": 3, "weights": [1, 1]}, "teacher.t.weights: found 2, expected 3: one for each member"),
        ({"student": "small"}, 'teacher.t: found both of "model" and "student", expected one of them'),
    ],
)
def test_what_a_teacher_of_one_kind_does_not_take_is_refused(keys: dict[str, Any], message: str) -> None:
    assert one(**keys) == message


@pytest.mark.parametrize(
    "weights", ["best", 3, [1], [1, -1], [0, 0], [1, True], [1, "2"], [1, math.nan], [1, math.inf], True]
)
def test_weights_are_words_or_numbers_of_which_one_counts(weights: object) -> None:
    assert one(members=2, weights=weights).endswith(
        ', expected "equal", "fitted", or a list of numbers of 0 or more, one for each member, some above 0'
    )


def test_a_weight_below_0_is_shown() -> None:
    assert one(members=2, weights=[1, -1]) == (
        'teacher.t.weights: found [1, -1], expected "equal", "fitted", or a list of numbers of 0 or more, one for each '
        "member, some above 0"
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"members": 2}, 'teacher.t.members: not with "of": its teachers are the members'),
        ({"bootstrap": True}, "teacher.t.bootstrap: expected it with members alone: it is about what they are"),
        ({"member_name": "x"}, "teacher.t.member_name: expected it with members alone: it is about what they are"),
        ({"weights": [1, 1, 1]}, "teacher.t.weights: found 3, expected 2: one for each member"),
    ],
)
def test_what_a_mean_of_several_does_not_take_is_refused(keys: dict[str, Any], message: str) -> None:
    assert mean(**keys) == message


def test_a_teacher_that_exists_has_no_members() -> None:
    assert problem({"name": "t", "from": "x", "members": 2}) == (
        'teacher.t.members: not with "from": it is trained already'
    )


def test_a_mean_of_a_mean_of_teachers_is_refused() -> None:
    assert problem(*TWO, {"name": "m", "of": ["a", "b"]}, {"name": "t", "of": ["m", "a"]}) == (
        'teacher.t.of: "m" is a mean itself, expected those that it is of'
    )


def test_a_mean_of_one_teacher_alone_is_refused() -> None:
    assert problem(*TWO, {"name": "t", "of": ["a"]}) == (
        'teacher.t.of: found ["a"], expected two teachers or more, or one with members'
    )


def test_weights_of_a_mean_are_as_many_as_its_teachers_members() -> None:
    mean = {"name": "m", "of": ["t", "a"], "weights": [1, 1]}
    assert problem(*TWO, several(), mean) == "teacher.m.weights: found 2, expected 5: one for each member"


def test_members_are_called_as_no_reference_or_regression_is() -> None:
    reference = {"name": "Single", "model": MLP, "train": TRAIN}
    assert problem(several(member_name="single"), reference=[reference]) == (
        'teacher.t.member_name: found "single", and a reference is named "Single", too: expected another name'
    )
    regression = {"name": "t-single", "depths": [1], "learning_rates": [0.1]}
    assert problem(several(), regression=[regression]) == (
        'teacher.t.member_name: found "t-single", and a reference is named "t-single", too: expected another name'
    )


def test_members_are_called_as_no_others_members_are() -> None:
    assert problem(several(member_name="one"), {**ONE, "name": "u", "members": 2, "member_name": "One"}) == (
        'teacher.u.member_name: found "One", and members of "t" are named "one", too: expected another name'
    )


def test_rows_of_an_ensemble_are_its_members_then_itself_then_the_first_so_many() -> None:
    found = read(
        several(member_name="single"),
        student=[{**STUDENT, "variant": ["members"]}, {**STUDENT, "sweep": {"distill.members": [1, 2, 4]}}],
    )
    shown = [(row.role, row.name, row.variant) for row in found.rows() if row.role in ("reference", "teacher")]
    assert shown == [
        *(("reference", "single", {"member": number}) for number in (1, 2, 3, 4)),
        ("teacher", "t", {}),
        ("teacher", "t", {"members": 1}),
        ("teacher", "t", {"members": 2}),
    ]
    assert found.members_asked("t") == [1, 2]  # all four are the teacher itself


def test_an_ensemble_has_no_epoch_of_its_own_and_its_members_have() -> None:
    rows = {row.id: row for row in read(several(member_name="single")).rows()}
    assert rows["reference/single-member=1"].judged
    assert not rows["teacher/t"].judged


# ---------------------------------------------------------------- students of some members


@pytest.mark.parametrize(
    ("teachers", "members", "message"),
    [
        ([ONE], 1, '"t" is one, expected a teacher with members, or the mean of several'),
        ([{"name": "t", "from": "x"}], 2, '"t" is given, expected a teacher that is made here, with members'),
        ([several()], 5, 'found 5, expected at most the 4 of "t"'),
        ([*TWO, {"name": "t", "of": ["a", "b"]}], 3, 'found 3, expected at most the 2 of "t"'),
        ([several(weights=[0, 0, 1, 1])], 2, 'the first 2 members of "t" have no weight, expected more'),
    ],
)
def test_a_student_learns_from_members_that_there_are(
    teachers: list[dict[str, Any]], members: int, message: str
) -> None:
    found = problem(*teachers, student={"distill": {"members": members}})
    assert found == f"student.small.distill.members: {message}"


def test_members_of_a_sweep_and_of_a_grid_are_checked_too() -> None:
    for key in ("sweep", "grid"):
        assert problem(several(), student={key: {"distill.members": [2, 9]}}) == (
            'student.small.distill.members: found 9, expected at most the 4 of "t"'
        )


def test_students_of_different_members_share_a_baseline_and_are_told_apart() -> None:
    found = read(several(), student=[STUDENT, {**STUDENT, "distill": {"members": 2}}])
    assert [row.id for row in found.rows() if row.role in ("student", "baseline")] == [
        "student/small-temperature=4",
        "baseline/small",
        "student/small-members=2,temperature=4",
        "baseline/small",
    ]


# ---------------------------------------------------------------- students that teach


def generation(number: int, **keys: Any) -> dict[str, Any]:
    return {"name": f"t{number}", "student": f"s{number}", **keys}


def born_again(*students: dict[str, Any]) -> list[dict[str, Any]]:
    """Students s1, s2, …, each of the teacher before: t, t1, …"""
    names = ["t", *(f"t{number + 1}" for number in range(len(students)))]
    return [
        {**STUDENT, "name": f"s{number}", "teacher": names[number - 1], **student}
        for number, student in enumerate(students, 1)
    ]


def test_a_student_teaches_and_so_does_its_student() -> None:
    found = read(ONE, generation(1), generation(2), student=born_again({}, {}, {}))
    assert [teacher.student for teacher in found.teacher] == [None, "s1", "s2"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train": TRAIN}, 'teacher.t1.train: not with "student", which is trained as it says'),
        ({"views": {"rotate": 5}}, 'teacher.t1.views: not with "student", which is trained as it says'),
        ({"folds": 2}, 'teacher.t1.folds: not with "student", which is trained as it says'),
        ({"members": 2}, 'teacher.t1.members: not with "student": it is one'),
        ({"trust": ["x.Y"]}, 'teacher.t1.trust: expected it with "from" alone: it is about types in a skops file'),
        ({"from": "x"}, 'teacher.t1: found both of "from" and "student", expected one of them'),
    ],
)
def test_what_a_student_that_teaches_does_not_take_is_refused(keys: dict[str, Any], message: str) -> None:
    assert problem(ONE, generation(1, **keys), student=born_again({})) == message


def test_a_student_that_teaches_is_one_that_there_is() -> None:
    assert problem(ONE, {"name": "t1", "student": "s"}, student=born_again({})) == (
        'teacher.t1.student: no student is named "s", did you mean "s1"?'
    )


def test_a_name_that_several_students_have_teaches_nothing() -> None:
    students = [*born_again({}), {**STUDENT, "name": "s1", "distill": {"temperature": 8}}]
    assert problem(ONE, generation(1), student=students) == (
        'teacher.t1.student: found 2 students named "s1", expected one: rename others'
    )


@pytest.mark.parametrize("key", ["grid", "sweep"])
def test_a_student_of_several_settings_teaches_nothing(key: str) -> None:
    students = born_again({key: {"distill.temperature": [2, 4]}})
    assert problem(ONE, generation(1), student=students) == (
        f'teacher.t1.student: "s1" has a {key}, expected a student of one setting'
    )


def test_a_student_that_teaches_itself_is_refused() -> None:
    assert problem(ONE, generation(1), student=[{**STUDENT, "name": "s1", "teacher": "t1"}]) == (
        'teacher.t1.student: "t1" would be taught by itself, expected a student of another teacher'
    )


def test_students_that_teach_each_other_are_refused() -> None:
    students = [{**STUDENT, "name": "s1", "teacher": "t2"}, {**STUDENT, "name": "s2", "teacher": "t1"}]
    assert problem(ONE, generation(1), generation(2), student=students) == "; ".join(
        f'teacher.t{number}.student: "t{number}" would be taught by itself, expected a student of another teacher'
        for number in (1, 2)
    )


def test_a_student_that_teaches_its_teacher_by_way_of_a_mean_is_refused() -> None:
    students = [{**STUDENT, "name": "s1", "teacher": "m"}]
    assert problem(ONE, generation(1), {"name": "m", "of": ["t", "t1"]}, student=students) == (
        'teacher.t1.student: "t1" would be taught by itself, expected a student of another teacher'
    )


def test_a_teacher_whose_student_is_refitted_is_refitted_with_all_before_it() -> None:
    found = read(ONE, generation(1), student=born_again({}, {"train": {"epochs": 2, "refit": True}}))
    assert found.teacher_refits("t1") == {True}
    assert not found.teaches_refitted("t")
    found = read(ONE, generation(1), student=born_again({"train": {"epochs": 2, "refit": True}}, {}))
    assert found.teaches_refitted("t1")
    assert found.teacher_refits("t1") == {True}


# ---------------------------------------------------------------- rows without labels


def test_with_labels_plain_training_rows_become_two_parts() -> None:
    found = read(
        ONE,
        data={"source": "digits", "labels": 100},
        transfer=[{"name": "plain"}, {"name": "named", "parts": ["train"]}, {"name": "few", "parts": ["labelled"]}],
        student={"transfer": "plain"},
    )
    both = ["labelled", "unlabelled"]
    assert [transfer.parts for transfer in found.transfer] == [both, both, ["labelled"]]
    assert read(ONE, data={"source": "digits", "labels": 0.1}).transfer[0].parts == both
    assert read(ONE).transfer[0].parts == ["train"]


@pytest.mark.parametrize("labels", [0, 1.0, -3, True, "600", [600]])
def test_labels_are_some_rows_or_a_fraction(labels: object) -> None:
    message = problem(ONE, data={"source": "digits", "labels": labels})
    assert message.endswith("expected rows (1 or more) or a fraction of them (between 0 and 1)")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"parts": []}, "transfer.x.parts: found [], expected a list of 1 or more"),
        ({"parts": ["labeled"]}, 'transfer.x.parts: no part is named "labeled", did you mean "labelled"?'),
        (
            {"parts": ["more.npz"]},
            'transfer.x.parts: no part is named "more.npz", there are train, labelled, unlabelled and "file:PATH"',
        ),
        ({"parts": ["file:"]}, 'transfer.x.parts: found "file:" without a path, expected "file:PATH"'),
        ({"parts": ["train", "train"]}, 'transfer.x.parts: found ["train", "train"], expected every part once'),
        (
            {"parts": ["train", "unlabelled"]},
            'transfer.x.parts: found ["train", "unlabelled"], expected no other rows of the data beside "train", which '
            "is all of them",
        ),
        (
            {"parts": ["train", "file:a.csv"], "views": {"count": 1, "rows": "munge"}},
            "transfer.x.parts: found 2 parts with synthetic rows in views, expected one: rows are made from their "
            "neighbours in one part",
        ),
        (
            {"confidence": {}},
            'transfer.x.confidence: found neither "least" nor "weight = true", expected one of them, or no confidence',
        ),
        ({"confidence": {"least": 0}}, "transfer.x.confidence.least: found 0, expected a number above 0"),
        ({"confidence": {"least": 1.5}}, "transfer.x.confidence.least: found 1.5, expected 1 or less"),
    ],
)
def test_a_transfer_set_s_mistakes_are_named(keys: dict[str, Any], message: str) -> None:
    assert problem(ONE, transfer=[{"name": "x", **keys}]) == message


def test_a_file_may_stand_beside_any_rows_of_the_data() -> None:
    for parts in (["train", "file:a.npz"], ["file:a.npz", "file:b.npz"], ["unlabelled", "labelled", "file:a.npz"]):
        assert read(ONE, transfer=[{"name": "x", "parts": parts}]).transfer[0].parts == parts


def test_a_student_of_rows_without_labels_learns_from_its_teacher() -> None:
    parts = [{"name": "x", "parts": ["labelled", "unlabelled"]}]
    assert problem(ONE, transfer=parts, student={"distill": {"soft": 0, "hard": 1}}) == (
        'student.small.distill.soft: found 0, expected more: rows of "x" have no labels'
    )
    labelled = [{"name": "x", "parts": ["labelled"]}]
    read(ONE, transfer=labelled, student={"distill": {"soft": 0, "hard": 1}})


def test_a_student_of_rows_without_labels_has_no_smoothed_ones() -> None:
    parts = [{"name": "x", "parts": ["labelled", "unlabelled"]}]
    found = problem(ONE, transfer=parts, student={"distill": {"targets": "smoothed_labels"}})
    assert found == (
        'student.small.distill.targets: found "smoothed_labels", expected others: rows of "x" have no labels'
    )


def test_a_row_says_that_it_saw_rows_without_labels_where_its_variant_asks_for_it() -> None:
    sets = [{"name": "few", "parts": ["labelled"]}, {"name": "more", "parts": ["labelled", "unlabelled"]}]
    students = [{**STUDENT, "transfer": name, "variant": ["unlabelled"]} for name in ("more", "few")]
    found = read(ONE, transfer=sets, student=students)
    assert [row.id for row in found.rows() if row.role in ("student", "baseline")] == [
        "student/small-temperature=4,unlabelled=true",
        "baseline/small-unlabelled=true",
        "student/small-temperature=4,unlabelled=false",
        "baseline/small-unlabelled=false",
    ]


def test_baselines_that_see_as_many_rows_as_different_students_are_different_rows() -> None:
    sets = [{"name": "few", "parts": ["labelled"]}, {"name": "more", "parts": ["labelled", "unlabelled"]}]
    students = [
        {**STUDENT, "transfer": "few"},
        {**STUDENT, "transfer": "more", "distill": {"temperature": 8}},
    ]
    assert problem(ONE, transfer=sets, student=students) == (
        "student.small: found two rows baseline small, expected every one once: give one another name, or "
        'name in its "variant" what tells it apart, such as ["epochs"]'
    )


# ---------------------------------------------------------------- passes


@pytest.mark.parametrize(
    ("passes", "message"),
    [(0, "found 0, expected 1 or more"), (1.5, "found 1.5, expected a whole number")],
)
def test_passes_are_a_count(passes: object, message: str) -> None:
    assert problem({**ONE, "train": {"epochs": 1, "passes": passes}}) == f"teacher.t.train.passes: {message}"


# ---------------------------------------------------------------- members that could not differ, or know their rows


@pytest.mark.parametrize("kind", ["gradient-boosting", "lightgbm"])
def test_members_that_draw_nothing_at_random_would_be_the_same(kind: str) -> None:
    teacher = {"name": "t", "model": {"kind": kind}, "members": 2}
    assert problem(teacher) == (
        f"teacher.t.members: a {kind} is the same with every seed: set bootstrap = true, or folds"
    )
    read({**teacher, "bootstrap": True})
    read({**teacher, "folds": 3})


def test_a_forest_whose_trees_draw_rows_has_no_bootstrap() -> None:
    # Of a row that was drawn twice, a tree that left one out may have seen the other.
    teacher = {"name": "t", "model": {"kind": "random-forest"}, "members": 2}
    assert problem({**teacher, "bootstrap": True}) == (
        "teacher.t.bootstrap: a random-forest draws rows for each of its trees: leave it out, or set folds"
    )
    read(teacher)
    read({**teacher, "bootstrap": True, "folds": 3})


def test_rows_are_not_weighed_for_a_model_that_is_fitted_at_once() -> None:
    sets = [{"name": "x", "parts": ["labelled", "unlabelled"], "confidence": {"weight": True}}]
    tree = {"name": "tree", "teacher": "t", "model": {"kind": "sklearn-tree"}}
    assert problem(ONE, transfer=sets, student=[tree]) == (
        'student.tree.transfer: "x" has confidence.weight, expected one without: to a sklearn-tree all rows count alike'
    )
    read(ONE, transfer=[{**sets[0], "confidence": {"least": 0.5}}], student=[tree])
