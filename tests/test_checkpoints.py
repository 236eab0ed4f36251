import numpy as np
import pytest
import torch

from limbeck.artifacts import CHECKPOINTS
from limbeck.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from limbeck.files import read_tensors
from limbeck.models import ConvNet

TRAINING = {"seed": 3, "rows": 8}


def a_step(model, optimizer):
    model(torch.arange(8 * 64).reshape(8, 8, 8) % 17).logits.logsumexp(dim=1).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.fixture(params=[torch.optim.AdamW, torch.optim.SGD])
def make(request):
    """A function: a model and an optimiser, one step done."""

    def made(seed=0):
        torch.manual_seed(seed)
        model = ConvNet((8, 8), 10, [4, 5, 6], hidden=7)
        more = {"momentum": 0.9} if request.param is torch.optim.SGD else {}
        optimizer = request.param(model.parameters(), lr=0.01, fused=True, **more)
        a_step(model, optimizer)
        return model, optimizer

    return made


def test_everything_is_taken_up_again(make, tmp_path):
    model, optimizer = make()
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    history = [{"epoch": 1, "loss": 0.1 + 0.2, "validation_accuracy": None}]
    state = TrainingState(4, 17, torch.tensor(1 / 3), history, best, 3, (0.9, -0.25), 12.5)
    save_checkpoint(tmp_path, model, optimizer, state, TRAINING)
    drawn = torch.rand(5)
    other, other_optimizer = make(seed=1)
    found = load_checkpoint(tmp_path, other, other_optimizer, TRAINING)
    assert torch.equal(torch.rand(5), drawn)
    for name in ("epoch", "step", "history", "best_epoch", "best_score", "seconds"):
        assert getattr(found, name) == getattr(state, name)
    assert torch.equal(found.loss_sum, state.loss_sum)
    assert found.best.keys() == best.keys()
    assert all(torch.equal(found.best[name], best[name]) for name in best)
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), best.values(), strict=True))


def test_the_optimiser_goes_on_as_if_nothing_had_happened(make, tmp_path):
    model, optimizer = make()
    save_checkpoint(tmp_path, model, optimizer, TrainingState(), TRAINING)
    other, other_optimizer = make(seed=1)
    load_checkpoint(tmp_path, other, other_optimizer, TRAINING)
    for pair in ((model, optimizer), (other, other_optimizer)):
        torch.manual_seed(5)
        a_step(*pair)
        a_step(*pair)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_moments_lie_in_memory_as_their_weights_do(make, tmp_path):
    model, optimizer = make()
    save_checkpoint(tmp_path, model, optimizer, TrainingState(), TRAINING)
    load_checkpoint(tmp_path, model, optimizer, TRAINING)
    weight = model.middle[0].weight
    assert weight.stride() != torch.empty(weight.shape).stride()  # channels last: else this would show nothing
    moments = [value for value in optimizer.state[weight].values() if value is not None and value.dim() > 0]
    assert moments
    assert all(moment.stride() == weight.stride() for moment in moments)


def test_the_one_before_is_kept_beside_the_newest(make, tmp_path):
    model, optimizer = make()
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, model, optimizer, TrainingState(step=step), TRAINING)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CHECKPOINTS)
    assert [read_tensors(tmp_path / name)[1]["step"] for name in CHECKPOINTS] == [3, 2]


def test_a_crash_while_writing_leaves_the_one_before(make, tmp_path, monkeypatch):
    model, optimizer = make()
    save_checkpoint(tmp_path, model, optimizer, TrainingState(step=1), TRAINING)

    def fails(_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path, model, optimizer, TrainingState(step=2), TRAINING)
    assert load_checkpoint(tmp_path, model, optimizer, TRAINING).step == 1


def test_where_there_is_none_nothing_is_changed(make, tmp_path):
    model, optimizer = make()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    assert load_checkpoint(tmp_path, model, optimizer, TRAINING) is None
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before, strict=True))


def test_a_checkpoint_is_no_pickle(make, tmp_path):
    model, optimizer = make()
    save_checkpoint(tmp_path, model, optimizer, TrainingState(), TRAINING)
    tensors, header = read_tensors(tmp_path / CHECKPOINTS[0])
    assert all(isinstance(array, np.ndarray) for array in tensors.values())
    assert header["training"]["seed"] == 3
