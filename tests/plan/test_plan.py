import dataclasses
import tomllib

import numpy as np
import pytest

from limbeck.data import Part, load_dataset
from limbeck.errors import LimbeckError, UsageError
from limbeck.models import build_model, save_model
from limbeck.plan.planner import Planner
from limbeck.recipe import apply_overrides, parse_recipe


@pytest.fixture(scope="module")
def split():
    return load_dataset("digits").split(validation=200, test=0.25)


@pytest.fixture
def planner(tiny, split):
    """A function: the plan of the small recipe, changed."""

    def plan(*sets, seed=0, split=split):
        recipe = parse_recipe(apply_overrides(tomllib.loads(tiny.read_text()), sets), "tiny")
        return Planner(recipe, split, seed)

    return plan


def keys(planner):
    """The keys of the teacher, the knowledge in three views, the student and the baseline."""
    (student,) = planner.students()
    (trial,), (baseline,) = student.trials, student.baselines
    (teacher,) = planner.teachers()
    return {
        "teacher": teacher.identity.key,
        **{f"view {recording.view}": recording.identity.key for recording in trial.recordings},
        "student": trial.identity.key,
        "baseline": baseline.identity.key,
    }


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


VIEWS, ALL = {"view 1", "view 2"}, {"teacher", "view 0", "view 1", "view 2", "student", "baseline"}


@pytest.mark.parametrize(
    ("setting", "moved"),
    [
        ("title=Other", set()),
        ("about=Other", set()),
        ("student.2x16.distill.temperature=8", {"student"}),
        ("student.2x16.distill.loss=logit_matching", {"student"}),
        ("student.2x16.distill.hard=0.5", {"student"}),
        ("student.2x16.distill.label_smoothing=0.1", {"baseline"}),
        ("student.2x16.train.momentum=0.5", set()),
        ("student.2x16.train.epochs=5", {"student", "baseline"}),
        ("student.2x16.model.widths=[16, 17]", {"student", "baseline"}),
        ("student.2x16.train.precision=bfloat16", {"student", "baseline"}),
        ("transfer.views.select={without=[3]}", {"student", "baseline"}),
        ("transfer.views.views.rotate=11", {*VIEWS, "student", "baseline"}),
        ("teacher.convnet.train.epochs=4", ALL - {"baseline"}),
        ("teacher.convnet.views.rotate=5", ALL - {"baseline"}),
    ],
)
def test_a_change_moves_the_keys_of_what_it_decides_and_no_others(planner, setting, moved):
    assert changed(keys(planner()), keys(planner(setting))) == moved


@pytest.mark.parametrize(
    ("given", "changed_too"),
    [
        ("distill.loss=logit_matching", "distill.temperature=8"),
        ("distill={soft = 0, hard = 1}", "distill.temperature=8"),
    ],
)
def test_a_setting_without_effect_moves_no_key(planner, given, changed_too):
    one, other = f"student.2x16.{given}", f"student.2x16.{changed_too}"
    assert keys(planner(one)) == keys(planner(one, other))


def test_sgd_s_momentum_moves_the_keys(planner):
    sgd = "student.2x16.train.optimizer=sgd"
    assert changed(keys(planner(sgd)), keys(planner(sgd, "student.2x16.train.momentum=0.5"))) == {"student", "baseline"}


def test_one_view_more_adds_its_knowledge_and_keeps_the_others(planner):
    before, after = keys(planner()), keys(planner("transfer.views.views.count=3"))
    assert changed(before, after) == {"student"}
    assert after.keys() - before.keys() == {"view 3"}


def test_names_of_parts_enter_no_key(planner, tiny, split):
    text = tiny.read_text()
    for name in ("convnet", "views", "2x16"):
        text = text.replace(f'name = "{name}"', f'name = "renamed-{name}"')
    renamed = Planner(parse_recipe(tomllib.loads(text), "renamed"), split, 0)
    assert renamed.recipe.student[0].name == "renamed-2x16"
    assert keys(renamed) == keys(planner())


def test_the_seed_moves_all_but_the_inputs_as_they_are(planner):
    # The teacher's key moves, and with it that of all it says.
    assert changed(keys(planner()), keys(planner(seed=1))) == ALL


