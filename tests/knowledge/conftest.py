"""A part of the digits, a teacher that knows them, and a store whose shards hold a hundred rows."""

import numpy as np
import pytest
import torch

from limbeck.artifacts import ArtifactStore
from limbeck.data import ViewSettings
from limbeck.knowledge import Recording
from limbeck.models import build_model
from limbeck.teachers import TorchTeacher


@pytest.fixture(scope="session")
def part(digits):
    return digits.take(np.arange(570))


@pytest.fixture(scope="session")
def network(part):
    """An MLP that gets nearly all rows of the part right."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model({"kind": "mlp", "widths": [32]}, (8, 8), 10, part.inputs)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(30):
        torch.nn.functional.cross_entropy(
            model(torch.from_numpy(part.inputs)).logits, torch.from_numpy(part.labels)
        ).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


class Counted(TorchTeacher):
    """A teacher that remembers how many rows it was asked about."""

    rows = 0

    def answer(self, inputs):
        self.rows += len(inputs)
        return super().answer(inputs)


@pytest.fixture
def teacher(network):
    return Counted(network, precision="float32", batch_size=50)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.knowledge.store.SHARD_BYTES", 100 * 10 * 2)
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def recording(part):
    return Recording("3f9a1c" * 10, part)


@pytest.fixture
def view(part):
    return Recording("3f9a1c" * 10, part, 1, ViewSettings(rotate=10, shift=1), seed=3)
