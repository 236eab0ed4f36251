"""Masked language models, asked at the masked tokens alone, and targets from a teacher that is asked in every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.encoders.attention import fast_way_back
from limbeck.encoders.kinds import without_head
from limbeck.encoders.masked_batches import Answers, MaskedBatches, answered
from limbeck.encoders.states import StateCapture
from limbeck.encoders.tokens import TextTokens
from limbeck.errors import LimbeckError
from limbeck.knowledge.targets import Targets
from limbeck.models.outputs import Outputs, logits_of
from limbeck.precision import Precision, autocast


class MaskedEncoder(nn.Module):
    """A masked language model of the library transformers.

    The head, which is most of a small encoder's work (its matrix has a row for each token of the vocabulary), is run
    where an answer is wanted and nowhere else.

    Args:
        network: of the types BERT, RoBERTa or DistilBERT, for masked-language modelling.
        tokens: its tokenizer.
        answers: for which tokens it answers: those to be predicted; all but padding, as in the code of DistilBERT's
            authors for the soft targets unless it is told otherwise; or none, where only its states are wanted.

    Attributes:
        pooler: of the encoder that it comes from, where that has one: no answer depends on it, but it is saved along,
            for a classifier to begin with.
    """

    kind = "masked-encoder"

    def __init__(self, network: Any, tokens: TextTokens, answers: Answers = "masked") -> None:
        super().__init__()
        self.network = network
        self.tokens = tokens
        self.answers = answers
        self.pooler: nn.Module | None = None
        self._states: StateCapture | None = None

    @property
    def parameter_count(self) -> int:
        """All of its numbers, each once, whether they are being trained or not."""
        return sum(parameter.numel() for parameter in self.parameters())

    def show_projections(self, shown: bool = True) -> None:
        """Whether outputs have the last layer's queries, keys and values; they always have its hidden states."""
        if self._states is not None:
            self._states.detach()
        self._states = StateCapture(self.network) if shown else None
        if self._states is not None:
            self._states.attach()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = next(self.network.parameters()).device
        return device

    def forward(self, inputs: Tensor) -> Outputs:
        """Masked rows, int64 (batch, 2, tokens) as `MaskedBatches.inputs` has them.

        Returns:
            Logits (answers, vocabulary), row by row; hidden states, projections where they are shown, and mask.
        """
        hidden, mask = self.hidden(inputs)
        shown, labels = inputs.unbind(1)
        logits = self.head(hidden[answered(shown, labels, self.tokens.pad_id, self.answers)])
        return Outputs(logits, hidden, self._projections(), mask)

    def states(self, inputs: Tensor) -> Outputs:
        """The same without running the head: logits of shape (0, vocabulary)."""
        hidden, mask = self.hidden(inputs)
        return Outputs(hidden.new_empty(0, self.network.config.vocab_size), hidden, self._projections(), mask)

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer's hidden states (batch, tokens, width), and which tokens are no padding (batch, tokens)."""
        shown = inputs[:, 0]
        mask = shown != self.tokens.pad_id
        with fast_way_back(self.network):
            found = without_head(self.network)(input_ids=shown, attention_mask=mask.long())
        return found.last_hidden_state, mask

    def head(self, hidden: Tensor) -> Tensor:
        """From hidden states (n, width) to logits (n, vocabulary)."""
        network = self.network
        answer: Tensor
        if network.config.model_type == "distilbert":
            changed = network.vocab_layer_norm(network.activation(network.vocab_transform(hidden)))
            answer = network.vocab_projector(changed)
        else:
            answer = (network.cls if network.config.model_type == "bert" else network.lm_head)(hidden)
        return answer

    def _projections(self) -> Tensor | None:
        return None if self._states is None else self._states.taken()[1]


class LiveMaskedTargets:
    """A teacher that is asked in every step about what the student sees: the same tokens under the same mask.

    Args:
        teacher: of the student's vocabulary; put into evaluation mode. It answers where the student does.
        batches: where the student's inputs come from.
        with_logits: whether its head is asked; False for a teacher whose head means nothing.
        precision: that it computes in.

    Raises:
        LimbeckError: it has another vocabulary.
    """

    def __init__(
        self,
        teacher: MaskedEncoder,
        batches: MaskedBatches,
        *,
        with_logits: bool = True,
        precision: Precision = "float32",
    ) -> None:
        theirs, ours = teacher.tokens.vocabulary_size, batches.token_rows.tokens.vocabulary_size
        if theirs != ours:
            raise LimbeckError(
                f"the teacher's vocabulary has {theirs} pieces, the student's {ours}: soft targets and hidden states "
                "need the same pieces, so trim the student's vocabulary after the distillation"
            )
        self.teacher, self.batches = teacher.eval(), batches
        self.with_logits, self.precision = with_logits, precision

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Logits (answers, vocabulary), labels (answers,), −1 where nothing was masked, and the states."""
        teacher = self.teacher
        inputs = self.batches.inputs(rows, view).to(teacher.device)
        with torch.no_grad(), autocast(self.precision, teacher.device):
            outputs = teacher(inputs) if self.with_logits else teacher.states(inputs)
        shown, labels = inputs.unbind(1)
        return Targets(
            logits=logits_of(outputs).float() if self.with_logits else None,
            labels=labels[answered(shown, labels, teacher.tokens.pad_id, teacher.answers)],
            hidden=outputs.hidden,
            projections=outputs.projections,
        )