def test_the_seed_of_views_does_not_reach_the_knowledge_of_a_given_teacher_about_the_inputs(planner, split, tmp_path):
    save_model(tmp_path / "m", build_model({"kind": "mlp", "widths": [4]}, (8, 8), 10), split.train.classes)
    given = f'teacher=[{{name="convnet", from="{tmp_path / "m"}"}}]'
    assert changed(keys(planner(given)), keys(planner(given, seed=1))) == {*VIEWS, "student", "baseline"}


def test_the_code_s_version_moves_the_keys_of_models(planner, monkeypatch):
    before = keys(planner())
    monkeypatch.setattr("limbeck.plan.trained_stage.MODEL_VERSION", 99)
    assert changed(before, keys(planner())) == ALL
    monkeypatch.undo()
    monkeypatch.setattr("limbeck.knowledge.store.VERSION", 99)
    assert changed(before, keys(planner())) == ALL - {"teacher", "baseline"}


@pytest.mark.parametrize(
    ("part", "field", "moved"),
    [
        ("train", "inputs", ALL),
        ("train", "labels", ALL),  # the teacher learnt from them
        ("validation", "inputs", ALL),
        ("validation", "labels", ALL),
        ("test", "inputs", set()),
        ("test", "labels", set()),
    ],
)
def test_training_and_validation_rows_enter_keys_and_test_rows_do_not(planner, split, part, field, moved):
    rows = getattr(split, part)
    array = getattr(rows, field).copy()
    array[0] = (array[0] + 1) % 10
    other = Part(rows.name, **{**{f: getattr(rows, f) for f in ("inputs", "labels", "ids", "classes")}, field: array})
    after = keys(planner(split=dataclasses.replace(split, **{part: other})))
    assert changed(keys(planner()), after) == moved


def test_the_path_of_the_data_enters_no_key(planner, tiny, split):
    recipe = parse_recipe(apply_overrides(tomllib.loads(tiny.read_text()), ["data.source=idx:elsewhere"]), "tiny")
    assert keys(Planner(recipe, split, 0)) == keys(planner())


# ---------------------------------------------------------------- what a student and its baseline get


def test_a_baseline_gets_its_student_s_network_training_and_fresh_views(planner):
    (student,) = planner().students()
    (trial,), (baseline,) = student.trials, student.baselines
    assert baseline.model == trial.model
    assert baseline.settings == trial.settings
    assert baseline.seed == trial.seed
    assert baseline.objective.loss == "hard_labels"
    assert baseline.fresh_views.rotate == 10
    assert baseline.recordings == ()
    assert [recording.view for recording in trial.recordings] == [0, 1, 2]


def test_without_views_the_baseline_has_none_either(planner):
    (student,) = planner("transfer.views.views.count=0").students()
    assert student.baselines[0].fresh_views is None
    assert [recording.view for recording in student.trials[0].recordings] == [0]


def test_a_baseline_is_tried_with_every_setting_that_makes_a_difference_to_it(planner):
    grid = 'student.2x16.grid={"train.learning_rate"=[1e-2, 1e-3, 1e-4], "distill.temperature"=[2, 4]}'
    (student,) = planner(grid).students()
    assert len(student.trials) == 6
    assert len(student.baselines) == 3
    assert len({stage.identity.key for stage in (*student.trials, *student.baselines)}) == 9


def test_a_student_without_a_baseline_has_none(planner):
    assert planner("student.2x16.baseline=false").students()[0].baselines == ()


def test_the_temperature_tells_rows_apart_where_there_are_soft_targets(planner):
    def variant(*sets):
        return planner(*sets).students()[0].trials[0].variant

    assert variant("student.2x16.distill.temperature=2.5") == {"temperature": 2.5}
    assert variant("student.2x16.distill.loss=logit_matching") == {"loss": "logit_matching"}
    assert variant("student.2x16.distill={soft=0, hard=1}") == {}
    assert variant("transfer.views.select={only=[1, 2]}") == {"temperature": 4, "only": [1, 2]}


# ---------------------------------------------------------------- refit


def test_a_refit_trains_on_training_and_validation_rows_in_the_order_of_the_file(planner, split):
    rows = planner().rows.all_rows
    assert len(rows.train) == len(split.train) + len(split.validation)
    assert (np.diff(rows.train.ids) > 0).all()
    assert set(rows.train.ids) == {*split.train.ids, *split.validation.ids}
    assert not set(rows.train.ids) & set(split.test.ids)
    assert len(rows.validation) == 0
    source = load_dataset("digits").train
    np.testing.assert_array_equal(rows.train.inputs, source.inputs[rows.train.ids])
    np.testing.assert_array_equal(rows.train.labels, source.labels[rows.train.ids])


