"""The road with ensembles: members, their mean, its weights; teachers of several kinds; students that teach."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax

import limbeck
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import read_tensors
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.knowledge import Knowledge
from limbeck.models.opening import open_model
from limbeck.road import Road, run_split
from limbeck.teachers import TorchTeacher, log_probabilities
from limbeck.teachers.out_of_fold import OWN_ROWS, OwnRows
from limbeck.training import predict_log_probs
from walks import Stops, artifacts, dated_artifacts, folders, made, parts, results, row, said

SEVERAL = """
title = "Several"

[data]
source = "digits"
validation = 200
test = 0.3
labels = 100

[[teacher]]
name = "ensemble"
member_name = "single"
members = 3
model = { kind = "mlp", widths = [32] }
train = { epochs = 8, batch_size = 32, learning_rate = 1e-2 }

[[transfer]]
name = "all"
views = { count = 1, rotate = 10 }

[[transfer]]
name = "labelled"
parts = ["labelled"]
views = { count = 1, rotate = 10 }

[[student]]
name = "net"
transfer = "all"
model = { kind = "mlp", widths = [32] }
train = { epochs = 2, batch_size = 64, learning_rate = 1e-2 }
variant = ["unlabelled"]

[[student]]
name = "net"
transfer = "labelled"
model = { kind = "mlp", widths = [32] }
train = { epochs = 4, batch_size = 32, learning_rate = 1e-2 }
variant = ["unlabelled"]

[[student]]
name = "net"
transfer = "all"
model = { kind = "mlp", widths = [32] }
train = { epochs = 2, batch_size = 64, learning_rate = 1e-2 }
variant = ["unlabelled"]
baseline = false
sweep = { "distill.members" = [2] }
"""

KINDS = """
title = "Kinds"

[data]
source = "digits"
validation = 200
test = 0.3

[[teacher]]
name = "net"
model = { kind = "mlp", widths = [16] }
train = { epochs = 1, batch_size = 64, learning_rate = 1e-2 }

[[teacher]]
name = "forest"
model = { kind = "random-forest", trees = 40 }

[[teacher]]
name = "guesses"
from = "guesses.npz"

[[teacher]]
name = "mix"
of = ["net", "forest", "guesses"]
weights = [2, 1, 1]

[[student]]
name = "small"
teacher = "mix"
model = { kind = "mlp", widths = [16] }
train = { epochs = 2, batch_size = 64, learning_rate = 1e-2 }
"""

GENERATIONS = """
title = "Generations"

[data]
source = "digits"
validation = 200
test = 0.3

[[teacher]]
name = "generation-0"
model = { kind = "mlp", widths = [16] }
train = { epochs = 2, batch_size = 64, learning_rate = 1e-2 }

[[teacher]]
name = "generation-1"
student = "born-again-1"

[[teacher]]
name = "generations"
of = ["generation-0", "generation-1"]

[[student]]
name = "born-again-1"
teacher = "generation-0"
model = { kind = "mlp", widths = [16] }
distill = { temperature = 1, hard = 1 }
train = { epochs = 2, batch_size = 64, learning_rate = 1e-2 }

[[student]]
name = "born-again-2"
teacher = "generation-1"
model = { kind = "mlp", widths = [16] }
distill = { temperature = 1, hard = 1 }
train = { epochs = 2, batch_size = 64, learning_rate = 1e-2 }

[[student]]
name = "of-all"
teacher = "generations"
model = { kind = "mlp", widths = [16] }
train = { epochs = 2, batch_size = 64, learning_rate = 1e-2 }
"""


def predictions(run, name):
    return read_tensors(run / "predictions" / f"{name}.safetensors")[0]["log_probs"].astype(np.float64)


def learnt(road, plan):
    """What a student learns from, and what each teacher said of it: (views, rows, classes), float64."""
    (stage,) = road.planner.students()[plan].trials
    _, together = road.workshop.recordings.read(stage)
    each = []
    for _, recordings in stage.recorded():
        views = {}
        for recording in recordings:
            said = Knowledge.open(road.store.folder(recording.identity)).log_probs().astype(np.float64)
            views.setdefault(recording.view, []).append(said)
        each.append(np.stack([np.concatenate(views[view]) for view in sorted(views)]))
    return together.astype(np.float64), each


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The path of a recipe with an ensemble of three, and students of it and of its first two."""
    path = tmp_path_factory.mktemp("several") / "several.toml"
    path.write_text(SEVERAL)
    return path


@pytest.fixture(scope="module")
def several_finished(several, tmp_path_factory):
    """A finished run of that recipe. Not to be changed: `several_run` is a copy."""
    out = tmp_path_factory.mktemp("finished_several") / "several"
    limbeck.run(several, out)
    return out


