"""Where models compute. What a GPU has to do with it is tried where there is one; elsewhere on a device without numbers.

On PyTorch's device "meta" tensors have shapes and no numbers, and an operation on tensors of two devices is an error:
what runs there until a number is asked for has moved all that it needs.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import limbeck as package
from limbeck import devices
from limbeck.artifacts import kept_plan, write_sums
from limbeck.batches import StoredBatches
from limbeck.devices import (
    brought,
    check_device,
    device_of,
    gpu_count,
    on_device,
    repeatable,
    resolve_device,
    using_device,
)
from limbeck.distillation import extract
from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.targets import CombinedTargets, LabelTargets, LiveTargets, RowWeights, StoredTargets
from limbeck.models import build_model
from limbeck.objectives import Objective
from limbeck.precision import autocast, resolve_precision
from limbeck.road import Road
from limbeck.teachers import TorchTeacher
from limbeck.train_settings import TrainSettings
from limbeck.training import predict_log_probs, train
from tiny_texts import learnable_folder, written_texts
from walks import artifacts, parts, said

on_gpu = pytest.mark.skipif(not gpu_count(), reason="needs a GPU")
GPU_COUNT = gpu_count  # as it is, and not as all tests find it
NO_NUMBERS = "Cannot copy out of meta tensor|cannot be called on meta tensors"
TEXTS = """
title = "Texts"

[data]
source = "rows.jsonl"
label = "label"
validation = 60
test = 0.25

[[general]]
name = "short"
model = { kind = "encoder", from = "base", layers = 2 }
distill = { soft = 0, hard = 0, hidden = 1 }
train = { epochs = 1, batch_size = 16 }

[[teacher]]
name = "big"
model = { kind = "encoder", from = "base" }
train = { epochs = 4, batch_size = 16, learning_rate = 2e-3, warmup = 0.1 }
folds = 2

[[student]]
name = "half"
model = { kind = "encoder", layers = 2 }
distill = { hard = 1, hidden = 0.5 }
train = { epochs = 2, batch_size = 16, learning_rate = 2e-3, warmup = 0.1 }
"""
TEACHERS = """
title = "Teachers"

[data]
source = "rows.jsonl"
label = "label"
validation = 60
test = 0.25

[[teacher]]
name = "given"
from = "given"

[[teacher]]
name = "big"
model = { kind = "encoder", from = "base" }
train = { epochs = 4, batch_size = 16, learning_rate = 2e-3, warmup = 0.1 }

[[teacher]]
name = "both"
of = ["given", "big"]

[[student]]
name = "half"
teacher = "both"
model = { kind = "encoder", from = "base", layers = 2 }
sweep = { "distill.temperature" = [2, 4] }
train = { epochs = 1, batch_size = 16, learning_rate = 2e-3, warmup = 0.1 }
"""


class Linear(nn.Module):
    """From pixels to ten logits, so made that the processor's rows are no use to it elsewhere."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1).float())


@pytest.fixture
def gpus(monkeypatch):
    """A function: PyTorch finds so many GPUs."""

    def found(count):
        monkeypatch.setattr(devices, "gpu_count", GPU_COUNT)
        monkeypatch.setattr(devices, "_computes", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return found


@pytest.fixture
def a_gpu(monkeypatch):
    """The GPUs that are really here."""
    monkeypatch.setattr(devices, "gpu_count", GPU_COUNT)


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("asked", "kind", "count", "where"),
    [
        ("auto", "encoder", 0, "cpu"),
        ("auto", "encoder", 2, "cuda:0"),
        ("auto", "mlp", 1, "cuda:0"),
        ("auto", "soft-tree", 1, "cpu"),
        ("auto", None, 1, "cpu"),
        ("cpu", "encoder", 1, "cpu"),
        ("cuda", "encoder", 1, "cuda:0"),
        ("cuda:1", "convnet", 2, "cuda:1"),
        ("cuda:1", "random-forest", 2, "cpu"),
    ],
)
def test_the_rule_looks_at_what_was_asked_for_the_kind_and_the_gpus_that_are_there(gpus, asked, kind, count, where):
    gpus(count)
    with using_device(asked):
        assert resolve_device(kind) == where


