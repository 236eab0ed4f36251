import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from limbeck import training
from limbeck.artifacts import CHECKPOINTS
from limbeck.batches import FreshBatches, StoredBatches
from limbeck.data import Part, ViewSettings, view_pixels
from limbeck.errors import LimbeckError
from limbeck.files import read_tensors, write_tensors
from limbeck.knowledge import CombinedTargets, LabelTargets, LiveTargets, StoredTargets, Targets
from limbeck.metrics import accuracy, nll
from limbeck.models import MLP, build_model
from limbeck.objectives import Objective
from limbeck.train_settings import TrainSettings
from limbeck.training import predict_log_probs, train

LABELS = Objective(loss="hard_labels")
SETTINGS = TrainSettings(epochs=3, batch_size=8, learning_rate=0.01)
MODELS = {
    "mlp with dropout": {"kind": "mlp", "widths": [12], "dropout": 0.3},
    "convnet": {"kind": "convnet", "widths": [4, 4, 4], "hidden": 6},
}


@pytest.fixture(scope="module")
def part(digits):
    return digits.take(np.arange(201))


@pytest.fixture(scope="module")
def validation(digits):
    return digits.take(np.arange(1000, 1100))


@pytest.fixture(scope="module")
def stored(part):
    views = [view_pixels(part.inputs, part.ids, view=v, seed=1, settings=ViewSettings(shift=1)) for v in range(2)]
    return np.stack(views)


@pytest.fixture(scope="module")
def answers(part):
    """Log-probabilities in two views that know the labels, and are sure of them to different degrees."""
    scores = np.random.default_rng(0).normal(size=(2, len(part), 10))
    scores[:, np.arange(len(part)), part.labels] += 3
    return torch.from_numpy(scores).log_softmax(dim=-1).half().numpy()


