"""Students against baselines over several seeds: a test row counts once."""

import json
import shutil

import numpy as np
import pytest

import limbeck
from limbeck.data import load_dataset
from limbeck.errors import LimbeckError
from limbeck.files import read_tensors
from limbeck.metrics import mcnemar_exact
from limbeck.results.paired import paired_table

STUDENT, BASELINE = "student/2x16-temperature=4", "baseline/2x16"


@pytest.fixture(scope="module")
def seeds(tiny, finished, tmp_path_factory):
    other = tmp_path_factory.mktemp("seeds") / "tiny-1"
    limbeck.run(tiny, other, seed=1)
    return [finished, other]


def right(run, name):
    labels = load_dataset("digits").split(validation=200, test=0.25, seed=0).test.labels
    return read_tensors(run / "predictions" / f"{name}.safetensors")[0]["log_probs"].argmax(axis=1) == labels


def body(table):
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


def test_one_seed_is_mcnemars_test(seeds, finished):
    ((_, ahead, behind, p),) = body(paired_table([finished], markdown=True))
    student, baseline = right(finished, STUDENT), right(finished, BASELINE)
    assert (int(ahead), int(behind)) == (np.sum(student & ~baseline), np.sum(baseline & ~student))
    row = next(row for row in json.loads((finished / "results.json").read_text())["models"] if row["verdict"])
    assert p == f"{row['p_value']:.2g}"


def test_over_seeds_a_row_counts_once_for_whoever_is_right_more_often(seeds):
    ((label, ahead, behind, p),) = body(paired_table(seeds, markdown=True))
    difference = sum(right(run, STUDENT).astype(int) - right(run, BASELINE) for run in seeds)
    assert label == "2x16 (temperature 4)"
    assert (int(ahead), int(behind)) == (np.sum(difference > 0), np.sum(difference < 0))
    assert p == f"{mcnemar_exact(difference > 0, difference < 0):.2g}"


def test_what_has_no_predictions_is_refused_in_one_line(seeds, finished, tmp_path):
    with pytest.raises(LimbeckError, match=r"results.json is a file, without predictions"):
        paired_table([finished / "results.json"])
    copy = tmp_path / "run"
    shutil.copytree(finished, copy, symlinks=True)
    (copy / "predictions" / f"{STUDENT}.safetensors").unlink()
    with pytest.raises(LimbeckError, match="no such file: run `limbeck evaluate` again"):
        paired_table([copy])


def test_without_a_baseline_there_is_nothing_to_pair(tiny, tmp_path):
    run = tmp_path / "alone"
    limbeck.run(tiny, run, sets=["student.2x16.baseline=false", "student.2x16.train.epochs=1"])
    with pytest.raises(LimbeckError, match="no student stands beside a baseline"):
        paired_table([run])