def test_a_refit_keeps_the_last_epoch_having_nothing_to_choose_on(planner):
    plan = planner("student.2x16.train.refit=true")
    (teacher,) = plan.teachers()
    (student,) = plan.students()
    for stage in (teacher, *student.trials, *student.baselines):
        assert stage.settings.keep == "last"
        assert stage.rows.refit
        assert stage.rows.train is plan.rows.all_rows.train


def test_with_a_grid_a_refit_chooses_on_the_split_and_then_trains_anew(planner, split):
    plan = planner("student.2x16.train.refit=true", 'student.2x16.grid={"distill.temperature"=[2, 4]}')
    (student,) = plan.students()
    assert all(stage.rows.train is split.train for stage in (*student.trials, *student.baselines))
    refitted = plan.refitted(student.student, student.trials[1])
    assert refitted.rows.train is plan.rows.all_rows.train
    assert refitted.objective.temperature == 4
    for stage, refit in ((refitted, True), (student.trials[1], False)):
        assert stage.teacher.rows.refit is refit
        assert stage.recordings[0].teacher_key == stage.teacher.identity.key


# ---------------------------------------------------------------- classes left out


def test_classes_left_out_are_left_out_of_training_rows_for_both(planner, split):
    (student,) = planner("transfer.views.select={without=[3, '7']}").students()
    for stage in (student.trials[0], student.baselines[0]):
        left = split.train.labels[stage.selected]
        assert set(left) == {0, 1, 2, 4, 5, 6, 8, 9}
    assert student.trials[0].recordings[0].part is split.train  # the knowledge is that of all rows, and shared


def test_a_select_that_leaves_nothing_is_refused_before_anything_is_made(planner):
    with pytest.raises(UsageError, match='no row of part "train" .* is left by select'):
        planner(f"transfer.views.select={{without={list(range(10))}}}").students()


def test_a_class_is_left_out_once_by_number_and_by_name(planner):
    with pytest.raises(UsageError, match='transfer.views.select: found \\["3", 3], expected every class once'):
        planner("transfer.views.select={without=['3', 3]}")


def test_a_claim_of_errors_on_a_class_that_is_not_left_out_is_refused(planner):
    left_out = "transfer.views.select={without=[3, 4]}"

    def claim(show):
        return f'claim=[{{text="x", show="{show}", row={{name="2x16"}}}}]'

    planner(left_out, claim("errors_on_4"))
    for show in ("errors_on_5", "errors_on_four"):
        there = f'claim\\[0].show: found "{show}", expected a class left out there: errors_on_3, errors_on_4'
        with pytest.raises(UsageError, match=there):
            planner(left_out, claim(show))


def test_a_select_that_leaves_nothing_to_choose_on_is_refused_too(planner, split):
    few = dataclasses.replace(split, validation=split.validation.take(np.flatnonzero(split.validation.labels == 3)))
    with pytest.raises(UsageError, match='no row of part "validation" .* is left by select'):
        planner("transfer.views.select={without=[3]}", split=few).students()


# ---------------------------------------------------------------- a teacher given by path


@pytest.fixture
def saved(tmp_path, split):
    """A function: a model saved without being an artifact, and the setting that makes it the teacher."""

    def save(shape=(8, 8), classes=split.train.classes):
        folder = tmp_path / "model"
        save_model(folder, build_model({"kind": "mlp", "widths": [4]}, shape, len(classes)), classes)
        return folder, f'teacher=[{{name="convnet", from="{folder}"}}]'

    return save


def test_a_given_teacher_s_key_is_that_of_its_weights(planner, saved):
    folder, setting = saved()
    before = keys(planner(setting))
    assert keys(planner(setting)) == before
    renamed = folder.rename(folder.with_name("elsewhere"))
    assert keys(planner(setting.replace(str(folder), str(renamed)))) == before
    saved()
    assert changed(before, keys(planner(setting))) == ALL - {"baseline"}


def test_a_given_artifact_keeps_its_key_so_that_its_knowledge_is_shared(planner, finished):
    given = f'teacher=[{{name="convnet", from="{finished}/models/teacher/convnet"}}]'
    assert keys(planner(given)) == keys(planner())


