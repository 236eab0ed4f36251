"""A run killed or interrupted at any moment: the same command goes on and ends with the same bytes."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from limbeck.inspection.verification import verify
from walks import artifacts

pytestmark = pytest.mark.slow

# The command with a checkpoint at every opportunity, and knowledge in many shards.
COMMAND = """
import limbeck.training, limbeck.knowledge.store
limbeck.training.CHECKPOINT_SECONDS = -1.0
limbeck.training.CHECKPOINT_PAUSE = 0
limbeck.knowledge.store.SHARD_BYTES = 2500
from limbeck.cli import main
main()
"""
LONGER = ("--set", "teacher.convnet.train.epochs=12", "--set", "student.2x16.train.epochs=12")


def command(recipe, out):
    return [sys.executable, "-c", COMMAND, "run", str(recipe), "--out", str(out), *LONGER]


@pytest.fixture(scope="module")
def uninterrupted(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted") / "tiny"
    subprocess.run(command(tiny, out), check=True, capture_output=True)
    return out


def started(tiny, out):
    return subprocess.Popen(command(tiny, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# What must be there before the run is stopped, from its first file to its last.
MOMENTS = [
    ".lock",
    "recipe.toml",
    "../artifacts/teacher/*.part/plan.json",
    "../artifacts/teacher/*.part/checkpoint.safetensors",
    "../artifacts/teacher/*.part/checkpoint-previous.safetensors",
    "../artifacts/knowledge/*.part/00002.safetensors",
    "../artifacts/knowledge/*/SHA256SUMS",
    "../artifacts/student/*.part/checkpoint-previous.safetensors",
    "../artifacts/student/*/SHA256SUMS",
    "predictions/*/*",
    "results.json",
]


def stopped(process, out, moment, how, delay):
    """Wait for the moment, and a little longer, and stop it; False if it was done before."""
    while not any(out.glob(moment)):
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(how)
    return True


def test_a_run_killed_at_every_stage_ends_with_the_same_bytes(tiny, tmp_path, uninterrupted):
    out = tmp_path / "runs" / "tiny"
    random = np.random.default_rng(0)
    killed = 0
    for moment in MOMENTS:
        process = started(tiny, out)
        killed += stopped(process, out, moment, signal.SIGKILL, float(random.uniform(0, 0.05)))
        process.communicate()
    assert killed >= len(MOMENTS) - 2
    ended = subprocess.run(command(tiny, out), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert artifacts(tmp_path / "runs") == artifacts(uninterrupted.parent)
    assert verify(out) == []
    predictions = [{path.name: path.read_bytes() for path in sorted((run / "predictions").rglob("*.safetensors"))}
                   for run in (out, uninterrupted)]  # fmt: skip
    assert predictions[0] == predictions[1]


def test_ctrl_c_says_so_in_one_line_and_the_same_command_goes_on(tiny, tmp_path, uninterrupted):
    out = tmp_path / "runs" / "tiny"
    for moment in ("../artifacts/teacher/*.part/checkpoint.safetensors", "../artifacts/student/*.part/plan.json"):
        process = started(tiny, out)
        assert stopped(process, out, moment, signal.SIGINT, 0.02)
        _, err = process.communicate()
        assert process.returncode == 130
        assert err.splitlines()[-1] == "limbeck: interrupted: the same command continues"
        assert "Traceback" not in err
    ended = subprocess.run(command(tiny, out), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert artifacts(tmp_path / "runs") == artifacts(uninterrupted.parent)


def test_two_processes_at_once_come_to_the_same(tiny, tmp_path, uninterrupted):
    """Two runs that share all their artifacts: one may be told to wait for the other, and neither spoils anything."""
    outs = [tmp_path / "runs" / name for name in ("first", "second")]
    processes = [started(tiny, out) for out in outs]
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0 or "by another process" in err.splitlines()[-1], err
    for out in outs:
        subprocess.run(command(tiny, out), check=True, capture_output=True)
        assert verify(out) == []
    assert artifacts(tmp_path / "runs") == artifacts(uninterrupted.parent)


def test_the_bytes_do_not_depend_on_the_process(tiny, tmp_path, uninterrupted):
    out = tmp_path / "runs" / "tiny"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "HOSTNAME": "elsewhere"}
    subprocess.run(command(tiny, out), check=True, capture_output=True, env=environment)
    assert artifacts(tmp_path / "runs") == artifacts(uninterrupted.parent)
