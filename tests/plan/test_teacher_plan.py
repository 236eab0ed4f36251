"""Teachers that are several, or students: which stages they are, and what enters their keys."""

import numpy as np
import pytest

from limbeck.artifacts import Identity
from limbeck.data import load_dataset
from limbeck.errors import UsageError
from limbeck.plan.planner import Planner
from limbeck.plan.teacher_plan import member_seed
from limbeck.recipe import parse_recipe

MLP = {"kind": "mlp", "widths": [8]}
FOREST = {"kind": "random-forest", "trees": 5}
TRAIN = {"epochs": 2}
ONE = {"name": "t", "model": MLP, "train": TRAIN}
STUDENT = {"name": "small", "teacher": "t", "model": MLP, "train": TRAIN}


@pytest.fixture(scope="module")
def split():
    return load_dataset("digits").split(validation=200, test=0.25)


@pytest.fixture
def planned(split):
    """A function: the plan of a recipe with these teachers; `student` is what the student has, or all of them."""

    def plan(*teachers, student=(), seed=0, split=split, **more):
        students = student if isinstance(student, list) else [{**STUDENT, **dict(student)}]
        data = {"title": "x", "data": {"source": "digits"}, "teacher": list(teachers), "student": students, **more}
        return Planner(parse_recipe(data, "mine.toml"), split, seed)

    return plan


def shown(planner, name="t", **variant):
    """The stage of a teacher."""
    (found,) = (stage for stage in planner.teachers() if stage.name == name and stage.variant == variant)
    return found


def keys(stages):
    return [stage.identity.key for stage in stages]


def several(**keys):
    return {**ONE, "members": 4, **keys}


# ---------------------------------------------------------------- members


def test_the_first_member_is_what_a_lone_teacher_is(planned):
    (alone,) = planned(ONE, seed=3).teachers()
    first = shown(planned(several(), seed=3)).members[0]
    assert first.identity == alone.identity
    assert first.seed == 3


def test_members_are_rows_among_the_references(planned):
    members = planned(several(member_name="single")).members()
    assert [stage.id for stage in members] == [f"reference/single-member={number}" for number in (1, 2, 3, 4)]
    assert [stage.identity.kind for stage in members] == ["teacher"] * 4
    assert planned(ONE).members() == []


def test_teachers_of_a_mean_are_teachers_and_no_references(planned):
    plan = planned(
        {**ONE, "name": "a"}, {**ONE, "name": "b", "model": FOREST, "train": None}, {"name": "t", "of": ["a", "b"]}
    )
    assert [stage.id for stage in plan.teachers()] == ["teacher/a", "teacher/b", "teacher/t"]
    assert plan.members() == []


def test_an_eleventh_member_adds_one_and_keeps_the_others(planned):
    ten, eleven = (keys(shown(planned(several(members=count))).members) for count in (10, 11))
    assert eleven[:10] == ten
    assert len(set(eleven)) == 11
    recorded = [
        {recording.identity.key for recording in planned(several(members=count)).students()[0].trials[0].recordings}
        for count in (10, 11)
    ]
    assert len(recorded[1] - recorded[0]) == 1
    assert recorded[0] < recorded[1]


def test_seeds_of_members_do_not_meet_those_of_other_runs():
    seeds = [member_seed(seed, number) for seed in range(50) for number in range(1, 31)]
    assert len(set(seeds)) == len(seeds)
    assert [member_seed(seed, 1) for seed in (0, 7)] == [0, 7]
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_seed_of_a_member_keeps_its_value():
    assert [member_seed(0, number) for number in (2, 3)] == [1853341657, 345962250]


@pytest.mark.parametrize("model", [{"model": MLP, "train": TRAIN}, {"model": FOREST}])
def test_members_of_any_kind_differ_in_their_seed_alone(planned, model):
    members = shown(planned({"name": "t", "members": 3, **model})).members
    assert len({stage.seed for stage in members}) == 3
    first = members[0].identity
    for stage in members:
        assert stage.identity == Identity(first.kind, first.version, first.settings, first.inputs, stage.seed)


