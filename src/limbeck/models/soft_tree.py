"""The soft decision tree: a student that can be read, question by question (Frosst and Hinton 2017)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.data import Form
from limbeck.errors import UsageError
from limbeck.mixture import LeafLoss, Mixture
from limbeck.models.encoding import TableEncoding, encoded, encoded_shape, encoding_for, feature_count
from limbeck.models.outputs import Outputs
from limbeck.models.path_probabilities import Reach, leaf_weights
from limbeck.models.preprocessing import Standardize
from limbeck.models.tree_embedding import embedded
from limbeck.trees import Explanation, Predict, TreeArrays, explain, prune, to_text
from limbeck.trees.pruning import without_settled

if TYPE_CHECKING:
    from limbeck.trees.drawing import Drawing

LEAF_RATE = 8.0
"""Leaves' logits are this times their parameters: a leaf sees few of the rows, and so has to learn faster."""

_LEAST_SHARE = 1e-12  # of what a question sends to one side: under it the logarithm says no more
_WINDOW = 10  # steps that the root's running average looks back on; each level's looks back on twice as many
_COPIES = 5  # of every number while a tree learns: itself, its gradient, the optimiser's two, the best so far
_PATHS = 6  # numbers for each node and row of a batch meanwhile: path probabilities, scores, their gradients
_BATCH = 512


