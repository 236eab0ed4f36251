"""Synthetic rows on the road: from a recipe's views through the plan to students, and what commands say of them."""

import json
import tomllib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from limbeck.artifacts import ArtifactStore
from limbeck.at_once.trees import fit_threshold_tree
from limbeck.data import Column, Part, Split, SyntheticSettings, TableForm, ViewCache, load_dataset, synthetic_rows
from limbeck.dry_run import plan as planned
from limbeck.errors import LimbeckError, UsageError
from limbeck.inspection.facts import inspect
from limbeck.knowledge import LabelTargets
from limbeck.knowledge.checks import check_agreement
from limbeck.plan.planner import Planner
from limbeck.progress import Silent
from limbeck.recipe import dump_recipe, load_recipe, parse_recipe, settings_key
from limbeck.recipe.rows import planned_rows
from limbeck.recipe.transfer import SYNTHETIC, TransferViews
from limbeck.road import Road
from limbeck.run_folder import RunFolder
from limbeck.stages.workshop import Workshop, new_model
from limbeck.teachers import TorchTeacher, log_probabilities

WINE = """
title = "Wine"

[data]
source = "digits"
validation = 30
test = 0.2

[[teacher]]
name = "large"
model = { kind = "mlp", widths = [64, 64] }
train = { epochs = 10, batch_size = 16, learning_rate = 5e-3 }

[[transfer]]
name = "plain"

[[transfer]]
name = "munge"
views = { count = 3, rows = "munge", spread = 2 }

[[transfer]]
name = "spunge"
views = { count = 2, rows = "spunge" }

[[student]]
name = "1x8"
teacher = "large"
transfer = "plain"
model = { kind = "mlp", widths = [8] }
train = { epochs = 4, batch_size = 16, learning_rate = 5e-3 }
"""
STUDENT = tomllib.loads(WINE)["student"][0]
TREE = {"name": "tree", "teacher": "large", "transfer": "munge", "model": {"kind": "sklearn-tree", "max_leaf_nodes": 6}}


def wine_recipe(*students, **more):
    """WINE with more students, each like the first but for what is given, and with other sections."""
    data = tomllib.loads(WINE)
    data["student"] += [student if "name" in student else {**STUDENT, **student} for student in students]
    return parse_recipe({**data, **more}, "wine.toml")


def problem(*students, **more):
    with pytest.raises(UsageError) as error:
        wine_recipe(*students, **more)
    return str(error.value).removeprefix("wine.toml: ")


@pytest.fixture(scope="module")
def split():
    """The wines, with one column of categories."""
    wine = load_wine()
    strength = np.digitize(wine.data[:, 0], [12.5, 13.5])[:, np.newaxis]
    inputs = np.hstack([wine.data, strength]).astype(np.float32)
    inputs[5, 3] = np.nan
    columns = [Column(name, missing=number == 3) for number, name in enumerate(wine.feature_names)]
    form = TableForm((*columns, Column("strength", ("light", "middling", "strong"))))
    order = np.random.default_rng(0).permutation(178)
    names = tuple(map(str, wine.target_names))
    whole = Part("train", inputs, wine.target.astype(np.int64), np.arange(178), names, form)
    parts = [whole.take(rows) for rows in np.split(order, [118, 148])]
    return Split(*(part.named(name) for part, name in zip(parts, ("train", "validation", "test"), strict=True)))


@pytest.fixture
def workshop(tmp_path):
    return Workshop(ArtifactStore(tmp_path / "artifacts"), ViewCache(tmp_path / "cache"), Silent())


# ---------------------------------------------------------------- recipes


def test_settings_of_a_recipe_are_those_that_rows_have_by_themselves():
    for method, settings in SYNTHETIC.items():
        own = SyntheticSettings(method).in_effect()
        assert own == {"rows": method, **settings}
        filled = TransferViews(count=1, rows=method).model_dump(exclude_none=True)
        assert {key: filled[key] for key in own} == own
        assert not {"swap", "spread", "noise", "replace", "drop", "span"} - set(own) & set(filled)


def test_a_dumped_recipe_reads_as_the_same():
    recipe = wine_recipe({"transfer": "munge", "baseline": False})
    dumped = dump_recipe(recipe)
    assert 'rows = "munge"' in dumped
    assert parse_recipe(tomllib.loads(dumped), "again") == recipe
    assert settings_key(parse_recipe(tomllib.loads(dumped), "again")) == settings_key(recipe)