def test_names_of_members_enter_no_key(planned):
    assert shown(planned(several(member_name="single"))).identity == shown(planned(several())).identity


def test_views_of_a_teacher_are_its_members_own(planned):
    members = shown(planned(several(views={"rotate": 5}))).members
    assert [stage.fresh_views.rotate for stage in members] == [5] * 4


# ---------------------------------------------------------------- bootstrap


@pytest.mark.parametrize("model", [{"model": MLP, "train": TRAIN}, {"model": FOREST, "folds": 3}])
def test_a_bootstrap_moves_the_keys_of_all_members(planned, model):
    plain, drawn = (
        keys(shown(planned({"name": "t", "members": 3, **model, **more})).members) for more in ({}, {"bootstrap": True})
    )
    assert not set(plain) & set(drawn)


def test_a_bootstrap_is_of_as_many_rows_drawn_with_replacement(planned, split):
    members = shown(planned(several(bootstrap=True))).members
    for stage in members:
        assert len(stage.selected) == len(split.train)
        assert (np.diff(stage.selected) >= 0).all()
        # Of n rows drawn from n, a share of 1 - 1/e is there.
        assert len(set(stage.selected)) / len(split.train) == pytest.approx(1 - 1 / np.e, abs=0.04)
        assert stage.rows.train is split.train
    assert len({stage.selected.tobytes() for stage in members}) == 4


def test_an_estimator_s_bootstrap_is_of_rows_of_its_own(planned, split):
    members = shown(planned({"name": "t", "model": FOREST, "members": 2, "bootstrap": True, "folds": 3})).members
    first, second = (stage.rows.train.ids for stage in members)
    assert len(first) == len(second) == len(split.train)
    assert set(first) != set(second)


def test_no_bootstrap_is_no_setting(planned):
    assert shown(planned(several(bootstrap=False))).identity == shown(planned(several())).identity


# ---------------------------------------------------------------- means


def test_a_plain_mean_s_key_is_as_it_was(planned):
    stage = shown(planned(several()))
    for found in (stage, shown(planned(several(mean="probabilities", weights="equal")))):
        assert found.identity == Identity(
            kind="teacher", version=1, settings={"mean": "probabilities"}, inputs={"members": keys(stage.members)}
        )
        assert found.combination.is_plain


@pytest.mark.parametrize(
    ("keys_", "settings"),
    [
        ({"mean": "logits"}, {"mean": "logits"}),
        ({"weights": [1, 2, 3, 4]}, {"mean": "probabilities", "weights": [0.1, 0.2, 0.3, 0.4]}),
        ({"mean": "logits", "weights": [0, 0, 0, 1]}, {"mean": "logits", "weights": [0.0, 0.0, 0.0, 1.0]}),
    ],
)
def test_mean_and_weights_enter_the_mean_s_key_and_no_member_s(planned, keys_, settings):
    plain, stage = shown(planned(several())), shown(planned(several(**keys_)))
    assert keys(stage.members) == keys(plain.members)
    assert stage.identity.settings == settings
    assert not stage.combination.is_plain


def test_how_teachers_become_one_enters_their_students_keys_and_no_knowledge_s(planned):
    plans = [
        planned(several(**how)) for how in ({}, {"mean": "logits"}, {"weights": [1, 2, 3, 4]}, {"weights": "fitted"})
    ]
    trials = [plan.students()[0].trials[0] for plan in plans]
    assert len(set(keys(trials))) == 4
    assert len({tuple(recording.identity.key for recording in trial.recordings) for trial in trials}) == 1
    baselines = [plan.students()[0].baselines[0] for plan in plans]
    assert len(set(keys(baselines))) == 1


def test_fitted_weights_have_the_validation_rows_in_their_key(planned, split):
    stage = shown(planned(several(weights="fitted")))
    assert stage.combination.fitted
    assert stage.combination.judge is None
    assert stage.identity.settings == {"mean": "probabilities", "fitted": 1}
    assert stage.identity.inputs == {
        "members": keys(stage.members),
        "validation": split.validation.inputs_hash,
        "validation_labels": split.validation.labels_hash,
    }