def test_a_given_teacher_that_is_not_there_is_named(planner, tmp_path):
    with pytest.raises(LimbeckError, match=rf"teacher\.convnet\.from: there is no {tmp_path}/none"):
        planner(f'teacher=[{{name="convnet", from="{tmp_path}/none"}}]').teachers()
    with pytest.raises(LimbeckError, match=f"{tmp_path} holds no model"):
        planner(f'teacher=[{{name="convnet", from="{tmp_path}"}}]').teachers()


def test_a_given_teacher_of_other_classes_is_refused(planner, saved):
    _, setting = saved(classes=tuple("abcdefghij"))
    with pytest.raises(LimbeckError, match=r"has the classes a, b, .* but the data has 0, 1, .*in the same order"):
        planner(setting).teachers()


def test_a_given_teacher_of_other_inputs_is_refused(planner, saved):
    _, setting = saved(shape=(28, 28))
    with pytest.raises(LimbeckError, match=r"takes inputs of shape \(28, 28\), but the data's have \(8, 8\)"):
        planner(setting).teachers()


# ---------------------------------------------------------------- passes, and rows without labels


FEW = "data.labels=100"
FILE = "file:"


@pytest.fixture(scope="module")
def few():
    """The digits, of whose 1,147 training rows 100 have labels."""
    return load_dataset("digits").split(validation=200, test=0.25, labels=100)


@pytest.fixture
def more(tmp_path, split):
    """The name of a part that lies in a file: 300 rows without labels."""
    path = tmp_path / "more.npy"
    np.save(path, np.flip(split.train.inputs[:300], axis=2))
    return f"{FILE}{path}"


def parts(*names):
    return "transfer.views.parts=[" + ", ".join(f'"{name}"' for name in names) + "]"


def test_one_pass_moves_no_key_and_several_move_those_of_what_makes_them(planner):
    one, three = (f"{section}.train.passes" for section in ("student.2x16", "teacher.convnet"))
    before = keys(planner())
    assert keys(planner(f"{one}=1", f"{three}=1")) == before
    assert changed(before, keys(planner(f"{one}=3"))) == {"student", "baseline"}
    assert changed(before, keys(planner(f"{three}=3"))) == ALL - {"baseline"}


def test_a_teacher_learns_from_the_rows_with_labels_alone(planner, few):
    (teacher,) = planner(FEW, split=few).teachers()
    assert len(teacher.rows.train) == 100
    # Its key is that of a teacher of a data set that has no other rows.
    alone = dataclasses.replace(few, train=few.train.take(np.flatnonzero(few.train.labels >= 0)))
    assert teacher.identity == planner(split=alone).teachers()[0].identity


def test_a_student_has_knowledge_of_every_part_and_each_part_its_own(planner, few, more):
    sets = {
        "both": parts("labelled", "unlabelled"),
        "one": parts("labelled"),
        "three": parts("unlabelled", more, "labelled"),
    }
    found = {name: planner(FEW, given, split=few).students()[0].trials[0] for name, given in sets.items()}
    views = {name: {(r.part.name, r.view): r.identity.key for r in stage.recordings} for name, stage in found.items()}
    assert list(views["both"]) == [(part, view) for part in ("labelled", "unlabelled") for view in (0, 1, 2)]
    assert len(set(views["both"].values())) == 6
    assert views["one"].items() < views["both"].items() < views["three"].items()
    assert {part for part, _ in views["three"]} == {"labelled", "unlabelled", more}
    assert len({stage.identity.key for stage in found.values()}) == 3
    assert len(found["three"].rows.train) == 1147 + 300


def test_plain_training_rows_are_two_parts_where_some_have_labels(planner, few):
    found = planner(FEW, split=few).students()[0].trials[0]
    assert found.identity == planner(FEW, parts("labelled", "unlabelled"), split=few).students()[0].trials[0].identity


def test_where_a_file_lies_and_what_it_is_called_enters_no_key(planner, more, tmp_path):
    before = planner(parts("train", more)).students()[0].trials[0].identity
    path = tmp_path / "elsewhere.npy"
    path.write_bytes((tmp_path / "more.npy").read_bytes())
    assert planner(parts("train", f"{FILE}{path}")).students()[0].trials[0].identity == before


def test_a_file_makes_no_difference_to_teacher_and_other_knowledge(planner, more):
    plain, with_file = (planner(given) for given in (parts("train"), parts("train", more)))
    assert with_file.teachers()[0].identity == plain.teachers()[0].identity
    one, other = ({r.identity.key for r in plan.students()[0].trials[0].recordings} for plan in (plain, with_file))
    assert one < other
    assert len(other) == 6