def new(kind="mlp with dropout", inputs=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build_model(MODELS[kind], (8, 8), 10, inputs)


def weights(model):
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def labels(part):
    return LabelTargets(part.labels)


# ---------------------------------------------------------------- one step, worked out


def trained_by_hand(part, settings, optimizer):
    """The same training written out plainly with torch's own optimiser."""
    model = new(inputs=part.inputs)
    model.train()
    source = StoredBatches(part.inputs[np.newaxis], settings.batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        made = optimizer(model)
        for epoch in range(settings.epochs):
            for step, batch in enumerate(source.batches(4, epoch)):
                for group in made.param_groups:
                    group["lr"] = settings.rate((epoch * source.steps + step + 0.5) / (settings.epochs * source.steps))
                logits = model(batch.inputs).logits
                nn.functional.cross_entropy(logits, torch.from_numpy(part.labels)[batch.rows]).backward()
                made.step()
                made.zero_grad()
    return model


def decayed(model, settings):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    return [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0}]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_training_is_what_torch_s_own_optimiser_does(part, name):
    settings = TrainSettings(
        epochs=2, batch_size=8, learning_rate=0.01, optimizer=name, weight_decay=0.1, keep="last", precision="float32"
    )

    def optimizer(model):
        if name == "adamw":
            return torch.optim.AdamW(decayed(model, settings))
        return torch.optim.SGD(decayed(model, settings), lr=1.0, momentum=0.9, nesterov=True)

    model = new(inputs=part.inputs)
    train(model, StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, settings, seed=4)
    for found, expected in zip(
        model.parameters(), trained_by_hand(part, settings, optimizer).parameters(), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_targets_belong_to_the_rows_and_views_of_their_inputs(part, stored, answers):
    seen = []

    def objective(logits, *, teacher_logits, labels, weights):
        seen.append((teacher_logits, labels))
        return logits.sum() * 0

    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(10, 10))
            self.inputs = []

        def forward(self, inputs):
            self.inputs.append(inputs)
            return torch.zeros(len(inputs), 10) @ self.weight

    model = Looks()
    targets = CombinedTargets(StoredTargets(answers), labels(part))
    train(model, StoredBatches(stored, 8), targets, objective, TrainSettings(epochs=2, keep="last"), seed=0)
    place = {image.tobytes(): (view, row) for view in range(2) for row, image in enumerate(stored[view])}
    shown = 0
    for inputs, (logits, wanted) in zip(model.inputs, seen, strict=True):
        for image, target, label in zip(inputs.numpy(), logits.numpy(), wanted.numpy(), strict=True):
            view, row = place[image.tobytes()]
            np.testing.assert_array_equal(target, answers[view, row].astype(np.float32))
            assert label == part.labels[row]
            shown += 1
    assert shown == 2 * len(part)


def test_a_student_learns_from_stored_knowledge_without_labels(part, stored, answers):
    def accuracy_after(answers):
        history = train(
            new(inputs=part.inputs), StoredBatches(stored, 8), StoredTargets(answers), Objective(temperature=4.0),
            TrainSettings(epochs=12, batch_size=8, learning_rate=0.01), seed=0, validation=part,
        )  # fmt: skip
        assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
        return history.kept["validation_accuracy"]

    # These answers name the label in 91% of the rows; another row's, in about a tenth.
    assert accuracy_after(answers) > 0.7
    assert accuracy_after(np.random.default_rng(1).permutation(answers, axis=1)) < 0.4


def test_a_live_teacher_s_forward_pass_is_not_recorded_for_gradients(part):
    teacher = new("convnet", part.inputs)
    targets = LiveTargets(teacher, part.inputs[np.newaxis])
    train(
        new(inputs=part.inputs), StoredBatches(part.inputs[np.newaxis], 50), targets, Objective(temperature=4.0),
        TrainSettings(epochs=1), seed=0,
    )  # fmt: skip
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training


# ---------------------------------------------------------------- epochs


def test_history_has_a_row_for_each_epoch(part, validation):
    history = train(
        new(inputs=part.inputs), StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, SETTINGS, seed=0,
        validation=validation,
    )  # fmt: skip
    assert [row["epoch"] for row in history.epochs] == [1, 2, 3]
    assert history.epochs[0].keys() == {
        "epoch", "loss", "learning_rate", "validation_accuracy", "validation_nll",
    }  # fmt: skip
    rates = [row["learning_rate"] for row in history.epochs]
    assert rates == sorted(rates, reverse=True)
    json.dumps(history.as_json())


def test_the_best_epoch_on_the_validation_rows_is_kept(part, validation):
    settings = TrainSettings(epochs=8, batch_size=8, learning_rate=0.3, schedule="constant", precision="float32")
    model = new(inputs=part.inputs)
    history = train(
        model, StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, settings, seed=0, validation=validation
    )
    scores = [(row["validation_accuracy"], -row["validation_nll"]) for row in history.epochs]
    assert history.kept_epoch == 1 + scores.index(max(scores))
    assert history.kept_epoch < 8  # at that rate the last is not the best: else this would show nothing
    found = predict_log_probs(model, validation.inputs)
    assert accuracy(found, validation.labels) == history.kept["validation_accuracy"]
    assert nll(found, validation.labels) == pytest.approx(history.kept["validation_nll"])
    assert not model.training


def test_the_last_epoch_is_kept_on_request(part, validation):
    settings = TrainSettings(
        epochs=8, batch_size=8, learning_rate=0.3, schedule="constant", keep="last", precision="float32"
    )
    model = new(inputs=part.inputs)
    history = train(
        model, StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, settings, seed=0, validation=validation
    )
    assert history.kept_epoch == 8
    found = predict_log_probs(model, validation.inputs)
    assert accuracy(found, validation.labels) == history.epochs[-1]["validation_accuracy"]


@pytest.mark.parametrize("none", [None, "empty"])
def test_without_validation_rows_the_last_epoch_is_kept(part, none):
    history = train(
        new(inputs=part.inputs), StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, SETTINGS, seed=0,
        validation=None if none is None else part.take(np.arange(0)),
    )  # fmt: skip
    assert history.kept_epoch == 3
    assert history.kept["validation_accuracy"] is None


def test_an_epoch_of_several_passes_is_judged_once(part, validation):
    settings = TrainSettings(epochs=2, batch_size=50, passes=3)
    batches = StoredBatches(part.inputs[np.newaxis], 50, passes=3)
    model = new(inputs=part.inputs)
    history = train(model, batches, labels(part), LABELS, settings, seed=0, validation=validation)
    assert [row["epoch"] for row in history.epochs] == [1, 2]


def test_passes_are_steps_like_those_of_more_epochs(part):
    short = {"batch_size": 50, "keep": "last"}
    one, several = new(inputs=part.inputs), new(inputs=part.inputs)
    plain, three = StoredBatches(part.inputs[np.newaxis], 50), StoredBatches(part.inputs[np.newaxis], 50, passes=3)
    train(one, plain, labels(part), LABELS, TrainSettings(epochs=6, **short), seed=0)
    train(several, three, labels(part), LABELS, TrainSettings(epochs=2, passes=3, **short), seed=0)
    assert weights(several) == weights(one)


def test_batches_whose_gradients_are_added_up_are_one_large_batch(part):
    few = part.take(np.arange(90))
    plain = {"kind": "mlp", "widths": [16]}  # dropout draws otherwise for ten rows than for thirty
    large = build_model(plain, (8, 8), 10, part.inputs)
    small = copy.deepcopy(large)
    settings = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.1, "keep": "last", "precision": "float32"}
    batches = StoredBatches(few.inputs[np.newaxis], 30)
    train(large, batches, labels(few), LABELS, TrainSettings(batch_size=30, **settings), seed=0)
    batches = StoredBatches(few.inputs[np.newaxis], 10)
    train(small, batches, labels(few), LABELS, TrainSettings(batch_size=10, accumulate=3, **settings), seed=0)
    for one, other in zip(large.parameters(), small.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_batches_left_at_the_end_of_an_epoch_are_a_step_too(part):
    model = new(inputs=part.inputs)
    settings = TrainSettings(epochs=1, batch_size=50, accumulate=3)
    assert [settings.step_of(batch, 4) for batch in range(4)] == [range(3)] * 3 + [range(3, 4)]
    calls = []
    model.after_step = lambda: calls.append(1)
    train(model, StoredBatches(part.inputs[np.newaxis], 50), labels(part), LABELS, settings, seed=0)
    assert len(calls) == 2


def test_a_step_of_fewer_batches_is_as_large_as_one_of_many(part):
    few = part.take(np.arange(10))
    moved = []
    for accumulate in (1, 4):
        model = build_model({"kind": "mlp", "widths": [16]}, (8, 8), 10, part.inputs)
        model.load_state_dict({name: torch.full_like(t, 0.01) for name, t in model.state_dict().items()})
        before = torch.cat([p.detach().clone().flatten() for p in model.parameters()])
        settings = TrainSettings(epochs=1, batch_size=10, optimizer="sgd", accumulate=accumulate, warmup=0.0)
        train(model, StoredBatches(few.inputs[np.newaxis], 10), labels(few), LABELS, settings, seed=0)
        moved.append((torch.cat([p.detach().flatten() for p in model.parameters()]) - before).norm().item())
    assert moved[0] == pytest.approx(moved[1], rel=1e-5)
    assert moved[0] > 0


def test_validation_rows_change_nothing_but_the_choice(part, validation):
    last = TrainSettings(epochs=2, batch_size=8, keep="last")
    models = [new(inputs=part.inputs) for _ in range(2)]
    for model, rows in zip(models, (validation, None), strict=True):
        train(model, StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, last, seed=0, validation=rows)
    assert weights(models[0]) == weights(models[1])


def test_torch_s_global_generator_is_left_as_it_was(part):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    train(new(inputs=part.inputs), StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, SETTINGS, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_alone_decides_the_outcome(part):
    outcomes = []
    for seed, noise in ((0, 5), (0, 6), (1, 5)):
        torch.manual_seed(noise)
        model = new(inputs=part.inputs)
        train(model, StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, SETTINGS, seed=seed)
        outcomes.append(weights(model))
    assert outcomes[0] == outcomes[1] != outcomes[2]


# ---------------------------------------------------------------- what cannot be learnt from


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e30), ("adamw", 1e38)])
def test_a_loss_that_is_not_finite_is_one_clear_line(part, validation, optimizer, rate, rows):
    settings = TrainSettings(epochs=3, batch_size=8, learning_rate=rate, optimizer=optimizer, warmup=0)
    with pytest.raises(LimbeckError, match=r"^student x: the loss is .* in epoch 1 .*lower train\.learning_rate"):
        train(
            new(inputs=part.inputs), StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, settings, seed=0,
            validation=validation if rows else None, title="student x",
        )  # fmt: skip