def test_a_recipe_without_synthetic_rows_says_nothing_of_them():
    for name in ("mnist", "hinton2015"):
        text = dump_recipe(load_recipe(name))
        assert not any(
            f"\n{key} = " in text or f" {key} = " in text
            for key in ("swap", "spread", "noise", "replace", "drop", "span")
        )


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (
            {"count": 2, "rows": "munge", "rotate": 5},
            'found rows = "munge", of tables, with rotate, of images, expected one of them',
        ),
        ({"count": 2, "rows": "smote"}, 'rows: found "smote", expected "munge", "spunge" or "words"'),
        ({"rows": "munge"}, 'count: found 0 with rows = "munge", expected how many to make of every row'),
        (
            {"count": 2, "rotate": 5, "swap": 0.2},
            'swap: a setting of synthetic rows, expected with rows = "munge" or rows = "spunge"',
        ),
        (
            {"count": 2, "rows": "spunge", "spread": 1},
            'spread: a setting of synthetic rows, expected with rows = "munge"',
        ),
        (
            {"count": 2, "rows": "munge", "noise": 1},
            'noise: a setting of synthetic rows, expected with rows = "spunge"',
        ),
        (
            {"count": 2, "rows": "words", "replace": 0, "drop": 0, "span": 0},
            "found 2 views with replace, drop and span all 0, expected one of them above 0: the views would be copies",
        ),
        ({"count": 2, "rows": "munge", "swap": 0}, "swap: found 0, expected a number above 0"),
        ({"count": 2, "rows": "munge", "swap": 1.5}, "swap: found 1.5, expected 1 or less"),
    ],
)
def test_views_that_do_not_fit_are_refused(views, message):
    wrong = problem(transfer=[{"name": "plain"}, {"name": "v", "views": views}])
    assert wrong.replace("views.", "views: ", 1) == f"transfer.v.views: {message}"


def test_synthetic_rows_of_some_classes_are_refused_because_they_would_be_made_from_the_others():
    views = {"count": 2, "rows": "munge"}
    assert problem(transfer=[{"name": "plain"}, {"name": "v", "select": {"without": ["class_1"]}, "views": views}]) == (
        "transfer.v: found classes left out by select and synthetic rows in views, expected one of them: rows are made "
        "from others, which may be of any class"
    )


def test_synthetic_rows_of_some_rows_are_told_apart_by_a_name_of_their_own():
    some = {"name": "plain", "select": {"rows": 10}, "views": {"count": 2, "rows": "munge"}}
    (row,) = [row for row in wine_recipe(transfer=[some]).rows() if row.role == "student"]
    assert row.variant == {"temperature": 4, "synthetic": "munge", "rows": 10}


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (
            {"distill": {"soft": 0, "hard": 1}},
            'student.1x8.distill.soft: found 0, expected more: the synthetic rows of "munge" have no labels',
        ),
        (
            {"sweep": {"distill.targets": ["teacher", "smoothed_labels"]}},
            'student.1x8.distill.targets: found "smoothed_labels", expected others: the synthetic rows of "munge" have '
            "no labels",
        ),
    ],
)
def test_what_needs_labels_is_refused_of_synthetic_rows(student, message):
    assert problem({"transfer": "munge", **student}) == message


def test_students_taught_with_synthetic_rows_say_so_and_share_the_baseline_of_those_without():
    recipe = wine_recipe({"transfer": "munge"}, {"transfer": "spunge", "distill": {"loss": "logit_matching"}})
    rows = [row for _, row in planned_rows(recipe.student, recipe.reference, recipe.transfer)]
    assert list(dict.fromkeys((row.role, tuple(row.variant.items())) for row in rows)) == [
        ("student", (("temperature", 4),)),
        ("baseline", ()),
        ("student", (("temperature", 4), ("rows", "munge"))),
        ("student", (("loss", "logit_matching"), ("rows", "spunge"))),
    ]


def test_a_baseline_on_views_of_images_is_not_that_of_the_rows_themselves():
    views = [{"name": "plain"}, {"name": "munge", "views": {"count": 2, "rotate": 5}}]
    assert "student.1x8: found two rows baseline 1x8, expected every one once" in problem(
        {"transfer": "munge"}, transfer=views
    )


# ---------------------------------------------------------------- the plan


def test_synthetic_rows_of_images_are_refused():
    transfer = [{"name": "plain"}, {"name": "v", "views": {"count": 1, "rows": "munge"}}]
    with pytest.raises(UsageError) as refused:
        Planner(wine_recipe(transfer=transfer), load_dataset("digits").split(validation=200, test=0.25), 0)
    assert str(refused.value) == (
        'transfer.v.views: rows = "munge" is for tables, found inputs of shape (8, 8), expected views of images, such '
        "as rotate"
    )