@pytest.fixture
def several_run(several_finished, tmp_path):
    shutil.copytree(several_finished.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "several"


# ---------------------------------------------------------------- members


def test_members_are_references_and_their_means_are_teachers(several_finished):
    found = [(one["role"], one["name"], one["variant"]) for one in results(several_finished)["models"]]
    assert found == [
        ("reference", "single", {"member": 1}),
        ("reference", "single", {"member": 2}),
        ("reference", "single", {"member": 3}),
        ("teacher", "ensemble", {}),
        ("student", "net", {"temperature": 4, "unlabelled": True}),
        ("baseline", "net", {"unlabelled": True}),
        ("student", "net", {"temperature": 4, "unlabelled": False}),
        ("baseline", "net", {"unlabelled": False}),
        ("student", "net", {"members": 2, "temperature": 4, "unlabelled": True}),
        ("teacher", "ensemble", {"members": 2}),
    ]


def test_every_member_is_one_artifact(several_finished):
    named = parts(several_finished)
    keys = {name: key for name, key in named.items() if name.startswith(("reference/", "teacher/"))}
    assert sorted(keys) == [
        "reference/single-member=1",
        "reference/single-member=2",
        "reference/single-member=3",
        "teacher/ensemble",
        "teacher/ensemble-members=2",
    ]
    there = {path.name for path in (several_finished.parent / "artifacts" / "teacher").iterdir()}
    assert there == set(keys.values())
    assert len(there) == 5
    assert verify(several_finished) == []


def test_members_differ_and_the_first_is_what_a_teacher_of_one_would_be(several_finished, several, tmp_path):
    keys = [parts(several_finished)[f"reference/single-member={number}"] for number in (1, 2, 3)]
    weights = [(several_finished.parent / "artifacts/teacher" / key / "model.safetensors").read_bytes() for key in keys]
    assert len(set(weights)) == 3
    alone = tmp_path / "alone.toml"
    alone.write_text(
        "[[student]]".join(SEVERAL.split("[[student]]")[:3]).replace('member_name = "single"\nmembers = 3', "")
    )
    road = Road.open(alone, tmp_path / "runs" / "alone")
    assert [stage.identity.key for stage in road.planner.teachers()] == keys[:1]


def test_another_seed_has_no_member_of_this_one(several_finished, several, tmp_path):
    other = Road.open(several, tmp_path / "runs" / "other", seed=1)
    assert not {stage.identity.key for stage in other.planner.members()} & set(parts(several_finished).values())


def test_members_see_labelled_rows_alone(several_finished, several):
    road = Road.open(several, several_finished)
    for stage in road.planner.members():
        assert len(stage.rows.train) == 100
        assert (stage.rows.train.labels >= 0).all()


def test_the_same_call_again_has_nothing_to_do_and_changes_nothing(several_run, several, contents):
    before = contents(several_run.parent)
    assert f"nothing to do: {several_run} is complete" in said(several, several_run)
    after = contents(several_run.parent)
    assert {name for name in before if before[name] != after[name] and not name.endswith(".lock")} == set()
    assert before.keys() == after.keys()


def test_one_more_member_costs_its_training_and_its_knowledge_and_nothing_else(several_run, several):
    before = dated_artifacts(several_run.parent)
    out = several_run.parent / "four"
    heard = said(several, out, sets=["teacher.ensemble.members=4"])
    after = dated_artifacts(several_run.parent)
    assert {name: after[name] for name in before} == before
    assert made(heard) == [
        "reference single (member 4)",
        "knowledge of single (member 4), inputs and view 1",
        "student net (temperature 4, unlabelled true)",
        "student net (temperature 4, unlabelled false)",
    ]
    new = folders(after) - folders(before)
    four, named = set(parts(out).values()), parts(out)
    recorded = {key for name, key in named.items() if name.startswith("knowledge/single-member=4-")}
    assert len(recorded) == 4  # labelled and unlabelled rows, each as they are and in a view
    assert new == {
        f"teacher/{named['reference/single-member=4']}",
        f"teacher/{named['teacher/ensemble']}",
        f"student/{named['student/net-temperature=4,unlabelled=true']}",
        f"student/{named['student/net-temperature=4,unlabelled=false']}",
        *(f"knowledge/{key}" for key in recorded),
    }
    assert set(parts(several_run).values()) - four == {
        parts(several_run)[name]
        for name in (
            "teacher/ensemble",
            "student/net-temperature=4,unlabelled=true",
            "student/net-temperature=4,unlabelled=false",
        )
    }


def test_a_members_artifact_that_is_gone_is_made_again_alone(several_run, several):
    before = dated_artifacts(several_run.parent)
    gone = parts(several_run)["reference/single-member=2"]
    shutil.rmtree(several_run.parent / "artifacts" / "teacher" / gone)
    assert [damage.path.name for damage in verify(several_run)] == [gone]
    assert made(said(several, several_run)) == ["reference single (member 2)"]
    after = dated_artifacts(several_run.parent)
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    assert {name for name in before if before[name] != after[name]} == {name for name in before if gone in name}
    assert verify(several_run) == []


def test_a_damaged_member_is_named_and_made_again_to_the_same_bytes(several_run, several):
    before = artifacts(several_run.parent)
    path = several_run.parent / "artifacts/teacher" / parts(several_run)["reference/single-member=3"]
    content = bytearray((path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "model.safetensors").write_bytes(bytes(content))
    assert [damage.path for damage in verify(several_run)] == [path / "model.safetensors"]
    heard = said(several, several_run)
    assert "reference single (member 3) is made again" in heard
    assert "other weights" not in heard
    after = artifacts(several_run.parent)
    assert {name: data for name, data in after.items() if ".damaged-" not in name} == before


def test_a_run_that_was_stopped_goes_on_without_touching_the_members_that_are_there(
    several, several_finished, tmp_path
):
    out = tmp_path / "runs" / "several"
    with pytest.raises(KeyboardInterrupt):
        limbeck.run(several, out, progress=Stops("reference single (member 3)"))
    keys = [parts(out)[f"reference/single-member={number}"] for number in (1, 2)]
    before = {name: data for name, data in dated_artifacts(out.parent).items() if any(key in name for key in keys)}
    assert folders(before) == {f"teacher/{key}" for key in keys}
    heard = said(several, out)
    assert made(heard)[0] == "reference single (member 3)"
    after = dated_artifacts(out.parent)
    assert {name: after[name] for name in before} == before
    assert artifacts(out.parent) == artifacts(several_finished.parent)


@pytest.mark.slow
@pytest.mark.parametrize(
    "title", ["knowledge of single (member 1), inputs and view 1", "student net (temperature 4, unlabelled true)"]
)
def test_a_run_that_was_stopped_later_ends_with_the_same_bytes(several, several_finished, tmp_path, title):
    out = tmp_path / "runs" / "several"
    with pytest.raises(KeyboardInterrupt):
        limbeck.run(several, out, progress=Stops(title))
    heard = said(several, out)
    assert "reference single" not in heard
    assert artifacts(out.parent) == artifacts(several_finished.parent)
    assert verify(out) == []


# ---------------------------------------------------------------- what the results say of an ensemble


def test_an_ensembles_row_is_the_mean_of_its_members_probabilities(several_finished):
    for name, count in (("teacher/ensemble", 3), ("teacher/ensemble-members=2", 2)):
        members = [predictions(several_finished, f"reference/single-member={one + 1}") for one in range(count)]
        expected = np.mean(np.exp(members), axis=0)
        np.testing.assert_allclose(np.exp(predictions(several_finished, name)), expected, atol=1e-6)


def test_an_ensemble_costs_what_its_members_cost(several_finished):
    found = results(several_finished)
    members = [row(found, "reference", "single", member=number) for number in (1, 2, 3)]
    ensemble, two = row(found, "teacher", "ensemble"), row(found, "teacher", "ensemble", members=2)
    for field in ("parameters", "bytes", "multiply_adds"):
        assert ensemble[field] == sum(member[field] for member in members) > 0
        assert two[field] == sum(member[field] for member in members[:2])
    assert ensemble["train_seconds"] == pytest.approx(sum(member["train_seconds"] for member in members))


def test_what_is_said_of_an_ensemble_can_be_worked_out_from_its_predictions(several_finished):
    labels = run_split(several_finished).test.labels
    facts = results(several_finished)["ensembles"]
    assert list(facts) == ["teacher/ensemble", "teacher/ensemble-members=2"]
    for name, count in (("teacher/ensemble", 3), ("teacher/ensemble-members=2", 2)):
        of = facts[name]
        assert of["rows"] == [f"reference/single-member={number + 1}" for number in range(count)]
        probabilities = np.exp([predictions(several_finished, one) for one in of["rows"]])
        answers = probabilities.argmax(axis=2)
        wrong = answers != labels
        assert of["test_rows"] == len(labels)
        assert of["members_errors"] == wrong.sum(axis=1).tolist()
        assert (of["lowest"], of["highest"]) == (wrong.sum(axis=1).min(), wrong.sum(axis=1).max())
        assert of["mean_errors"] == pytest.approx(wrong.sum(axis=1).mean())
        assert of["spread"] == pytest.approx(wrong.sum(axis=1).std(ddof=1))
        assert of["errors"] == (predictions(several_finished, name).argmax(axis=1) != labels).sum()
        pairs = [(one, other) for one in range(count) for other in range(one)]
        apart = np.mean([np.mean(answers[one] != answers[other]) for one, other in pairs])
        assert of["pairwise_disagreement"] == pytest.approx(apart)
        assert of["error_correlation"] == pytest.approx(np.mean([np.corrcoef(wrong[[*pair]])[0, 1] for pair in pairs]))
        assert of["all_wrong"] == wrong.all(axis=0).sum()
        assert of["same_wrong"] == (wrong.all(axis=0) & (answers == answers[0]).all(axis=0)).sum()
        mean = probabilities.mean(axis=0)
        entropy = -(probabilities * np.log(probabilities)).sum(axis=2).mean(axis=0)
        assert of["divergence"] == pytest.approx(np.mean(-(mean * np.log(mean)).sum(axis=1) - entropy), abs=1e-6)
        assert (of["mean"], of["weights"], of["fitted"]) == ("probabilities", None, None)


def test_a_students_row_agrees_with_the_members_it_learnt_from(several_finished):
    found, name = results(several_finished), "student/net-members=2,temperature=4,unlabelled=true"
    of_two = row(found, "student", "net", members=2, temperature=4, unlabelled=True)
    same = predictions(several_finished, name).argmax(axis=1) == predictions(
        several_finished, "teacher/ensemble-members=2"
    ).argmax(axis=1)
    assert of_two["agreement"] == pytest.approx(same.mean())


# ---------------------------------------------------------------- the mean and its weights


@pytest.mark.parametrize(
    ("weights", "shares", "of_two"),
    [
        (None, [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5]),
        ('"equal"', [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5]),
        ("[0.6, 0.2, 0.2]", [0.6, 0.2, 0.2], [0.75, 0.25]),
        ("[6, 2, 0]", [0.75, 0.25, 0], [0.75, 0.25]),
    ],
)
def test_a_student_learns_from_the_weighted_mean_of_softened_probabilities(
    several_run, several, weights, shares, of_two
):
    sets = [] if weights is None else [f"teacher.ensemble.weights={weights}"]
    out = several_run.parent / "weighted"
    limbeck.run(several, out, sets=sets, until="extract")
    road = Road.open(several, out, sets=sets)
    for plan, wanted in ((0, shares), (1, shares), (2, of_two)):
        together, each = learnt(road, plan)
        expected = sum(share * softmax(said / 4.0, axis=-1) for share, said in zip(wanted, each, strict=True))
        np.testing.assert_allclose(softmax(together / 4.0, axis=-1), expected, atol=2e-6)


def test_a_student_learns_from_the_mean_of_logits(several_run, several):
    sets = ['teacher.ensemble.mean="logits"', "teacher.ensemble.weights=[0.5, 0.3, 0.2]"]
    out = several_run.parent / "geometric"
    limbeck.run(several, out, sets=sets, until="extract")
    together, each = learnt(Road.open(several, out, sets=sets), 0)
    logits = sum(share * log_softmax(said, axis=-1) for share, said in zip((0.5, 0.3, 0.2), each, strict=True))
    np.testing.assert_allclose(softmax(together / 4.0, axis=-1), softmax(logits / 4.0, axis=-1), atol=2e-6)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_an_ensemble_with_weights_answers_by_them_and_can_be_opened(several_run, several, limbeck, tmp_path, mean):
    import limbeck as package

    sets = [f'teacher.ensemble.mean="{mean}"', "teacher.ensemble.weights=[0.5, 0.5, 3]"]
    out = several_run.parent / "weighted"
    found = package.run(several, out, sets=sets)
    shares = np.array([0.125, 0.125, 0.75])
    members = np.stack([predictions(out, f"reference/single-member={number}") for number in (1, 2, 3)])
    if mean == "probabilities":
        expected = logsumexp(members, axis=0, b=shares[:, None, None])
    else:
        expected = log_softmax(np.tensordot(shares, members, axes=1), axis=-1)
    shown = predictions(out, "teacher/ensemble")
    np.testing.assert_allclose(shown, expected, atol=1e-4)
    facts = found["ensembles"]["teacher/ensemble"]
    assert (facts["mean"], facts["weights"]) == (mean, pytest.approx(shares.tolist()))
    labels, test = run_split(out).test.labels, run_split(out).test
    equal = members.mean(axis=0) if mean == "logits" else np.exp(members).mean(axis=0)
    assert facts["errors_equal_weights"] == (equal.argmax(axis=1) != labels).sum()
    saved = open_model(out / "models" / "teacher" / "ensemble")[0]
    np.testing.assert_allclose(predict_log_probs(saved, test.inputs), shown, atol=1e-6)
    np.save(tmp_path / "rows.npy", test.inputs[:20])
    code, written, _ = limbeck("predict", out / "models" / "teacher" / "ensemble", tmp_path / "rows.npy")
    assert code == 0
    answers = [line.split() for line in written.splitlines()]
    assert [int(line[1]) for line in answers] == shown[:20].argmax(axis=1).tolist()
    np.testing.assert_allclose([float(line[2]) for line in answers], np.exp(shown[:20]).max(axis=1), atol=1e-4)


FITTED = ['teacher.ensemble.weights="fitted"']


def test_fitted_weights_are_never_worse_on_validation_rows_and_are_said_to_be_fitted(several_run, several):
    out = several_run.parent / "fitted"
    heard = said(several, out, sets=FITTED)
    facts = results(out)["ensembles"]["teacher/ensemble"]
    fitted, validation = facts["fitted"], run_split(out).validation
    members = [
        log_probabilities(TorchTeacher(open_model(out / "models" / one)[0]), validation.inputs).astype(np.float64)
        for one in facts["rows"]
    ]
    rows = np.arange(len(validation))
    for weights, nll, errors in (
        (fitted["weights"], fitted["nll"], fitted["errors"]),
        ([1 / 3] * 3, fitted["nll_equal"], fitted["errors_equal"]),
    ):
        mixed = np.tensordot(weights, np.exp(members), axes=1)
        assert nll == pytest.approx(-np.log(mixed[rows, validation.labels]).mean(), abs=1e-5)
        assert errors == (mixed.argmax(axis=1) != validation.labels).sum()
    assert fitted["nll"] < fitted["nll_equal"]
    assert fitted["errors"] <= fitted["errors_equal"]
    assert sum(fitted["weights"]) == pytest.approx(1)
    assert facts["weights"] == pytest.approx(fitted["weights"])
    assert facts["errors_equal_weights"] == results(several_run)["ensembles"]["teacher/ensemble"]["errors"]
    assert (
        f"teacher ensemble: weights fitted to 200 validation rows, for {fitted['errors']} errors there; "
        f"{fitted['errors_equal']} with equal ones"
    ) in heard.splitlines()
    together, each = learnt(Road.open(several, out, sets=FITTED), 0)
    expected = sum(share * softmax(said / 4.0, axis=-1) for share, said in zip(fitted["weights"], each, strict=True))
    np.testing.assert_allclose(softmax(together / 4.0, axis=-1), expected, atol=2e-6)


def test_fitted_weights_take_the_members_and_the_knowledge_that_are_there(several_run, several):
    before = dated_artifacts(several_run.parent)
    heard = said(several, several_run.parent / "fitted", sets=FITTED)
    after = dated_artifacts(several_run.parent)
    assert {name: after[name] for name in before} == before
    assert [one for one in made(heard) if not one.startswith("student")] == []
    assert f"nothing to do: {several_run.parent / 'fitted'} is complete" in said(
        several, several_run.parent / "fitted", sets=FITTED
    )


def test_refitted_members_have_the_weights_of_those_that_the_validation_rows_judged(several_run, several):
    sets = [*FITTED, "student.*.train.refit=true"]
    out = several_run.parent / "refit"
    found = limbeck.run(several, out, sets=sets)
    road = Road.open(several, out, sets=sets)
    (stage,) = (one for one in road.planner.teachers() if not one.variant)
    judge = stage.combination.judge
    kept = json.loads((road.store.folder(judge.identity) / "weights.json").read_bytes())
    assert found["ensembles"]["teacher/ensemble"]["weights"] == pytest.approx(kept["weights"])
    assert found["ensembles"]["teacher/ensemble"]["fitted"] == kept
    assert len(stage.members[0].rows.train) == 300
    assert {one.identity.key for one in judge.members} <= set(parts(several_run).values())
    assert verify(out) == []
    assert f"nothing to do: {out} is complete" in said(several, out, sets=sets)


@pytest.mark.slow
def test_damaged_weights_are_fitted_again(several_run, several):
    out = several_run.parent / "fitted"
    limbeck.run(several, out, sets=FITTED)
    before = artifacts(several_run.parent)
    path = several_run.parent / "artifacts/teacher" / parts(out)["teacher/ensemble"] / "weights.json"
    path.write_bytes(path.read_bytes().replace(b"0.", b"0.0", 1))
    assert [damage.path for damage in verify(out)] == [path]
    heard = said(several, out, sets=FITTED)
    assert f"{path} is damaged: set aside as " in heard
    after = artifacts(several_run.parent)
    assert {name: data for name, data in after.items() if ".damaged-" not in name} == before


@pytest.mark.slow
def test_a_grid_with_a_refit_names_members_of_both(several_run, several):
    out = several_run.parent / "grid"
    sets = ["student.*.train.refit=true"]
    recipe = several_run.parent / "grid.toml"
    whole = SEVERAL.split("[[student]]")
    recipe.write_text("[[student]]".join(whole[:2]) + 'grid = { "distill.temperature" = [1, 4] }\n')
    limbeck.run(recipe, out, sets=sets)
    named = parts(out)
    for number in (1, 2, 3):
        trials = named[f"reference/single-member={number}-trials"]
        assert trials != named[f"reference/single-member={number}"]
        assert trials == parts(several_run)[f"reference/single-member={number}"]
    assert named["teacher/ensemble-trials"] == parts(several_run)["teacher/ensemble"]
    assert verify(out) == []
    assert f"nothing to do: {out} is complete" in said(recipe, out, sets=sets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("teacher.ensemble.weights=[0.5, 0.5]", "teacher.ensemble.weights: found 2, expected 3: one for each member"),
        ("teacher.ensemble.weights=[1, -1, 1]", "teacher.ensemble.weights: found [1, -1, 1], expected"),
        ("teacher.ensemble.weights=[0, 0, 0]", "teacher.ensemble.weights: found [0, 0, 0], expected"),
        ('teacher.ensemble.weights="fited"', 'teacher.ensemble.weights: found "fited", expected "equal", "fitted"'),
        ('teacher.ensemble.mean="median"', "teacher.ensemble.mean: found"),
        (
            "teacher.ensemble.weights=[0, 0, 1]",
            'student.net.distill.members: the first 2 members of "ensemble" have no weight',
        ),
    ],
)
def test_a_mean_that_cannot_be_is_refused_in_one_line(several_run, several, refused, contents, change, message):
    before = contents(several_run.parent)
    code, line = refused("run", several, "--out", several_run.parent / "new", "--set", change)
    assert code in (1, 2)
    assert message in line
    assert contents(several_run.parent) == before


# ---------------------------------------------------------------- teachers of several kinds


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, digits):
    """The path of a recipe with the mean of a net, a forest and a file of predictions."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "kinds.toml").write_text(KINDS)
    said = np.random.default_rng(0).normal(size=(len(digits), 10)) + 4 * np.eye(10)[digits.labels]
    np.savez(folder / "guesses.npz", ids=digits.ids, logits=said)
    return folder / "kinds.toml"


@pytest.fixture(scope="module")
def kinds_finished(kinds, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished_kinds") / "kinds"
    limbeck.run(kinds, out)
    return out


def test_a_net_a_forest_and_a_file_of_predictions_teach_together(kinds_finished, kinds):
    found = results(kinds_finished)
    assert [(one["role"], one["name"]) for one in found["models"]] == [
        ("teacher", "net"),
        ("teacher", "forest"),
        ("teacher", "guesses"),
        ("teacher", "mix"),
        ("student", "small"),
        ("baseline", "small"),
    ]
    each = np.exp([predictions(kinds_finished, f"teacher/{name}") for name in ("net", "forest", "guesses")])
    expected = np.tensordot([0.5, 0.25, 0.25], each, axes=1)
    np.testing.assert_allclose(np.exp(predictions(kinds_finished, "teacher/mix")), expected, atol=1e-6)
    facts = found["ensembles"]["teacher/mix"]
    assert facts["rows"] == ["teacher/net", "teacher/forest", "teacher/guesses"]
    assert facts["weights"] == [0.5, 0.25, 0.25]
    together, members = learnt(Road.open(kinds, kinds_finished), 0)
    targets = np.tensordot([0.5, 0.25, 0.25], softmax(np.array(members) / 4, axis=-1), axes=1)
    np.testing.assert_allclose(softmax(together / 4, axis=-1), targets, atol=2e-6)
    assert verify(kinds_finished) == []


def test_weights_of_teachers_of_several_kinds_are_fitted(kinds, kinds_finished, tmp_path):
    shutil.copytree(kinds_finished.parent, tmp_path / "runs", symlinks=True)
    sets = ['teacher.mix.weights="fitted"']
    found = limbeck.run(kinds, tmp_path / "runs" / "fitted", sets=sets)["ensembles"]["teacher/mix"]
    assert found["fitted"]["nll"] < found["fitted"]["nll_equal"]
    assert found["fitted"]["errors"] <= found["fitted"]["errors_equal"]


@pytest.fixture(scope="module")
def forests(tmp_path_factory):
    """The path of a recipe with forests as members, each fitted in folds on rows that are drawn for it."""
    path = tmp_path_factory.mktemp("forests") / "forests.toml"
    member = 'members = 2\nbootstrap = true\nfolds = 2\nmodel = { kind = "random-forest", trees = 30 }'
    whole = SEVERAL.replace('member_name = "single"\nmembers = 3', 'member_name = "single"').split("[[transfer]]", 1)
    teacher = whole[0].partition("model = ")[0].replace("labels = 100", "labels = 300") + member
    path.write_text("[[student]]".join(f"{teacher}\n\n[[transfer]]{whole[1]}".split("[[student]]")[:2]))
    return path


@pytest.fixture(scope="module")
def forests_finished(forests, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished_forests") / "forests"
    limbeck.run(forests, out)
    return out


def test_members_may_be_forests_on_rows_that_are_drawn_for_each(forests_finished, forests):
    found = results(forests_finished)
    members = [row(found, "reference", "single", member=number) for number in (1, 2)]
    assert len({member["nll"] for member in members}) == 2
    assert row(found, "teacher", "ensemble")["nll"] < max(member["nll"] for member in members)
    assert verify(forests_finished) == []
    assert f"nothing to do: {forests_finished} is complete" in said(forests, forests_finished)


def test_a_row_that_was_drawn_more_than_once_is_not_answered_for_by_what_has_seen_it(forests_finished, forests):
    road = Road.open(forests, forests_finished)
    chances = {False: [], True: []}
    for stage in road.planner.members():
        own = OwnRows.load(road.workshop.folder(stage) / OWN_ROWS)
        ids, times = np.unique(stage.rows.train.ids, return_counts=True)
        part = road.split.train.take(np.flatnonzero(np.isin(road.split.train.ids, ids)))
        known, answers = own.answers_for(part)
        assert known.all()
        often = times[np.searchsorted(ids, part.ids)] > 1
        assert 60 < often.sum() < 100
        of_label = np.exp(answers[np.arange(len(part)), part.labels])
        for more in (False, True):
            chances[more].append(of_label[often == more].mean())
    # Seen by its trees, a row that was drawn twice has 0.83 in place of 0.6.
    assert np.mean(chances[True]) < np.mean(chances[False]) + 0.1


def test_members_with_bootstrap_are_trained_on_as_many_rows_drawn_with_replacement(several, several_run):
    sets = ["teacher.ensemble.bootstrap=true"]
    found = limbeck.run(several, several_run.parent / "bagged", sets=sets)
    assert len(found["models"]) == 10
    stages = Road.open(several, several_run.parent / "bagged", sets=sets).planner.members()
    assert all(len(stage.selected) == 100 and 50 < len(np.unique(stage.selected)) < 80 for stage in stages)
    assert len({stage.selected.tobytes() for stage in stages}) == 3
    assert not {stage.identity.key for stage in stages} & set(parts(several_run).values())


def test_a_given_teacher_whose_classes_come_in_another_order_is_named(several_finished, kinds, tmp_path, refused):
    given = tmp_path / "turned"
    shutil.copytree(several_finished / "models/reference/single-member=1", given)
    for name in ("SHA256SUMS", "history.json"):
        (given / name).unlink()
    described = json.loads((given / "model.json").read_bytes())
    described["classes"] = described["classes"][::-1]
    del described["identity"]
    (given / "model.json").write_text(json.dumps(described))
    code, line = refused("run", kinds, "--out", tmp_path / "runs" / "kinds", "--set", f'teacher.guesses.from="{given}"')
    assert code in (1, 2)
    assert f"{given} has the classes 9, 8, 7" in line
    assert not (tmp_path / "runs").exists()


def test_a_mean_of_a_mean_is_refused(kinds, tmp_path):
    with pytest.raises((LimbeckError, UsageError), match=r'"mix" is a mean itself'):
        Road.open(
            kinds, tmp_path / "runs" / "kinds",
            sets=['teacher=[{name="net", model={kind="random-forest"}}, {name="b", model={kind="random-forest", trees=4}}, {name="mix", of=["net", "b"]}, {name="all", of=["mix", "net"]}]'],
        )  # fmt: skip


# ---------------------------------------------------------------- students that teach


@pytest.fixture(scope="module")
def generations(tmp_path_factory):
    path = tmp_path_factory.mktemp("generations") / "generations.toml"
    path.write_text(GENERATIONS)
    return path


@pytest.fixture(scope="module")
def generations_finished(generations, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished_generations") / "generations"
    limbeck.run(generations, out)
    return out


@pytest.fixture
def generations_run(generations_finished, tmp_path):
    shutil.copytree(generations_finished.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "generations"


def test_a_student_that_teaches_is_one_model_under_two_names(generations_finished):
    found, named = results(generations_finished), parts(generations_finished)
    taught = row(found, "student", "born-again-1", temperature=1)
    teaches = row(found, "teacher", "generation-1")
    assert [taught[key] for key in ("errors", "nll", "parameters")] == [
        teaches[key] for key in ("errors", "nll", "parameters")
    ]
    assert named["teacher/generation-1"] == named["student/born-again-1-temperature=1"]
    assert (generations_finished / "models/teacher/generation-1").resolve().parent.name == "student"
    recorded = json.loads(
        (
            generations_finished.parent / "artifacts/knowledge" / named["knowledge/generation-1-train-view=0"]
            / "knowledge.json"
        ).read_bytes()
    )  # fmt: skip
    assert recorded["teacher"] == named["teacher/generation-1"]
    assert verify(generations_finished) == []


def test_generations_teach_together(generations_finished):
    found = results(generations_finished)
    each = np.exp([predictions(generations_finished, f"teacher/generation-{number}") for number in (0, 1)])
    shown = np.exp(predictions(generations_finished, "teacher/generations"))
    np.testing.assert_allclose(shown, each.mean(axis=0), atol=1e-6)
    assert found["ensembles"]["teacher/generations"]["rows"] == ["teacher/generation-0", "teacher/generation-1"]


@pytest.mark.slow
def test_a_run_of_generations_that_was_stopped_goes_on(generations, generations_finished, tmp_path):
    out = tmp_path / "runs" / "generations"
    with pytest.raises(KeyboardInterrupt):
        limbeck.run(generations, out, progress=Stops("student born-again-2 (temperature 1)"))
    heard = said(generations, out)
    assert not any("generation-0" in one or "born-again-1" in one for one in made(heard))
    assert artifacts(out.parent) == artifacts(generations_finished.parent)
    assert f"nothing to do: {out} is complete" in said(generations, out)


@pytest.mark.slow
def test_a_fresh_run_of_generations_sets_the_old_aside_with_links_that_lead_somewhere(generations, generations_run):
    before = artifacts(generations_run.parent)
    said(generations, generations_run, fresh=True)
    assert artifacts(generations_run.parent) == before
    old = generations_run.with_name("generations.old-1")
    links = [path for path in (old / "models").rglob("*") if path.is_symlink()]
    assert len(links) == 9
    assert all(old in path.resolve().parents for path in links)
    assert verify(old) == []
    assert verify(generations_run) == []


def test_a_student_that_would_teach_itself_is_refused(generations, tmp_path):
    with pytest.raises(UsageError, match='"generation-1" would be taught by itself'):
        Road.open(generations, tmp_path / "runs" / "g", sets=['student.born-again-1.teacher="generation-1"'])


# ---------------------------------------------------------------- looking at it


def test_a_dry_run_counts_every_member_once_and_writes_nothing(several, limbeck, tmp_path):
    code, written, _ = limbeck("run", several, "--out", tmp_path / "runs" / "several", "--dry-run")
    assert code == 0
    for number in (1, 2, 3):
        assert written.count(f"reference single (member {number}) ") == 1
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_a_finished_run_has_nothing_to_do(several, several_run, limbeck, contents):
    before = contents(several_run.parent)
    code, written, _ = limbeck("run", several, "--out", several_run, "--dry-run")
    assert code == 0
    assert "nothing to do: all " in written
    assert contents(several_run.parent) == before
    code, written, _ = limbeck(
        "run", several, "--out", several_run.parent / "four", "--set", "teacher.ensemble.members=4", "--dry-run"
    )
    to_do = [line for line in written.splitlines() if line.startswith("to do")]
    assert len(to_do) == 8  # a member, a mean, knowledge of two parts in two views, two students


def test_a_dry_run_of_generations_names_what_teaches(generations, limbeck, tmp_path):
    code, written, _ = limbeck("run", generations, "--out", tmp_path / "runs" / "generations", "--dry-run")
    assert code == 0
    assert "knowledge of generation-1, inputs" in written


def test_the_run_as_far_as_its_knowledge_has_no_students(several, limbeck, tmp_path):
    out = tmp_path / "runs" / "several"
    code, _, _ = limbeck("extract", several, "--out", out)
    assert code == 0
    artifact_kinds = {path.name: len(list(path.iterdir())) for path in (out.parent / "artifacts").iterdir()}
    assert (artifact_kinds["teacher"], artifact_kinds["knowledge"]) == (5, 12)
    assert "student" not in artifact_kinds


def test_the_run_as_far_as_its_teachers_has_every_member(several, limbeck, tmp_path):
    out = tmp_path / "runs" / "several"
    code, _, _ = limbeck("teach", several, "--out", out)
    assert code == 0
    assert len(list((out.parent / "artifacts" / "teacher").iterdir())) == 5
    assert not (out.parent / "artifacts" / "knowledge").exists()


def test_a_run_and_an_ensembles_folder_can_be_inspected(several_finished, limbeck):
    for path in (several_finished, several_finished / "models/teacher/ensemble"):
        code, written, err = limbeck("inspect", path)
        assert (code, err) == (0, "")
        assert written
        code, written, _ = limbeck("inspect", path, "--verify")
        assert (code, written) == (0, f"{path} is whole\n")
    named = parts(several_finished)["reference/single-member=1"]
    assert named[:12] in str(inspect(several_finished / "models/teacher/ensemble").facts)


# ---------------------------------------------------------------- the same members with other weights


def test_members_with_fitted_weights_stand_beside_those_with_equal_ones(several_run, several, tmp_path):
    recipe, whole = tmp_path / "beside.toml", SEVERAL.split("[[transfer]]", 1)
    fitted = '[[teacher]]\nname = "fitted"\nof = ["ensemble"]\nweights = "fitted"\n\n[[transfer]]'
    students = f"{whole[0]}{fitted}{whole[1]}".split("[[student]]")
    both = [
        students[1].replace("net", name) + f'teacher = "{of}"\n\n' for name, of in (("a", "ensemble"), ("b", "fitted"))
    ]
    recipe.write_text("[[student]]".join([students[0], *both]))
    out = several_run.parent / "beside"
    heard = said(recipe, out)
    assert [one for one in made(heard) if not one.startswith(("student", "baseline"))] == []
    found = results(out)
    assert [(one["role"], one["name"]) for one in found["models"]][:5] == [
        *[("reference", "single")] * 3,
        ("teacher", "ensemble"),
        ("teacher", "fitted"),
    ]
    facts = found["ensembles"]["teacher/fitted"]
    assert facts["rows"] == found["ensembles"]["teacher/ensemble"]["rows"]
    assert facts["errors_equal_weights"] == found["ensembles"]["teacher/ensemble"]["errors"]
    assert parts(out)["teacher/ensemble"] == parts(several_run)["teacher/ensemble"]
    assert (
        parts(out)["student/a-temperature=4,unlabelled=true"] != parts(out)["student/b-temperature=4,unlabelled=true"]
    )
    assert parts(out)["baseline/a-unlabelled=true"] == parts(out)["baseline/b-unlabelled=true"]
    assert verify(out) == []
    assert f"nothing to do: {out} is complete" in said(recipe, out)


# ---------------------------------------------------------------- killed


@pytest.mark.slow
def test_a_run_that_was_killed_at_any_member_ends_with_the_same_bytes(several, several_finished, tmp_path):
    out = tmp_path / "runs" / "several"
    command = [sys.executable, "-m", "limbeck", "run", str(several), "--out", str(out)]
    killed = 0
    for moment in ("teacher/*.part", "teacher/*/SHA256SUMS", "knowledge/*.part", "knowledge/*/SHA256SUMS", "student/*"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not any((out.parent / "artifacts").glob(moment)):
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed
    limbeck.run(several, out)
    assert artifacts(out.parent) == artifacts(several_finished.parent)
    assert verify(out) == []