def test_what_was_asked_for_holds_no_longer_than_its_block(gpus):
    gpus(2)
    with using_device("cuda:1"):
        with using_device("cpu"):
            assert resolve_device("mlp") == "cpu"
        assert resolve_device("mlp") == "cuda:1"
    assert resolve_device("mlp") == "cuda:0"


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("gpu", 1, 'device = "gpu": expected auto, cpu, cuda, or cuda:1 for the second GPU'),
        ("cuda:one", 1, "expected auto, cpu, cuda"),
        ("cuda", 0, "finds no GPU here: choose cpu or auto"),
        ("cuda:2", 2, "finds GPUs up to cuda:1 here: choose cpu or auto"),
    ],
)
def test_a_device_that_is_none_or_not_here_is_refused(gpus, name, count, message):
    gpus(count)
    with pytest.raises(UsageError, match=message):
        check_device(name)


def test_a_gpu_that_this_pytorch_was_not_built_for_is_left_alone_unless_it_is_asked_for(gpus, monkeypatch):
    gpus(1)
    monkeypatch.setattr(devices, "_computes", lambda: False)
    assert resolve_device("encoder") == "cpu"
    with using_device("cuda"):
        assert resolve_device("encoder") == "cuda:0"


def test_bfloat16_goes_by_the_device_that_computes(monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: {"cuda:0": (7, 5), "cuda:1": (9, 0)}[device]
    )
    monkeypatch.setattr("limbeck.precision.torch.cpu", object())
    found = [resolve_precision("auto", "encoder", device) for device in ("cpu", "cuda:0", "cuda:1")]
    assert found == ["float32", "float32", "bfloat16"]


def test_a_model_that_others_hold_is_copied_to_its_device_and_stays_where_it_was(monkeypatch):
    model = Linear()
    assert on_device(model) is model
    monkeypatch.setattr(devices, "resolve_device", lambda kind: "meta")
    there = on_device(model)
    assert (device_of(there).type, device_of(model).type) == ("meta", "cpu")
    assert on_device(there) is there


def test_rows_are_brought_to_a_model_and_texts_are_not():
    model, rows = Linear().to("meta"), torch.zeros(2, 64)
    assert brought(rows, model).device.type == "meta"
    model.kind = "encoder"
    assert brought(rows, model) is rows


# ---------------------------------------------------------------- plans


def test_a_plan_from_before_there_was_a_choice_is_one_of_the_processor(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"precision": "float32", "threads": 3}))
    own = {"device": "cpu", "precision": "float32", "threads": 2}
    assert kept_plan(tmp_path, own, pytest.fail) == {"device": "cpu", "precision": "float32", "threads": 3}


@pytest.mark.parametrize(
    ("begun", "message"),
    [
        (
            {"device": "cuda:0"},
            "was begun on cuda:0, but here the teacher answers on cpu: continue with --device cuda:0",
        ),
        ({"precision": "bfloat16"}, "was begun in bfloat16, but here the teacher answers in float32"),
    ],
)
def test_knowledge_that_was_begun_elsewhere_is_not_gone_on_with(digits, tmp_path, begun, message):
    few = digits.take(np.arange(60))
    model = Linear()
    whole = extract(model, few, tmp_path / "whole").folder
    part = tmp_path / "artifacts" / "knowledge" / f"{whole.name}.part"
    part.mkdir(parents=True)
    (part / "plan.json").write_text(json.dumps(json.loads((whole / "plan.json").read_text()) | begun))
    with pytest.raises(LimbeckError, match=message):
        extract(model, few, tmp_path / "artifacts")


# ---------------------------------------------------------------- the command, and what is written down


def test_a_gpu_that_is_not_here_is_one_line_and_nothing_is_begun(refused, tiny, tmp_path, gpus):
    gpus(0)
    for command in ("run", "teach", "extract", "distill", "evaluate", "report"):
        code, line = refused(command, tiny, "--out", tmp_path / "run", "--device", "cuda")
        assert code == 2
        assert "finds no GPU here: choose cpu or auto" in line
    assert not (tmp_path / "run").exists()