def test_views_of_tables_are_refused(split):
    recipe = wine_recipe(transfer=[{"name": "plain"}, {"name": "v", "views": {"count": 1, "rotate": 5}}])
    with pytest.raises(UsageError) as refused:
        Planner(recipe, split, 0)
    assert str(refused.value) == (
        "transfer.v.views: views are of images, found a table of 14 columns, expected synthetic rows, such as "
        'rows = "munge"'
    )


def test_views_of_a_teacher_of_tables_are_refused(split):
    teacher = {**tomllib.loads(WINE)["teacher"][0], "views": {"shift": 1}}
    with pytest.raises(UsageError) as refused:
        Planner(wine_recipe(teacher=[teacher]), split, 0)
    assert str(refused.value) == (
        "teacher.large.views: views are of images, found a table of 14 columns, expected none"
    )


def keys(recipe, split, seed=0):
    (plan,) = (plan for plan in Planner(recipe, split, seed).students() if plan.student.transfer == "munge")
    return [recording.identity.key for recording in plan.trials[0].recordings]


def test_settings_in_effect_enter_the_keys_of_the_views_alone(split):
    def with_views(**views):
        transfer = [{"name": "plain"}, {"name": "munge", "views": {"count": 2, **views}}]
        return keys(wine_recipe({"transfer": "munge"}, transfer=transfer), split)

    before = with_views(rows="munge")
    assert with_views(rows="munge", swap=0.5, spread=1) == before
    for other in ({"rows": "munge", "swap": 0.4}, {"rows": "munge", "spread": 2}, {"rows": "spunge"}):
        after = with_views(**other)
        assert after[0] == before[0]
        assert not set(after[1:]) & set(before)


def test_the_baseline_trains_on_the_rows_themselves(split):
    plain, munge = Planner(wine_recipe({"transfer": "munge"}), split, 0).students()
    assert munge.baselines[0].fresh_views is None
    assert munge.baselines[0].identity.key == plain.baselines[0].identity.key


# ---------------------------------------------------------------- students


def test_rows_in_views_that_are_synthetic_have_no_label():
    targets = LabelTargets(np.array([3, 1, 2]), synthetic=True)
    assert targets.batch(torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 0, 2])).labels.tolist() == [3, -1, 2, -1]


def test_the_knowledge_is_the_teacher_s_of_the_rows_that_were_made(split, workshop):
    planner = Planner(wine_recipe({"transfer": "munge", "baseline": False}), split, 3)
    stage = planner.students()[1].trials[0]
    inputs, log_probs = workshop.recordings.read(stage)
    assert inputs.shape == (4, 118, 14)
    assert log_probs.shape == (4, 118, 3)
    (teacher,) = planner.teachers()
    for view in range(4):
        rows = synthetic_rows(split.train, view=view, seed=3, settings=SyntheticSettings("munge", spread=2))
        assert inputs[view].tobytes() == rows.tobytes()
        answers = log_probabilities(TorchTeacher(workshop.model(teacher)), rows)
        np.testing.assert_allclose(np.exp(log_probs[view].astype(np.float32)), np.exp(answers), atol=0.005)


def test_knowledge_that_agrees_with_no_label_of_the_rows_it_was_made_of_is_accepted(split, workshop):
    transfer = [{"name": "plain"}, {"name": "spunge", "views": {"count": 4, "rows": "spunge", "swap": 1, "noise": 3}}]
    planner = Planner(wine_recipe({"transfer": "spunge", "baseline": False}, transfer=transfer), split, 0)
    stage = planner.students()[1].trials[0]
    _, log_probs = workshop.recordings.read(stage)
    assert log_probs.shape == (5, 118, 3)
    # As an image's view it would be taken for misaligned.
    with pytest.raises(LimbeckError, match="misaligned|order of the classes differs"):
        check_agreement(log_probs[1].argmax(axis=1), split.train.labels, split.train.classes, "view 1")


@pytest.mark.parametrize("hard", [0, 0.5])
def test_a_student_with_synthetic_rows_is_another_one_and_comes_out_again(split, workshop, tmp_path, hard):
    recipe = wine_recipe({"transfer": "munge", "distill": {"hard": hard}})
    plain, munge = Planner(recipe, split, 0).students()
    made = workshop.model(munge.trials[0])
    assert len(workshop.history(munge.trials[0])["epochs"]) == 4
    workshop.model(plain.trials[0])
    assert workshop.weights_digest(munge.trials[0]) != workshop.weights_digest(plain.trials[0])
    again = Workshop(ArtifactStore(tmp_path / "again"), ViewCache(tmp_path / "none"), Silent())
    for name, weights in again.model(munge.trials[0]).state_dict().items():
        np.testing.assert_array_equal(weights, made.state_dict()[name])