def test_weights_that_the_last_step_spoilt_are_noticed(part):
    class Spoilt(MLP):
        steps = 0

        def after_step(self):
            self.steps += 1
            if self.steps == 4:
                with torch.no_grad():
                    self.layers[0].weight[0, 0] = math.nan

    with pytest.raises(LimbeckError, match="weights are not finite in epoch 1"):
        train(
            Spoilt((8, 8), 10, [4]), StoredBatches(part.inputs[np.newaxis], 51), labels(part), LABELS,
            TrainSettings(epochs=1), seed=0,
        )  # fmt: skip


# ---------------------------------------------------------------- what a model may bring


class Brings(nn.Module):
    """A module of one's own with a penalty, a weight constraint and a schedule."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.calls = []

    def forward(self, inputs):
        self.calls.append("forward")
        return self.layer(inputs.float().flatten(1) / 16)

    def penalty(self):
        self.calls.append("penalty")
        return 100 * self.layer.bias.square().sum() + 7

    def after_step(self):
        self.calls.append("after_step")
        with torch.no_grad():
            self.layer.weight.clamp_(-0.01, 0.01)

    def set_progress(self, fraction):
        self.calls.append(fraction)


def test_penalty_constraint_and_schedule_are_called_in_every_step(part):
    model = Brings()
    history = train(
        model, StoredBatches(part.inputs[np.newaxis], 50), labels(part), LABELS,
        TrainSettings(epochs=2, learning_rate=0.01), seed=0,
    )  # fmt: skip
    steps = [model.calls[start : start + 4] for start in range(0, len(model.calls), 4)]
    assert [step[0] for step in steps] == pytest.approx([step / 7 for step in range(8)])
    assert all(step[1:] == ["forward", "penalty", "after_step"] for step in steps)
    assert model.layer.weight.abs().max() <= 0.01
    assert model.layer.bias.abs().max() < 0.1
    assert history.epochs[0]["loss"] > 7


def test_weights_of_rows_reach_the_objective(part):
    class Weighted:
        def batch(self, rows, view):
            return Targets(labels=torch.from_numpy(part.labels)[rows], weights=(rows < 0).float())

    model = new(inputs=part.inputs)
    before = weights(model)
    settings = TrainSettings(epochs=1, weight_decay=0)
    history = train(model, StoredBatches(part.inputs[np.newaxis], 50), Weighted(), LABELS, settings, seed=0)
    assert history.epochs[0]["loss"] == 0
    assert weights(model) == before


def test_progress_is_told_every_step_s_place_and_how_it_stands(part, validation):
    class Remembers:
        told = []

        def start(self, title, total):
            self.told.append((title, total))

        def at(self, done, note=""):
            self.told.append((done, note))

        def end(self, note=""):
            self.told.append(note)

    train(
        new(inputs=part.inputs), StoredBatches(part.inputs[np.newaxis], 8), labels(part), LABELS, SETTINGS, seed=0,
        validation=validation, progress=Remembers(), title="student x",
    )  # fmt: skip
    first, *middle, last = Remembers.told
    assert first == ("student x", 75)
    assert [done for done, _ in middle] == [16, 25, 41, 50, 66, 75]
    assert last == middle[-1][1]
    assert last.startswith("loss ")
    assert "validation" in last


# ---------------------------------------------------------------- cut off and gone on


class Stops:
    """Targets that end the work once they were asked for so many batches."""

    def __init__(self, source, after):
        self.source, self.left = source, after

    def batch(self, rows, view):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.source.batch(rows, view)


@pytest.fixture
def always(monkeypatch):
    """A checkpoint at every opportunity."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(training, "CHECKPOINT_PAUSE", 0)


