"""What `limbeck inspect` says of ensembles, and of what teachers know of a transfer set."""

import json
import shutil

import numpy as np
import pytest

from limbeck.ensembles import member_disagreement
from limbeck.files import read_tensors
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify

SEVERAL = """
title = "an ensemble of three"

[data]
source = "digits"
validation = 200
labels = 200
test = 0.2

[[teacher]]
name = "several"
members = 3
member_name = "single"
weights = "fitted"
model = { kind = "mlp", widths = [16] }
train = { epochs = 6, batch_size = 32, learning_rate = 1e-2 }

[[transfer]]
name = "all"
parts = ["labelled", "unlabelled"]

[[student]]
name = "mlp"
teacher = "several"
transfer = "all"
model = { kind = "mlp", widths = [16] }
train = { epochs = 2, batch_size = 32, learning_rate = 1e-2 }
"""


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A finished run of an ensemble of three. Not to be changed: `several_run` is a copy."""
    from limbeck.road import run

    folder = tmp_path_factory.mktemp("several")
    (folder / "several.toml").write_text(SEVERAL)
    run(folder / "several.toml", folder / "runs" / "several")
    return folder / "runs" / "several"


@pytest.fixture
def several_run(several, tmp_path):
    shutil.copytree(several.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "several"


def members(run):
    return [run / "models" / "reference" / f"single-member={number}" for number in (1, 2, 3)]


def test_a_mean_shows_its_members_and_their_weights(several):
    folder = several / "models" / "teacher" / "several"
    found = inspect(folder)
    fitted = json.loads((folder / "weights.json").read_text())
    assert found.facts["model"] == "mean (of 3 models)"
    assert found.facts["mean of"] == "probabilities"
    assert found.facts["weights"] == (
        f"fitted on 200 validation rows: {fitted['errors']} errors there, {fitted['errors_equal']} with equal ones"
    )
    head, _, *lines = found.tables["its members"].splitlines()
    assert head.split() == ["member", "model", "seed", "parameters", "weight"]
    for line, member, weight in zip(lines, members(several), fitted["weights"], strict=True):
        key, kind, _, parameters, shown = line.split()
        assert member.resolve().name.startswith(key)
        assert (kind, parameters, shown) == ("mlp", "1,210", f"{weight:.3f}")


def test_a_mean_of_estimators_says_how_large_their_files_are(grapes_finished):
    teachers = grapes_finished / "models" / "teacher"
    found = inspect(teachers / "both")
    assert found.facts["weights"] == "equal"
    _, _, forest, boosting = found.tables["its members"].splitlines()
    for line, name in ((forest, "forest"), (boosting, "boosting")):
        assert f"{inspect(teachers / name).facts['bytes']} bytes" in line
        assert line.endswith("0.500")


def test_a_mean_without_its_members_says_that_they_are_not_beside_it(several, tmp_path):
    copied = shutil.copytree(several / "models" / "teacher" / "several", tmp_path / "alone")
    assert inspect(copied).tables["its members"].count("not beside it") == 3


def test_knowledge_says_how_sure_the_teacher_is_and_of_which_classes(several):
    folder = next(path for path in sorted((several.parent / "artifacts" / "knowledge").iterdir()) if path.is_dir())
    facts = inspect(folder).facts
    assert "% on the average, entropy" in facts["how sure"]
    assert "of rows below 50%" in facts["how sure"]
    shares = [float(one.rpartition(" ")[2].rstrip("%")) for one in facts["its classes"].split(", ")]
    assert sum(shares) == pytest.approx(100, abs=0.6)
    assert shares == sorted(shares, reverse=True)


def test_a_run_says_how_sure_the_teacher_is_of_each_part(several):
    labelled, unlabelled = inspect(several).tables["what the teachers know of the transfer sets"].splitlines()
    assert labelled.startswith("labelled: 200 rows, the teacher is ")
    assert unlabelled.startswith("unlabelled: 1,037 rows, the teacher is ")
    assert "of validation rows" in unlabelled


def test_a_run_says_how_its_members_differ_and_about_which_rows_most(several):
    tables = inspect(several).tables
    facts = json.loads((several / "results.json").read_text())["ensembles"]["teacher/several"]
    line = tables["ensembles"].splitlines()[2]
    assert f"{facts['lowest']} to {facts['highest']}" in line
    assert f"{facts['pairwise_disagreement']:.1%}" in line
    said = [
        read_tensors(several / "predictions" / "reference" / f"{member.name}.safetensors")[0]["log_probs"]
        for member in members(several)
    ]
    chosen = np.stack([one.argmax(axis=1) for one in said])
    split = np.flatnonzero((chosen != chosen[0]).any(axis=0))
    first = split[member_disagreement(said, facts["weights"])[split].argmax()]
    top = tables["test rows about which the members of several disagree most"].splitlines()[2].split()
    assert top[:2] == ["row", str(first)]
    assert top[-3:] == [str(one) for one in chosen[:, first]]


def test_without_members_predictions_the_rest_is_said(several_run):
    (several_run / "predictions" / "reference" / "single-member=2.safetensors").unlink()
    tables = inspect(several_run).tables
    assert set(tables) == {"what the teachers know of the transfer sets", "ensembles"}


def test_results_without_ensembles_have_no_tables(finished):
    assert "ensembles" not in inspect(finished).tables


def test_results_of_another_form_are_no_traceback(several_run):
    results = json.loads((several_run / "results.json").read_text())
    results |= {"parts": [{"part": 3}], "ensembles": {"teacher/several": []}}
    (several_run / "results.json").write_text(json.dumps(results))
    assert inspect(several_run).kind == "run"
    assert verify(several_run)