def test_the_run_says_where_it_was_computed(finished):
    assert json.loads((finished / "run.json").read_text())["device"] == {}
    for kind in ("teacher", "student"):
        for folder in (finished.parent / "artifacts" / kind).iterdir():
            assert json.loads((folder / "plan.json").read_text())["device"] == "cpu"


def test_what_a_gpu_made_is_used_where_there_is_none_and_the_run_says_so(tiny_run, tiny):
    for path in (tiny_run.parent / "artifacts").glob("*/*/plan.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"device": "cuda:0"}))
        write_sums(path.parent)
    assert "nothing to do" in said(tiny, tiny_run)
    (tiny_run / "results.json").unlink()
    assert ": done" not in said(tiny, tiny_run).replace("report: done", "")
    assert set(json.loads((tiny_run / "run.json").read_text())["device"].values()) == {"cuda:0"}


def test_the_command_that_makes_the_run_again_has_its_device(tiny, tmp_path):
    said(tiny, tmp_path / "run" / "tiny", device="cpu", until="teach")
    assert json.loads((tmp_path / "run" / "tiny" / "run.json").read_text())["command"].endswith("--device cpu")


# ---------------------------------------------------------------- all that is needed is moved


def lesson(rows):
    """Images, and all that can be said of them: soft targets, labels, weights."""
    inputs = np.random.default_rng(0).integers(0, 256, (1, rows, 8, 8)).astype(np.uint8)
    known = np.zeros((1, rows, 10), np.float16)
    said = [StoredTargets(known), LabelTargets(np.arange(rows) % 10), RowWeights(np.ones(rows, np.float32))]
    return inputs, said


@pytest.mark.parametrize("kind", ["mlp", "convnet", None])
@pytest.mark.parametrize("live", [False, True])
def test_a_training_moves_inputs_and_targets_to_where_the_model_is(kind, live, monkeypatch):
    # Fused optimisers, which come before the first step, know no such device.
    monkeypatch.setattr("limbeck.training._optimizer", lambda model, _: torch.optim.SGD(model.parameters(), lr=0.1))
    inputs, sources = lesson(40)
    settings = {"kind": kind, "widths": [8, 8, 8]} | ({"hidden": 8} if kind == "convnet" else {})
    model, teacher = (
        Linear() if kind is None else build_model(settings, inputs.shape[2:], 10, inputs[0]) for _ in range(2)
    )
    if live:
        sources[0] = LiveTargets(teacher.to("meta"), inputs)
    once = TrainSettings(epochs=1, batch_size=16)
    arguments = (StoredBatches(inputs, 16), CombinedTargets(*sources), Objective(temperature=2, hard=1), once)
    with pytest.raises((RuntimeError, NotImplementedError), match=NO_NUMBERS):
        train(model.to("meta"), *arguments, seed=0)


@pytest.mark.parametrize("kind", ["mlp", None])
def test_answers_are_asked_for_where_the_model_is(kind):
    inputs, _ = lesson(10)
    model = Linear() if kind is None else build_model({"kind": kind, "widths": [8]}, inputs.shape[2:], 10, inputs[0])
    model.to("meta")
    assert device_of(model).type == "meta"
    for ask in (TorchTeacher(model).answer, lambda rows: predict_log_probs(model, rows)):
        with pytest.raises((RuntimeError, NotImplementedError), match=NO_NUMBERS):
            ask(inputs[0])


@pytest.mark.slow
def test_a_run_whose_models_are_copied_elsewhere_comes_to_the_same(tmp_path):
    """The processor by another name is a device of its own to all but PyTorch."""
    pytest.importorskip("transformers")
    learnable_folder(tmp_path / "base")
    written_texts(tmp_path / "rows.jsonl", 400)
    for name, recipe in (("texts", TEXTS), ("teachers", TEACHERS)):
        (tmp_path / f"{name}.toml").write_text(recipe)
        outs = [tmp_path / place / name for place in ("here", "there")]
        package.run(tmp_path / f"{name}.toml", outs[0], device="cpu")
        token = devices._asked.set("cpu:0")
        Road.open(tmp_path / f"{name}.toml", outs[1]).walk()
        devices._asked.reset(token)
        if name == "texts":
            shutil.copytree(outs[0] / "models" / "teacher" / "big", tmp_path / "given")
        here, there = (
            {
                path: data
                for path, data in artifacts(out.parent).items()
                if not path.endswith(("plan.json", "SHA256SUMS"))
            }
            for out in outs
        )
        assert there == here
        assert set(json.loads((outs[1] / "run.json").read_text())["device"].values()) == {"cpu:0"}


# ---------------------------------------------------------------- on a GPU


@on_gpu
@pytest.mark.usefixtures("a_gpu")
def test_a_run_on_a_gpu_gives_the_same_bytes_twice_and_says_where(tiny, finished, tmp_path):
    outs = [tmp_path / name / "tiny" for name in ("one", "two")]
    for out in outs:
        package.run(tiny, out, device="cuda")
    assert artifacts(outs[0].parent) == artifacts(outs[1].parent)
    assert set(json.loads((outs[0] / "run.json").read_text())["device"].values()) == {"cuda:0"}
    assert parts(outs[0]) == parts(finished)
    rows = [json.loads((out / "results.json").read_text())["models"] for out in (outs[0], finished)]
    for here, there in zip(*rows, strict=True):
        # Other random numbers on a GPU: on an H200 one of these short trainings was 5.6% off.
        assert here["accuracy"] == pytest.approx(there["accuracy"], abs=0.15)


@on_gpu
@pytest.mark.slow
@pytest.mark.usefixtures("a_gpu")
def test_encoders_go_the_whole_road_on_a_gpu(tmp_path):
    pytest.importorskip("transformers")
    learnable_folder(tmp_path / "base")
    written_texts(tmp_path / "rows.jsonl", 400)
    (tmp_path / "texts.toml").write_text(TEXTS)
    results = package.run(tmp_path / "texts.toml", tmp_path / "runs" / "texts", device="cuda")
    assert min(row["accuracy"] for row in results["models"] if row["role"] != "general") > 0.6


@on_gpu
def test_a_training_on_a_gpu_that_was_cut_off_ends_with_the_same_bytes(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.training.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr("limbeck.training.CHECKPOINT_PAUSE", 0)
    settings = TrainSettings(epochs=3, batch_size=64, learning_rate=1e-2)

    class Stops(nn.Module):
        """Ends the process, as it were, in the middle of an epoch."""

        def __init__(self, after):
            super().__init__()
            torch.manual_seed(0)
            self.steps, self.after = 0, after
            self.layer = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))

        def forward(self, inputs):
            self.steps += 1
            if self.steps == self.after:
                raise KeyboardInterrupt
            return self.layer(inputs.float() / 16)

    def trained(after, folder):
        model = Stops(after).to("cuda")
        train(
            model, StoredBatches(digits.inputs[np.newaxis], 64), LabelTargets(digits.labels),
            Objective(loss="hard_labels"), settings, seed=3, checkpoint=folder,
        )  # fmt: skip
        return {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}

    whole = trained(10**9, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(50, tmp_path / "cut")
    again = trained(10**9, tmp_path / "cut")
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)


@on_gpu
def test_a_module_of_ones_own_is_asked_where_it_is(digits, tmp_path):
    model = Linear()
    there = extract(model, digits, tmp_path / "cpu").log_probs()
    here = extract(model.to("cuda"), digits, tmp_path / "gpu").log_probs()
    np.testing.assert_allclose(here, there, atol=2e-2)


@on_gpu
def test_a_product_on_a_gpu_is_computed_in_the_precision():
    one = torch.ones(2, 2, device="cuda")
    with autocast("bfloat16", "cuda:0"):
        assert (one @ one).dtype == torch.bfloat16


@on_gpu
def test_generators_and_settings_are_as_before_after_a_training():
    before = torch.cuda.get_rng_state()
    with repeatable(torch.device("cuda:0")):
        torch.manual_seed(7)
        torch.rand(3, device="cuda")
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.cuda.get_rng_state(), before)