def in_pieces(make, batches, targets, settings, folder, validation, every):
    """Train, cut off after `every` batches, again and again, each time with a model made anew."""
    for _ in range(100):
        model = make()
        try:
            history = train(
                model, batches, Stops(targets, every), LABELS, settings, seed=3, validation=validation,
                checkpoint=folder,
            )  # fmt: skip
        except KeyboardInterrupt:
            continue
        return model, history
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize(
    ("kind", "optimizer", "every"),
    [
        ("mlp with dropout", "adamw", 19),
        ("mlp with dropout", "sgd", 29),
        ("convnet", "adamw", 29),
        ("convnet", "sgd", 52),
    ],
)
@pytest.mark.usefixtures("always")
def test_a_training_cut_off_goes_on_and_ends_with_the_same_bytes(part, validation, tmp_path, kind, optimizer, every):
    settings = TrainSettings(epochs=3, batch_size=8, learning_rate=0.02, optimizer=optimizer)
    batches = FreshBatches(part, ViewSettings(shift=1), 8, view_seed=3)
    whole = new(kind, part.inputs)
    expected = train(whole, batches, labels(part), LABELS, settings, seed=3, validation=validation)
    torch.manual_seed(every)
    model, history = in_pieces(
        lambda: new(kind, part.inputs), batches, labels(part), settings, tmp_path, validation, every
    )
    assert weights(model) == weights(whole)
    assert history.as_json() == expected.as_json()