def test_a_baseline_goes_over_its_rows_as_often_as_it_takes_to_see_as_many_as_its_student(planner, few):
    (student,) = planner(FEW, split=few).students()
    (trial,), (baseline,) = student.trials, student.baselines
    assert (len(trial.rows.train), len(baseline.rows.train)) == (1147, 100)
    assert (trial.settings.passes, baseline.settings.passes) == (1, 11)
    shown = baseline.settings.passes * len(baseline.rows.train)
    assert abs(shown - len(trial.rows.train)) <= len(baseline.rows.train) / 2


def test_a_baseline_s_passes_are_times_those_of_its_student(planner, few):
    (student,) = planner(FEW, "student.2x16.train.passes=2", split=few).students()
    assert (student.trials[0].settings.passes, student.baselines[0].settings.passes) == (2, 22)


def test_with_rows_that_all_have_labels_a_baseline_has_its_student_s_passes(planner, few):
    (student,) = planner(FEW, parts("labelled"), "student.2x16.train.passes=2", split=few).students()
    assert student.baselines[0].settings == student.trials[0].settings


def test_a_model_fitted_at_once_goes_over_its_rows_once(planner, few):
    tree = 'student=[{name="tree", model={kind="sklearn-tree"}}]'
    (student,) = planner(FEW, tree, "transfer.views.views.count=0", split=few).students()
    assert student.baselines[0].train.passes is None
    assert len(student.baselines[0].rows.train) == 100
    assert len(student.trials[0].rows.train) == 1147


def test_a_reference_has_the_rows_with_labels_and_the_passes_that_it_asks_for(planner, few):
    model = 'model={kind="mlp", widths=[4]}'
    given = (
        f'reference=[{{name="r", {model}, train={{epochs=1}}}}, {{name="s", {model}, train={{epochs=1, passes=7}}}}]'
    )
    plain, several = planner(FEW, given, split=few).references()
    assert len(plain.rows.train) == len(several.rows.train) == 100
    assert (plain.settings.passes, several.settings.passes) == (1, 7)


def test_what_is_made_of_confidence_is_the_student_s_alone(planner, few):
    plain = planner(FEW, split=few)
    keyed = {}
    for given in ("{weight=true}", "{least=0.5}", "{least=0.5, weight=true}"):
        plan = planner(FEW, f"transfer.views.confidence={given}", split=few)
        (before,), (after,) = plain.students(), plan.students()
        keyed[given] = after.trials[0].identity.key
        assert keyed[given] != before.trials[0].identity.key
        assert after.baselines[0].identity == before.baselines[0].identity
        recorded = [[r.identity.key for r in student.trials[0].recordings] for student in (before, after)]
        assert recorded[0] == recorded[1]
        assert after.trials[0].confidence is not None
    assert len(set(keyed.values())) == 3


# ---------------------------------------------------------------- keys that stay


def test_keys_of_recipes_from_before_members_and_parts_are_what_they_were(planner):
    # Taken when a recipe had neither: what was made then is found. They move with a stage's version alone.
    assert keys(planner()) == {
        "teacher": "1cc0d37097722be302ba1df43b42e085e81309b7ef1fcdb710cee0d7a0609291",
        "view 0": "fd8ea73a244f05d725ddce34116be3a90f9a37b8afd0cf3eacdaeb634b64b2e1",
        "view 1": "a5a33a779f8681d906bdaf94ef088acd5127711ba4c385543bcc11b158fda50f",
        "view 2": "46c6e2519145a495a4415085331436ff427632fca1718dfad7a81fd9131f7158",
        "student": "98b175c97233e1d643e501ce5aecfb6076b07c034e4f0a85a41717fbb70b03d6",
        "baseline": "921049eb8f06d2034c3f3b6b1e0c6bcf122cfaaff4db17b7ddeaaea0001c9ee8",
    }
    few = planner("transfer.views.select={rows=100}")
    assert {name: key for name, key in keys(few).items() if name in ("student", "baseline")} == {
        "student": "86bd2e1134a365f6334fd31ec7433313304bd8f6161f6b0d97606c53dadd994c",
        "baseline": "6b3e5618c6d00180e945d0c8f00ac48a869d1c943411c4bcdf0c7ba0d360c1fc",
    }