def test_weights_of_refitted_teachers_are_fitted_to_the_same_ones_of_the_split(planned, split):
    refitted = shown(planned(several(weights="fitted", train={"epochs": 2, "refit": True})))
    assert all(stage.rows.refit for stage in refitted.members)
    judge = refitted.combination.judge
    assert not any(stage.rows.refit for stage in judge.members)
    assert judge.identity == shown(planned(several(weights="fitted"))).identity
    assert refitted.identity.inputs["judge"] == judge.identity.key
    assert refitted.identity.inputs["validation"] == split.validation.inputs_hash
    needed = keys(refitted.needs)
    assert set(keys(judge.members)) < set(needed)
    assert judge.identity.key in needed


def test_weights_that_are_not_fitted_need_no_judge(planned):
    refitted = shown(planned(several(weights=[1, 2, 3, 4], train={"epochs": 2, "refit": True})))
    assert refitted.combination.judge is None
    assert keys(refitted.needs) == keys(refitted.members)


def test_a_mean_of_two_that_are_the_same_is_refused(planned):
    with pytest.raises(UsageError) as error:
        planned({**ONE, "name": "a"}, {**ONE, "name": "b"}, {"name": "t", "of": ["a", "b"]}).teachers()
    assert str(error.value) == (
        'teacher.t.of: "a" and "b" are the same model, with the same settings and seed: change one, or leave it out'
    )


# ---------------------------------------------------------------- the first so many


def test_students_of_some_members_learn_from_the_first(planned):
    plan = planned(several(), student=[STUDENT, {**STUDENT, "distill": {"members": 2}}])
    whole, some = (student.trials[0] for student in plan.students())
    assert keys(some.teacher.members) == keys(whole.teacher.members)[:2]
    assert keys([stage for stage, _ in some.recorded()]) == keys(some.teacher.members)
    assert some.identity.key != whole.identity.key
    assert (some.variant, whole.variant) == ({"members": 2, "temperature": 4}, {"temperature": 4})


def test_some_members_are_a_teacher_in_the_results(planned):
    plan = planned(several(), student={"sweep": {"distill.members": [2, 3, 4]}})
    assert [stage.id for stage in plan.teachers()] == ["teacher/t", "teacher/t-members=2", "teacher/t-members=3"]
    assert len(plan.members()) == 4
    taught = [student.trials[0].teacher.identity.key for student in plan.students()]
    assert taught == keys([shown(plan, members=2), shown(plan, members=3), shown(plan)])


def test_an_ensemble_of_some_members_is_the_ensemble_of_so_many(planned):
    some = shown(planned(several(), student={"distill": {"members": 2}}), members=2)
    assert some.identity == shown(planned(several(members=2))).identity


def test_a_student_of_all_members_by_number_is_one_of_the_teacher(planned):
    by_number, plain = (
        planned(several(), student=student).students()[0].trials[0] for student in ({"distill": {"members": 4}}, {})
    )
    assert by_number.identity == plain.identity


def test_some_members_have_the_first_weights(planned):
    some = shown(planned(several(weights=[3, 1, 0, 0]), student={"distill": {"members": 2}}), members=2)
    assert some.combination.weights == (0.75, 0.25)


def test_weights_that_are_all_alike_are_equal_ones(planned):
    assert shown(planned(several(weights=[2, 2, 2, 2]))).identity == shown(planned(several())).identity


def test_of_a_list_the_first_named_are_the_first(planned):
    teachers = [
        {**ONE, "name": name, "model": {**MLP, "widths": [width]}} for name, width in (("a", 4), ("b", 5), ("c", 6))
    ]
    plan = planned(*teachers, {"name": "t", "of": ["c", "a", "b"]}, student={"distill": {"members": 2}})
    assert [stage.name for stage in shown(plan, members=2).members] == ["c", "a"]


def test_members_make_no_difference_to_a_baseline(planned):
    plan = planned(several(), student=[STUDENT, {**STUDENT, "distill": {"members": 2}}])
    first, second = (student.baselines[0] for student in plan.students())
    assert first.identity == second.identity
    assert first.variant == second.variant == {}