@pytest.mark.usefixtures("always")
def test_epochs_of_few_steps_are_kept_too(part, validation, tmp_path):
    settings = TrainSettings(epochs=6, batch_size=100)  # two steps in an epoch
    batches = StoredBatches(part.inputs[np.newaxis], 100)
    whole = new(inputs=part.inputs)
    train(whole, batches, labels(part), LABELS, settings, seed=3, validation=validation)
    model, _ = in_pieces(lambda: new(inputs=part.inputs), batches, labels(part), settings, tmp_path, validation, 3)
    assert weights(model) == weights(whole)


@pytest.mark.usefixtures("always")
def test_epochs_of_several_passes_go_on_from_the_middle_too(part, validation, tmp_path):
    settings = TrainSettings(epochs=2, batch_size=50, passes=3)
    batches = FreshBatches(part, ViewSettings(shift=1), 50, view_seed=3, passes=3)  # twelve steps in an epoch
    whole = new(inputs=part.inputs)
    expected = train(whole, batches, labels(part), LABELS, settings, seed=3, validation=validation)
    model, history = in_pieces(
        lambda: new(inputs=part.inputs), batches, labels(part), settings, tmp_path, validation, 17
    )
    assert weights(model) == weights(whole)
    assert history.as_json() == expected.as_json()


@pytest.mark.usefixtures("always")
def test_gradients_that_were_being_added_up_are_added_up_again(part, validation, tmp_path):
    settings = TrainSettings(epochs=3, batch_size=8, accumulate=5)
    batches = StoredBatches(part.inputs[np.newaxis], 8)
    whole = new(inputs=part.inputs)
    expected = train(whole, batches, labels(part), LABELS, settings, seed=3, validation=validation)
    model, history = in_pieces(
        lambda: new(inputs=part.inputs), batches, labels(part), settings, tmp_path, validation, 18
    )
    assert weights(model) == weights(whole)
    assert history.as_json() == expected.as_json()