def test_a_tree_is_fitted_to_rows_in_all_views_with_the_teacher_s_answers(split, workshop):
    stage = Planner(wine_recipe(TREE), split, 0).students()[1].trials[0]
    tree = workshop.model(stage)
    inputs, log_probs = workshop.recordings.read(stage)
    expected = fit_threshold_tree(
        new_model(stage),
        inputs.reshape(-1, 14),
        None,
        log_probs.reshape(-1, 3).astype(np.float32),
        stage.objective,
        0,
    )
    for name, weights in tree.state_dict().items():
        np.testing.assert_array_equal(weights, expected.state_dict()[name])
    alone = fit_threshold_tree(new_model(stage), inputs[0], None, log_probs[0].astype(np.float32), stage.objective, 0)
    assert (alone.threshold.shape, alone.threshold.tolist()) != (tree.threshold.shape, tree.threshold.tolist())


# ---------------------------------------------------------------- what commands say


def test_a_dry_run_counts_synthetic_rows_as_views(split, tmp_path):
    recipe = wine_recipe({"transfer": "munge"}, TREE)
    road = Road("wine", "wine.toml", recipe, 0, split, RunFolder(tmp_path / "runs" / "wine"))
    titles = [stage.title for stage in planned(road, "report")]
    assert [title for title in titles if title.startswith("knowledge")] == [
        "knowledge of large, inputs",
        "knowledge of large, view 1",
        "knowledge of large, view 2",
        "knowledge of large, view 3",
    ]
    assert "student 1x8 (rows munge, temperature 4)" in titles
    assert not (tmp_path / "runs").exists()


def test_inspect_says_how_rows_were_made(split, workshop):
    planner = Planner(wine_recipe({"transfer": "munge"}, {"transfer": "spunge"}), split, 0)
    found = []
    for plan in planner.students():
        workshop.recordings.read(plan.trials[0])
        folder = workshop.store.folder(plan.trials[0].recordings[-1].identity)
        found.append(inspect(folder).facts["view"])
    assert found == [
        "the inputs themselves",
        "number 3 (munge, swap 0.5, spread 2)",
        "number 2 (spunge, swap 0.5, noise 0.1)",
    ]


# ---------------------------------------------------------------- the whole road


@pytest.mark.slow
def test_a_table_goes_the_whole_road_with_synthetic_rows(tmp_path, limbeck):
    wine = load_wine()
    lines = [",".join([*wine.feature_names, "strength", "cultivar"])]
    for values, label in zip(wine.data, wine.target, strict=True):
        lines.append(",".join([*map(str, values), "strong" if values[0] > 13 else "light", wine.target_names[label]]))
    first, _, rest = lines[7].split(",", 2)
    lines[7] = f"{first},,{rest}"  # a missing value
    (tmp_path / "wine.csv").write_text("\n".join(lines) + "\n")
    recipe = WINE.replace('source = "digits"', f'source = "{tmp_path / "wine.csv"}"\nlabel = "cultivar"')
    for transfer in ("munge", "spunge"):
        recipe += f"""
[[student]]
name = "1x8"
teacher = "large"
transfer = "{transfer}"
model = {{ kind = "mlp", widths = [8] }}
train = {{ epochs = 4, batch_size = 16, learning_rate = 5e-3 }}
"""
    (tmp_path / "wine.toml").write_text(recipe)
    out = tmp_path / "runs" / "wine"
    code, said, err = limbeck("run", tmp_path / "wine.toml", "--out", out, "--dry-run")
    assert (code, err) == (0, "")
    assert "knowledge of large, view 3" in said
    assert not out.exists()
    assert limbeck("run", tmp_path / "wine.toml", "--out", out)[0] == 0
    rows = json.loads((out / "results.json").read_text())["models"]
    assert [(row["role"], row["variant"]) for row in rows] == [
        ("teacher", {}),
        ("student", {"temperature": 4}),
        ("baseline", {}),
        ("student", {"rows": "munge", "temperature": 4}),
        ("student", {"rows": "spunge", "temperature": 4}),
    ]
    assert all(row["verdict"] for row in rows if row["role"] == "student")
    assert len(list((tmp_path / "runs" / "cache").rglob("*.safetensors"))) == 1  # the neighbours