# ---------------------------------------------------------------- students that teach


def generations(*students):
    """A recipe's teachers t, t1, t2 …, each but the first the student of the one before."""
    names = ["t", *(f"t{number + 1}" for number in range(len(students)))]
    teachers = [ONE, *({"name": f"t{n}", "student": f"s{n}"} for n in range(1, len(students)))]
    named = [
        {**STUDENT, "name": f"s{number}", "teacher": names[number - 1], **student}
        for number, student in enumerate(students, 1)
    ]
    return teachers, named


def test_a_student_that_teaches_has_its_own_key(planned):
    teachers, students = generations({}, {})
    plan = planned(*teachers, student=students)
    first, second = (student.trials[0] for student in plan.students())
    teaching = shown(plan, "t1")
    assert teaching.identity == first.identity
    assert (teaching.role, teaching.id) == ("teacher", "teacher/t1")
    assert second.recordings[0].teacher_key == first.identity.key


def test_what_stands_behind_a_student_that_teaches_comes_first(planned):
    teachers, students = generations({}, {}, {})
    plan = planned(*teachers, student=students)
    needed = keys(plan.students()[2].trials[0].needs)
    line = [shown(plan, name).identity.key for name in ("t", "t1", "t2")]
    assert [needed.index(key) for key in line] == sorted(needed.index(key) for key in line)


def test_a_student_that_teaches_a_refitted_one_is_refitted_by_a_refitted_teacher(planned):
    teachers, students = generations({}, {"train": {"epochs": 2, "refit": True}})
    plan = planned(*teachers, student=students)
    last = plan.students()[1].trials[0]
    assert last.teacher.rows.refit
    assert last.teacher.teacher.rows.refit
    assert not plan.students()[0].trials[0].rows.refit


def test_generations_may_be_a_mean(planned):
    teachers, students = generations({}, {})
    ensemble = {"name": "m", "of": ["t", "t1"]}
    students.append({**STUDENT, "name": "last", "teacher": "m"})
    plan = planned(*teachers, ensemble, student=students)
    assert keys(shown(plan, "m").members) == keys([shown(plan, "t"), shown(plan, "t1")])


def test_a_student_that_teaches_has_no_role_in_its_own_row(planned):
    teachers, students = generations({}, {})
    plan = planned(*teachers, student=students)
    assert plan.students()[0].trials[0].id == "student/s1-temperature=4"


# ---------------------------------------------------------------- rows of the results


@pytest.mark.parametrize("train", [TRAIN, {"epochs": 2, "refit": True}])
@pytest.mark.parametrize("weights", ["equal", "fitted"])
def test_stages_are_the_rows_that_the_recipe_foresees(planned, train, weights):
    teachers = [
        several(member_name="single", weights=weights),
        {**ONE, "name": "lone"},
        {"name": "next", "student": "first"},
        {"name": "m", "of": ["next", "lone"]},
    ]
    students = [
        {**STUDENT, "name": "first"},
        {**STUDENT, "name": "first-too", "train": train, "sweep": {"distill.members": [2, 3]}},
        {**STUDENT, "name": "last", "teacher": "m", "variant": ["unlabelled"]},
    ]
    plan = planned(*teachers, student=students)
    stages = [*plan.teachers(), *plan.members()]
    for student in plan.students():
        stages += [*student.trials, *student.baselines]
    foreseen = [row.id for row in plan.recipe.rows()]
    assert sorted({stage.id for stage in stages}) == sorted(set(foreseen))
    assert [stage.id for stage in plan.members()] == [name for name in foreseen if name.startswith("reference/")]


def test_a_mean_of_a_teacher_with_members_is_of_the_very_same_members(planned):
    other = {"name": "a", "model": FOREST}
    plan = planned(several(), other, {"name": "m", "of": ["t", "a"], "weights": "fitted"})
    mean = shown(plan, "m")
    assert keys(mean.members) == keys([*shown(plan).members, shown(plan, "a")])
    assert mean.combination.fitted
    assert len(plan.members()) == 4