@pytest.mark.usefixtures("always")
def test_the_best_epoch_before_the_cut_is_still_the_best(part, validation, tmp_path):
    settings = TrainSettings(epochs=8, batch_size=8, learning_rate=0.3, schedule="constant", precision="float32")
    batches = StoredBatches(part.inputs[np.newaxis], 8)
    whole = new(inputs=part.inputs)
    expected = train(whole, batches, labels(part), LABELS, settings, seed=3, validation=validation)
    model = new(inputs=part.inputs)
    with pytest.raises(KeyboardInterrupt):
        train(
            model, batches, Stops(labels(part), 7 * 25 + 20), LABELS, settings, seed=3, validation=validation,
            checkpoint=tmp_path,
        )  # fmt: skip
    assert expected.kept_epoch < 8
    model = new(inputs=part.inputs)
    history = train(model, batches, labels(part), LABELS, settings, seed=3, validation=validation, checkpoint=tmp_path)
    assert history.kept_epoch == expected.kept_epoch
    assert weights(model) == weights(whole)


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "gone"])
@pytest.mark.usefixtures("always")
def test_a_damaged_checkpoint_falls_back_to_the_one_before(part, validation, tmp_path, damage):
    batches = StoredBatches(part.inputs[np.newaxis], 8)
    whole = new(inputs=part.inputs)
    train(whole, batches, labels(part), LABELS, SETTINGS, seed=3, validation=validation)
    with pytest.raises(KeyboardInterrupt):
        train(
            new(inputs=part.inputs), batches, Stops(labels(part), 45), LABELS, SETTINGS, seed=3,
            validation=validation, checkpoint=tmp_path,
        )  # fmt: skip
    newest, before = (tmp_path / name for name in CHECKPOINTS)
    steps = [(header["epoch"], header["step"]) for _, header in map(read_tensors, (newest, before))]
    assert steps == [(1, 16), (1, 0)]
    content = newest.read_bytes()
    if damage == "gone":
        newest.unlink()
    else:
        newest.write_bytes({"flipped": content[:-1] + b"?", "cut": content[:999], "emptied": b""}[damage])
    model, asked = new(inputs=part.inputs), Stops(labels(part), 50)
    train(model, batches, asked, LABELS, SETTINGS, seed=3, validation=validation, checkpoint=tmp_path)
    assert asked.left == 0  # of three epochs of 25 batches the first is done
    assert weights(model) == weights(whole)


@pytest.mark.usefixtures("always")
def test_with_both_checkpoints_damaged_it_begins_anew(part, tmp_path):
    batches = StoredBatches(part.inputs[np.newaxis], 8)
    whole = new(inputs=part.inputs)
    train(whole, batches, labels(part), LABELS, SETTINGS, seed=3)
    for name in CHECKPOINTS:
        (tmp_path / name).write_bytes(b"no checkpoint")
    model = new(inputs=part.inputs)
    train(model, batches, labels(part), LABELS, SETTINGS, seed=3, checkpoint=tmp_path)
    assert weights(model) == weights(whole)


@pytest.mark.usefixtures("always")
def test_a_loss_that_is_a_function_goes_on_and_so_does_an_older_checkpoint(part, tmp_path):
    def loss(logits, *, labels, **rest):
        return torch.nn.functional.cross_entropy(logits, labels)

    batches, whole = StoredBatches(part.inputs[np.newaxis], 8), new(inputs=part.inputs)
    train(whole, batches, labels(part), loss, SETTINGS, seed=3)
    for name in ("one", "other"):
        with pytest.raises(KeyboardInterrupt):
            train(
                new(inputs=part.inputs), batches, Stops(labels(part), 70), loss, SETTINGS, seed=3,
                checkpoint=tmp_path / name,
            )  # fmt: skip
    newest = tmp_path / "other" / CHECKPOINTS[0]
    tensors, header = read_tensors(newest)
    header.pop("digest")
    older = {key: value for key, value in header["training"].items() if key not in ("objective", "precision")}
    write_tensors(newest, tensors, {**header, "training": older})
    for name in ("one", "other"):
        model = new(inputs=part.inputs)
        train(model, batches, labels(part), loss, SETTINGS, seed=3, checkpoint=tmp_path / name)
        assert weights(model) == weights(whole)


