import shutil

import numpy as np
import pytest
import torch

import limbeck
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.recipe import Regression
from limbeck.regression import LinearNet, PowerLoss, RegressionStage, load_task, steps_to, walk

RECIPE = """
title = "Depth"
[data]
source = "digits"
test = 0.25
[[teacher]]
name = "2x8"
model = { kind = "mlp", widths = [8, 8] }
train = { epochs = 3, learning_rate = 1e-2 }
[[student]]
name = "2x8"
model = { kind = "mlp", widths = [8, 8] }
train = { epochs = 3, learning_rate = 1e-2 }
[[regression]]
name = "linear"
powers = [4, 2]
depths = [1, 3]
learning_rates = [0.1, 0.3]
steps = 60
[[claim]]
text = "Depth 3 ends lower"
row = { role = "reference", name = "linear", depth = 3, power = 4 }
show = "loss"
minus = { role = "reference", name = "linear", depth = 1, power = 4 }
"""


@pytest.fixture(scope="module")
def task():
    return load_task("diabetes")


def stage(task, depth=1, power=2, rates=(0.1,), steps=50):
    settings = Regression(name="linear", depths=[depth], powers=[power], learning_rates=list(rates), steps=steps)
    return RegressionStage("linear", "diabetes", task, depth, power, settings, 0)


@pytest.mark.parametrize("depth", [1, 2, 8])
def test_every_depth_begins_at_the_same_function_with_balanced_weights(task, depth):
    start = torch.randn(10, generator=torch.Generator().manual_seed(1)) * 0.1
    net = LinearNet(start, depth)
    inputs = torch.from_numpy(task.inputs[:5])
    torch.testing.assert_close(net(inputs).logits, (inputs @ start)[:, None])
    for weight in net.others:
        assert float(weight.detach()) == pytest.approx(float(net.first.detach().norm()), rel=1e-5)


def test_depth_one_is_plain_gradient_descent_on_all_rows(task):
    found = walk(stage(task, rates=[0.1], steps=4))
    start = torch.randn(10, generator=torch.Generator().manual_seed(0)).numpy().astype(np.float64)
    weights = start / np.linalg.norm(start) * 0.1
    for loss in found["losses"]:
        rest = task.inputs @ weights - task.values
        assert loss == pytest.approx((rest**2).mean() / 2, rel=1e-5)
        weights -= 0.1 * task.inputs.T @ rest / len(rest)


def test_the_least_squares_are_those_of_linear_algebra(task):
    rest = np.linalg.lstsq(task.inputs.astype(np.float64), task.values, rcond=None)[1][0]
    assert task.least_loss(2) == pytest.approx(rest / 2 / len(task.values), rel=1e-9)


def test_no_gradient_is_left_where_the_loss_is_least(task):
    # A longer walk comes closer, and never below.
    near, nearer = (walk(stage(task, power=4, rates=[0.1], steps=steps)) for steps in (100, 1000))
    assert near["losses"][-1] > nearer["losses"][-1] > nearer["least"]


def test_the_step_size_that_is_soonest_close_is_shown(task):
    found = walk(stage(task, rates=[0.1, 0.4], steps=1500))
    steps = {trial["learning_rate"]: trial["steps"] for trial in found["trials"]}
    assert steps[found["learning_rate"]] == min(steps.values()) < steps[0.1]


def test_of_step_sizes_that_come_close_nowhere_the_one_with_the_lowest_loss_is_shown_and_one_that_diverges_is_not(task):
    found = walk(stage(task, depth=2, power=4, rates=[0.01, 0.1, 100.0]))
    assert found["learning_rate"] == 0.1
    assert [trial["loss"] is None for trial in found["trials"]] == [False, False, True]
    nowhere = walk(stage(task, depth=2, power=4, rates=[100.0]))
    assert (nowhere["learning_rate"], nowhere["losses"]) == (None, [])


def test_the_power_loss_is_that_of_the_formula():
    outputs, values = torch.tensor([[1.0], [-2.0]]), torch.tensor([[0.0], [1.0]])
    assert float(PowerLoss(4)(outputs, teacher_logits=values)) == pytest.approx((1 + 81) / 2 / 4)


def test_steps_are_counted_until_little_of_the_loss_is_left():
    assert steps_to([1.0, 0.6, 0.21, 0.2009, 0.2], 0.2, share=0.01) == 3
    assert steps_to([1.0, 0.9], 0.2) is None
    assert steps_to([1.0, 0.2, 0.4, 0.2, 0.2], 0.2) == 3  # what it leaves again does not count
    assert steps_to([1.0, 0.2, 0.4], 0.2) is None


def test_a_run_shows_each_depth_and_makes_a_damaged_one_again(tmp_path):
    recipe, out = tmp_path / "depth.toml", tmp_path / "runs" / "depth"
    recipe.write_text(RECIPE)
    results = limbeck.run(recipe, out)
    rows = [row for row in results["models"] if row["role"] == "reference"]
    assert [row["variant"] for row in rows] == [{"depth": d, "power": p} for p in (4, 2) for d in (1, 3)]
    assert {row["data"] for row in rows} == {"diabetes"}
    assert {(row["errors"], row["accuracy"], row["trials"]) for row in rows} == {(None, None, 2)}
    assert set(rows[0]) == set(results["models"][0])
    assert results["claims"][0]["here"] == pytest.approx(rows[1]["metrics"]["loss"] - rows[0]["metrics"]["loss"])
    assert "<h2>Depth alone</h2>" in (out / "report.html").read_text()
    assert verify(out) == []
    folder = next((out.parent / "artifacts" / "regression").iterdir())
    assert inspect(folder).kind == "regression"
    close = sum("steps" in row["metrics"] for row in rows)
    said = [inspect(path).facts["step size"] for path in folder.parent.iterdir()]
    assert [sum(why in one for one in said) for why in ("soonest", "none came close")] == [close, len(rows) - close]
    whole = (folder / "regression.json").read_bytes()
    (folder / "regression.json").write_bytes(whole.replace(b"0.1", b"0.7", 1))
    assert [damage.path.name for damage in verify(out)] == ["regression.json"]
    limbeck.run(recipe, out)
    assert (folder / "regression.json").read_bytes() == whole
    assert verify(out) == []
    other = next(path for path in folder.parent.iterdir() if path not in (folder, *folder.parent.glob("*.*")))
    for file in folder.iterdir():
        shutil.copy(file, other / file.name)
    assert [damage.path.name for damage in verify(out)] == [other.name]
    limbeck.run(recipe, out)  # another's content is not taken for its own
    assert verify(out) == []
