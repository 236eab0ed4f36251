"""Models of every kind on digits and on a small table with gaps and categories."""

import numpy as np
import torch

from limbeck import Objective, Part, build_model
from limbeck.at_once.boosting import fit_tree_ensemble
from limbeck.at_once.trees import fit_threshold_tree
from limbeck.data import Column, TableForm

FORM = TableForm(
    (
        Column("carat", None, missing=True),
        Column("class", ("D", "E", "F", "J"), missing=True),  # which is also what an output is called
        Column("depth %"),
        Column("shape", ("oval", 'round, "old"')),
    )
)
KINDS = {
    "mlp": {"kind": "mlp", "widths": [16]},
    "convnet": {"kind": "convnet", "widths": [4, 4, 8], "hidden": 8},
    "path": {"kind": "soft-tree", "depth": 4},
    "greedy": {"kind": "soft-tree", "depth": 4, "predict": "greedy"},
    "average": {"kind": "soft-tree", "depth": 4, "predict": "average", "final_sharpness": 2.0},
    "pruned": {"kind": "soft-tree", "depth": 4},
    "tree": {"kind": "sklearn-tree"},
    "one leaf": {"kind": "sklearn-tree"},
    "boosted": {"kind": "boosted-trees", "iterations": 10},
}
HARD = Objective(loss="hard_labels")


def table(count, seed=0):
    draw = np.random.default_rng(seed)
    columns = [
        draw.normal(2, 3, count),
        draw.integers(0, 3, count),
        draw.normal(60, 5, count),
        draw.integers(0, 2, count),
    ]
    rows = np.stack(columns, axis=1).astype(np.float32)
    rows[draw.random(count) < 0.2, 0] = np.nan
    rows[draw.random(count) < 0.1, 1] = np.nan
    labels = (np.nan_to_num(rows[:, 0], nan=2.0) + rows[:, 3] > 2.5).astype(np.int64)
    return Part("train", rows, labels, np.arange(count), ("no", "yes"), FORM)


def strange(count):
    """Rows with what no training row has: an unknown category, one never seen, gaps where there were none."""
    rows = table(count, seed=1).inputs
    rows[::5, 1] = -1
    rows[1::5, 1] = 3
    rows[::7, 2] = np.nan
    rows[::11, 3] = np.nan
    return rows


def learnt(model, part, epochs=3):
    inputs, labels = torch.from_numpy(part.inputs), torch.from_numpy(part.labels)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(64):
            answer = model(inputs[rows]).logits
            log_probs = answer.log_probs() if not isinstance(answer, torch.Tensor) else answer.log_softmax(-1)
            loss = torch.nn.functional.nll_loss(log_probs, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def made(name, part):
    """A model of a kind, taught a little."""
    torch.manual_seed(0)
    settings = KINDS[name]
    model = build_model(settings, part.inputs.shape[1:], len(part.classes), part.inputs, part.form)
    if name == "one leaf":
        return model.eval()
    if settings["kind"] == "sklearn-tree":
        return fit_threshold_tree(model, part.inputs, part.labels, None, HARD, 0)
    if settings["kind"] == "boosted-trees":
        return fit_tree_ensemble(model, part.inputs, part.labels, None, HARD, 0)
    model = learnt(model, part)
    return model.pruned(part.inputs, 0.05, 1.0) if name == "pruned" else model