@pytest.mark.usefixtures("always")
def test_a_checkpoint_of_another_training_is_refused_and_stays(part, tmp_path, contents):
    batches = StoredBatches(part.inputs[np.newaxis], 8)
    train(new(inputs=part.inputs), batches, labels(part), LABELS, SETTINGS, seed=3, checkpoint=tmp_path)
    before = contents(tmp_path)
    for changed in ({"seed": 4}, {"settings": TrainSettings(epochs=5, batch_size=8)}, {"model": new("convnet")}):
        given = {"model": new(inputs=part.inputs), "settings": SETTINGS, "seed": 3, **changed}
        with pytest.raises(LimbeckError, match=f"{tmp_path} holds a checkpoint of another training"):
            train(
                given["model"], batches, labels(part), LABELS, given["settings"], seed=given["seed"],
                checkpoint=tmp_path,
            )  # fmt: skip
        assert contents(tmp_path) == before
    warmer = Objective(loss="hard_labels", label_smoothing=0.1)
    with pytest.raises(LimbeckError, match=f"{tmp_path} holds a checkpoint of another training"):
        train(new(inputs=part.inputs), batches, labels(part), warmer, SETTINGS, seed=3, checkpoint=tmp_path)
    assert contents(tmp_path) == before


def test_seconds_are_counted_over_all_pieces(part, tmp_path, always):
    batches = StoredBatches(part.inputs[np.newaxis], 8)
    with pytest.raises(KeyboardInterrupt):
        train(new(inputs=part.inputs), batches, Stops(labels(part), 70), LABELS, SETTINGS, seed=3, checkpoint=tmp_path)
    newest = tmp_path / CHECKPOINTS[0]
    tensors, header = read_tensors(newest)
    header.pop("digest")
    write_tensors(newest, tensors, {**header, "seconds": 1000.0})
    history = train(new(inputs=part.inputs), batches, labels(part), LABELS, SETTINGS, seed=3, checkpoint=tmp_path)
    assert history.seconds > 1000


# ---------------------------------------------------------------- answers


def test_log_probabilities_are_those_of_the_model_in_evaluation_mode(part):
    model = new("convnet", part.inputs)
    found = predict_log_probs(model, part.inputs, batch_size=70)
    assert model.training  # as it was
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(part.inputs)).logits.log_softmax(dim=-1).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert predict_log_probs(model, part.inputs).dtype != np.float16


def test_bfloat16_answers_come_out_as_float32(part):
    model = new(inputs=part.inputs)
    found = predict_log_probs(model, part.inputs, precision="bfloat16")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, predict_log_probs(model, part.inputs), atol=0.1)
    assert (found != predict_log_probs(model, part.inputs)).any()


def test_labels_of_minus_one_are_not_learnt_from(part):
    unlabelled = Part("train", part.inputs, np.full(len(part), -1), part.ids, part.classes)
    model = new(inputs=part.inputs)
    before = weights(model)
    settings = TrainSettings(epochs=1, weight_decay=0)
    train(model, StoredBatches(part.inputs[np.newaxis], 50), labels(unlabelled), LABELS, settings, seed=0)
    assert weights(model) == before


def test_no_step_is_without_effect_not_even_a_warm_up_s_first(part):
    torch.manual_seed(0)
    model = build_model({"kind": "mlp", "widths": [8]}, (8, 8), 10, part.inputs)
    before = weights(model)
    one = TrainSettings(epochs=1, batch_size=len(part), warmup=0.5)
    train(model, StoredBatches(part.inputs[np.newaxis], len(part)), labels(part), LABELS, one, seed=0)
    assert weights(model) != before