class SoftDecisionTree(nn.Module):
    """A binary tree whose questions and leaves are learnt together, by gradient (arXiv:1711.09784).

    An inner node sends an input to the right with the probability sigmoid(β·(x·w + b)), eq. 1, so that an input
    reaches every leaf, each with the product of the probabilities on its path. A leaf is a distribution over classes.
    x is the standardised input over √features, whose norm is about one: so a learning rate does the same to the turns
    whatever the number of features.

    Args:
        input_shape: shape of one raw input, the batch left out.
        classes: number of classes.
        depth: questions on a path; there are 2^depth leaves.
        predict: how it answers: by the leaf of the most probable `path`, as in the paper; by the leaf at the end of
            the `greedy` path, which takes the likelier turn at every node; or by the `average` of all leaves.
        loss: while it learns, each of the `leaves` has its own loss, weighted by the probability of reaching it, as in
            the paper; or it is that of their `mixture`.
        inverse_temperature: β, above 0: the larger, the harder the turns.
        final_inverse_temperature: β at the end of the training, along a geometric line; None: it stays.
        learn_inverse_temperature: whether β is learnt, too.
        sharpness: γ, above 0: while it learns, and for an average, path probabilities are raised to this power and
            normalised. Above 1 the few most probable paths count: what an answer by one path needs.
        final_sharpness: γ at the end of the training, along a geometric line; None: it stays.
        penalty: λ of the paper's penalty, which keeps both sides of a question in use, eq. 5. At depth d it is λ·2^−d.
        form: of a table, whose raw rows it then takes; its questions are about the encoded features.

    Raises:
        UsageError: a value is out of range, or the tree is too large for this machine's memory.
    """

    kind: ClassVar[str] = "soft-tree"
    beta: Tensor
    turns: Tensor
    reached: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        depth: int = 8,
        predict: Predict = "path",
        loss: LeafLoss = "mixture",
        inverse_temperature: float = 1.0,
        final_inverse_temperature: float | None = None,
        learn_inverse_temperature: bool = False,
        sharpness: float = 1.0,
        final_sharpness: float | None = None,
        penalty: float = 0.1,
        form: Form | None = None,
    ) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.classes = classes
        self.form = form
        self.settings: dict[str, Any] = {
            "depth": depth, "predict": predict, "loss": loss, "inverse_temperature": inverse_temperature,
            "final_inverse_temperature": final_inverse_temperature,
            "learn_inverse_temperature": learn_inverse_temperature,
            "sharpness": sharpness, "final_sharpness": final_sharpness, "penalty": penalty,
        }  # fmt: skip
        self.encoding = encoding_for(form)
        features = feature_count(self.encoding, self.input_shape)
        _check_settings(self.settings, features, classes)
        self.depth, self.predict, self.loss = depth, predict, loss
        self.sharpness = sharpness  # while it learns
        self.final_sharpness = sharpness if final_sharpness is None else final_sharpness
        inner, leaves = 2**depth - 1, 2**depth
        # Images keep their zero, so that a dark background weighs nothing in any question.
        shape = encoded_shape(self.encoding, self.input_shape)
        self.preprocessing = Standardize.for_shape(shape, centred=len(shape) == 1)
        self.weight = nn.Parameter(torch.randn(inner, features) / 3)
        self.bias = nn.Parameter(torch.zeros(inner))
        self.leaves = nn.Parameter(torch.randn(leaves, classes) * (0.1 / LEAF_RATE))
        beta = torch.tensor(float(inverse_temperature))
        if learn_inverse_temperature:
            self.log_beta = nn.Parameter(beta.log())
        else:
            self.register_buffer("beta", beta)
        self._level = [float(level) for level in range(depth) for _ in range(2**level)]
        # The mean probability of taking each turn, left and right, at first as if all were even.
        self.register_buffer("turns", (0.5 ** (torch.tensor(self._level) + 1)).unsqueeze(1).repeat(1, 2))
        self.register_buffer("reached", torch.zeros(inner + leaves))
        self._penalty: Tensor | None = None

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, *input_shape) to logits (batch, classes); while training, to the mixture of the leaves."""
        rows, inner = self._rows(inputs), len(self.bias)
        if not self.training and self.predict != "average":
            return Outputs(self.leaf_logits[self._leaf_of(rows)])
        reach = self._reach(rows)
        with torch.autocast("cpu", enabled=False):
            if not self.training:
                mean = Mixture(leaf_weights(reach[inner:], self.final_sharpness).T, self.leaf_logits)
                return Outputs(mean.log_probs())
            self._take_turns(reach)
            return Outputs(Mixture(leaf_weights(reach[inner:], self.sharpness).T, self.leaf_logits, self.loss))

    def _rows(self, inputs: Tensor) -> Tensor:
        if tuple(inputs.shape[1:]) != self.input_shape:
            raise UsageError(
                f"the inputs have the shape {tuple(inputs.shape[1:])}, but the tree takes {self.input_shape}: give it "
                "rows like those it was trained on"
            )
        rows: Tensor = self.preprocessing(self.encoding(inputs)).flatten(1)
        return rows

    def _reach(self, rows: Tensor) -> Tensor:
        """The log-probability of reaching each node, shape (nodes, batch): a level's nodes are together in memory."""
        beta = self.inverse_temperature
        scores = (self.weight @ rows.T).float() * (beta * self.input_scale) + (beta * self.bias).unsqueeze(1)
        with torch.autocast("cpu", enabled=False):
            reach: Tensor = Reach.apply(scores)  # type: ignore[no-untyped-call]
        return reach

    def _leaf_of(self, rows: Tensor) -> Tensor:
        """The leaf of each row's answer, shape (batch,); for an average, that of the most probable path."""
        return (
            self._greedy_leaf(rows) if self.predict == "greedy" else self._reach(rows)[len(self.bias) :].argmax(dim=0)
        )

    @property
    def input_scale(self) -> float:
        """What standardised inputs are multiplied by: their norm is then about one."""
        return 1 / math.sqrt(self.weight.shape[1])

    @property
    def leaf_logits(self) -> Tensor:
        """Shape (leaves, classes): each leaf's distribution before the softmax."""
        return self.leaves * LEAF_RATE

    def set_leaves(self, logits: Tensor) -> None:
        """Give the leaves other distributions, shape (leaves, classes), before the softmax."""
        with torch.no_grad():
            self.leaves.copy_(logits / LEAF_RATE)

    @property
    def inverse_temperature(self) -> Tensor:
        """β as it is now."""
        return self.log_beta.exp() if self.settings["learn_inverse_temperature"] else self.beta

    def set_progress(self, fraction: float) -> None:
        """Set β and γ to what they are after this fraction of the training."""
        settings = self.settings
        if (final := settings["final_inverse_temperature"]) is not None:
            self.beta.fill_(_between(settings["inverse_temperature"], final, fraction))
        if (final := settings["final_sharpness"]) is not None:
            self.sharpness = _between(settings["sharpness"], final, fraction)

    def penalty(self) -> Tensor:
        """The paper's penalty of the last batch, eq. 5, from running averages; added to the loss.

        C = −λ Σ_i 2^−d(i) (½ log α_i + ½ log(1 − α_i)), where α_i is the share of what reaches node i that goes
        right (eq. 4), averaged over a window that doubles with each level, since ever fewer rows get there.
        """
        return torch.zeros(()) if self._penalty is None else self._penalty

    def _take_turns(self, reach: Tensor) -> None:
        """Take the batch into the running averages, and with them work out the penalty."""
        self._penalty = None
        if not self.settings["penalty"]:
            return
        level = reach.new_tensor(self._level)
        # Of a question's inputs, what goes left and what goes right: both over that question's window.
        here = reach[1:].exp().mean(dim=1).view(-1, 2)
        average = self.turns + (here.detach() - self.turns) * (0.5**level / _WINDOW).unsqueeze(1)
        self.turns.copy_(average)
        # The average's value, with the gradient of the batch's: else it would vanish with the window's length.
        followed = average + (here - here.detach())
        shares = followed / followed.sum(dim=1, keepdim=True)
        weights = self.settings["penalty"] * 0.5**level
        self._penalty = -(weights * 0.5 * shares.clamp_min(_LEAST_SHARE).log().sum(dim=1)).sum()

    def _greedy_leaf(self, rows: Tensor) -> Tensor:
        """The leaf at the end of each row's greedy path, shape (batch,): no other question is asked."""
        if len(rows) == 1:
            return torch.tensor([self._greedy_leaf_of_one(rows[0].numpy())])
        node = torch.zeros(len(rows), dtype=torch.int64)
        for _ in range(self.depth):
            score = torch.linalg.vecdot(self.weight[node], rows) * self.input_scale + self.bias[node]
            node = 2 * node + 1 + (score > 0)
        return node - len(self.bias)

    def _greedy_leaf_of_one(self, row: npt.NDArray[np.float32]) -> int:
        # A dot product of numpy's costs a twentieth of what looking up a tensor's row and multiplying does.
        weight, bias, scale = self.weight.detach().numpy(), self.bias.detach().numpy(), self.input_scale
        node = 0
        for _ in range(self.depth):
            node = 2 * node + 1 + int(weight[node].dot(row) * scale + bias[node] > 0)
        return node - len(bias)

    def count(self, inputs: npt.ArrayLike) -> None:
        """Remember which share of these rows reaches each node by the path of its answer: what a drawing shows.

        Args:
            inputs: raw, shape (n, *input_shape).
        """
        inner, rows = len(self.bias), np.asarray(inputs)
        together = max(1, min(4096, 2**24 // len(self.reached)))
        shares = torch.zeros_like(self.reached, dtype=torch.float64)
        with torch.inference_mode():
            for start in range(0, len(rows), together):
                leaves = self._leaf_of(self._rows(torch.from_numpy(rows[start : start + together])))
                shares[inner:] += torch.bincount(leaves, minlength=inner + 1)
        shares /= max(len(rows), 1)
        for node in reversed(range(len(self.bias))):
            shares[node] = shares[2 * node + 1] + shares[2 * node + 2]
        self.reached.copy_(shares)

    def answering(self, predict: Predict) -> SoftDecisionTree:
        """The same tree, with weights of its own, answering in another way."""
        tree = SoftDecisionTree(self.input_shape, self.classes, **{**self.settings, "predict": predict}, form=self.form)
        tree.load_state_dict(self.state_dict())
        if predict != self.predict:
            tree.reached.zero_()  # was counted by the other way
        return tree.eval()

    def pruned(self, inputs: npt.NDArray[Any], reach: float = 0.001, change: float | None = None) -> SoftDecisionTree:
        """The tree without what it hardly uses, with weights of its own: see `limbeck.trees.prune`.

        Args:
            inputs: raw, shape (n, *input_shape), such as the training rows.
            reach: the share of them below which a subtree may be taken out.
            change: the share whose class may be another in the end; as large as `reach` if None. Steps that would
                change more are left out.
        """
        change = reach if change is None else change
        return embedded(prune(self.to_numpy(), encoded(self, inputs), reach=reach, change=change).tree, self)

    @property
    def features(self) -> tuple[str, ...] | None:
        """Of a table, what the encoded features are called that its questions are about."""
        return self.encoding.features if isinstance(self.encoding, TableEncoding) else None

    @property
    def leaf_count(self) -> int:
        """How many leaves there are, without those that were pruned."""
        return int(np.count_nonzero(self.kept)) + 1

    @property
    def multiply_adds(self) -> int:
        """Multiplications for one input, by the way in which the tree answers."""
        features = self.weight.shape[1]
        if self.predict == "greedy":
            return self.to_numpy().depth * features
        return (self.leaf_count - 1) * features + (self.leaf_count * self.classes if self.predict == "average" else 0)

    @property
    def parameter_count(self) -> int:
        """Numbers in its questions and leaves, without those that were pruned."""
        return (self.leaf_count - 1) * (self.weight.shape[1] + 1) + self.leaf_count * self.classes

    def to_numpy(self, classes: Sequence[str] | None = None) -> TreeArrays:
        """The tree as plain arrays, which answer without PyTorch; preprocessing and β are in the questions.

        Of a table they take the encoded features, `limbeck.models.encoded`.

        Args:
            classes: their names; numbers by default.
        """
        features = self.weight.shape[1]
        with torch.no_grad():
            beta = self.inverse_temperature.double().numpy()
            weight, bias = self.weight.double().numpy(), self.bias.double().numpy()
            log_probs = self.leaf_logits.log_softmax(dim=-1).numpy()
        mean, std = (
            np.broadcast_to(values.double().numpy(), (features // values.numel(), values.numel())).ravel()
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        weight = weight * self.input_scale / std
        arrays = TreeArrays.complete(
            weights=beta * weight,
            bias=beta * (bias - weight @ mean),
            log_probs=log_probs,
            input_shape=encoded_shape(self.encoding, self.input_shape),
            classes=[str(number) for number in range(self.classes)] if classes is None else classes,
            predict=self.predict,
            sharpness=self.final_sharpness,
            reached=self.reached.numpy() if self.reached[0] > 0 else None,
            centre=mean,
            spread=std,
        )
        return arrays if self.kept.all() else without_settled(arrays)

    def explain(
        self, one: npt.ArrayLike, features: Sequence[str] | None = None, classes: Sequence[str] | None = None
    ) -> Explanation:
        """Which questions led to the answer for one input, and what would have changed it: `limbeck.trees.explain`.

        Args:
            one: raw, shape input_shape.
            features: their names, for tables.
            classes: their names; numbers by default.
        """
        row = encoded(self, np.asarray(one)[np.newaxis])[0]
        return explain(self.to_numpy(classes), row, features=features or self.features)

    def to_text(self, features: Sequence[str] | None = None, classes: Sequence[str] | None = None) -> str:
        """The tree in the manner of scikit-learn's `export_text`; names as for `explain`."""
        return to_text(self.to_numpy(classes), features=features or self.features)

    def plot(
        self,
        one: npt.ArrayLike | None = None,
        levels: int = 3,
        features: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
    ) -> Drawing:
        """The top levels, drawn; a notebook shows it.

        Args:
            one: a raw input, shape input_shape, whose path is marked.
            levels: how many levels of questions.
            features: their names, for tables.
            classes: their names; numbers by default.
        """
        from limbeck.trees.drawing import Drawing, draw  # loads what is needed to draw

        path_of = None if one is None else encoded(self, np.asarray(one)[np.newaxis])[0]
        names = features or self.features
        return Drawing(draw(self.to_numpy(classes), levels=levels, path_of=path_of, features=names))

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Which questions look at the input; those of what was pruned send all to the right."""
        return np.asarray((self.weight != 0).any(dim=1).numpy())


def _between(start: float, end: float, fraction: float) -> float:
    return float(start * (end / start) ** fraction)


def _check_settings(settings: dict[str, Any], features: int, classes: int) -> None:
    depth = settings["depth"]
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise UsageError(f"depth = {depth!r}: a soft decision tree has at least one question, expected 1 or more")
    if classes < 2 or features < 1:
        raise UsageError(f"{classes} classes of {features} features: a tree tells at least two classes apart by one")
    for name, known in (("predict", get_args(Predict)), ("loss", get_args(LeafLoss))):
        if settings[name] not in known:
            raise UsageError(f"{name} = {settings[name]!r}: expected one of {', '.join(known)}")
    for name in ("inverse_temperature", "final_inverse_temperature", "sharpness", "final_sharpness"):
        value = settings[name]
        if value is None and name.startswith("final"):
            continue
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UsageError(f"{name} = {value!r}: expected a number above 0")
    if settings["learn_inverse_temperature"] and settings["final_inverse_temperature"] is not None:
        raise UsageError("the inverse temperature cannot be learnt and annealed: leave one of them out")
    if not isinstance(settings["penalty"], int | float) or not 0 <= settings["penalty"] < math.inf:
        raise UsageError(f"penalty = {settings['penalty']!r}: expected 0 or more")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**34
    # A depth of hundreds would itself take long to raise to a power.
    needed = 4 * 2 ** min(depth, 64) * (_COPIES * (features + classes + 2) + 2 * _PATHS * _BATCH)
    if needed > memory:
        raise UsageError(
            f"depth = {depth}: 2^{depth} leaves and as many questions of {features} weights, with their paths, take "
            f"{needed / 2**30:,.0f} GiB to learn, this machine has {memory / 2**30:,.0f}: ask for less depth"
        )
