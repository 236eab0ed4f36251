"""Students from the layers of their teachers: fewer of them, with the teacher's weights or random ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.encoders.finding import seeded
from limbeck.encoders.kinds import KINDS, kind_of, without_head
from limbeck.encoders.labels import name_classes as name_classes
from limbeck.errors import LimbeckError, UsageError
from limbeck.models.dropout import with_byte_dropout
from limbeck.quiet import quiet

Architecture = Literal["same", "distilbert"]
Initial = Literal["layers", "random"]

_TO_DISTILBERT = {
    "BertForSequenceClassification": "DistilBertForSequenceClassification",
    "BertForMaskedLM": "DistilBertForMaskedLM",
    "BertModel": "DistilBertModel",
}
_NAMES = (
    (r"^bert\.", "distilbert."),
    (r"(^|\.)encoder\.layer\.", r"\1transformer.layer."),
    (r"\.attention\.self\.(q|k|v)(uery|ey|alue)\.", r".attention.\1_lin."),
    (r"\.attention\.output\.dense\.", ".attention.out_lin."),
    (r"\.attention\.output\.LayerNorm\.", ".sa_layer_norm."),
    (r"\.intermediate\.dense\.", ".ffn.lin1."),
    (r"(layer\.\d+)\.output\.dense\.", r"\1.ffn.lin2."),
    (r"(layer\.\d+)\.output\.LayerNorm\.", r"\1.output_layer_norm."),
    (r"^distilbert\.pooler\.dense\.", "pre_classifier."),
    (r"^cls\.predictions\.transform\.dense\.", "vocab_transform."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", "vocab_layer_norm."),
    (r"^cls\.predictions\.decoder\.", "vocab_projector."),
)
"""From the names of BERT's weights to DistilBERT's; what else BERT has is dropped."""

_DISTILBERT_EPS = 1e-12

_DROPPED = re.compile(r"(^|\.)token_type_embeddings\.|^pooler\.|position_ids$|^cls\.predictions\.bias$")


def chosen_layers(count: int, of: int) -> tuple[int, ...]:
    """Which layers a student takes by default: evenly spread from the first to the last.

    Half of BERT's twelve are 0, 2, 4, 7, 9 and 11, as in DistilBERT's published script: "one layer out of two" (Sanh et
    al. 2019, sec. 3), and the last one among them, to which the teacher's head belongs. Three of six are 0, 2 and 5;
    one alone is the first.

    Args:
        count: layers of the student, at least 1.
        of: layers of the teacher.

    Raises:
        LimbeckError: the teacher has fewer, or the student none.
    """
    if not 1 <= count <= of:
        raise LimbeckError(f"found {_counted(count)} to take, expected 1 to {of}: the teacher has {_counted(of)}")
    if count == 1:
        return (0,)
    return tuple((2 * number * (of - 1) + count - 2) // (2 * (count - 1)) for number in range(count))


def student_network(
    teacher: Any,
    layers: Sequence[int],
    architecture: Architecture = "same",
    initial: Initial = "layers",
    seed: int = 0,
    dropout: float | None = None,
) -> Any:
    """A new model with these layers of a teacher and everything else that it has, in evaluation mode.

    With a classifier the student is one, with a masked language model one of these, and without a head one without.
    Weights are copied: nothing is shared with the teacher, which stays as it is.

    As a DistilBERT, a student of a BERT has no token types: those of type 0, which single texts are all of, are added
    to the positions, so that hidden states are the same for them; a pair's second text is told by the separator alone.
    The classifier takes the pooler's weights as its first linear map, with a ReLU where the pooler has tanh.

    Args:
        teacher: a BERT, RoBERTa or DistilBERT of the library transformers.
        layers: of the teacher, from 0, in rising order.
        architecture: "same", or "distilbert" from a BERT.
        initial: "layers" for the teacher's weights; "random" for what the model begins with when it is trained from
            nothing, drawn from the seed.
        seed: of random weights; torch's global generator stays as it is.
        dropout: of hidden states, attention and classifier; None for the teacher's.

    Raises:
        LimbeckError: the teacher is of another type, has no such layers, or is none that a DistilBERT can be made from.
        UsageError: layers out of order, an unknown setting, or a dropout that is no probability below 1.
    """
    _check(teacher, layers, architecture, initial, dropout)
    of_bert = architecture == "distilbert" and teacher.config.model_type == "bert"
    made, config = _distilbert(teacher) if of_bert else (type(teacher), copy.deepcopy(teacher.config))
    kind = KINDS[config.model_type]
    setattr(config, kind.depth, len(layers))
    if dropout is not None:
        for setting in kind.dropouts:
            setattr(config, setting, dropout)
    with quiet(), seeded(seed):
        student = made._from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    if not of_bert and getattr(without_head(teacher), "pooler", student) is None:
        without_head(student).pooler = None
    if initial == "layers":
        weights = _weights(teacher, layers)
        student.load_state_dict(_as_distilbert(weights) if of_bert else weights)
    with_byte_dropout(student)
    return student.to(teacher.device).eval()


def _check(teacher: Any, layers: Sequence[int], architecture: str, initial: str, dropout: float | None) -> None:
    depth = len(_layers(teacher))
    for layer in layers:
        if not 0 <= layer < depth:
            raise LimbeckError(
                f"found layer {layer}, expected numbers from 0 to {depth - 1}: the teacher has {_counted(depth)}"
            )
    if not layers or list(layers) != sorted(set(layers)):
        raise UsageError(f"found layers {list(layers)}, expected at least one, each once and in rising order")
    if architecture not in ("same", "distilbert"):
        raise UsageError(f'unknown architecture "{architecture}", expected "same" or "distilbert"')
    if initial not in ("layers", "random"):
        raise UsageError(f'unknown initial weights "{initial}", expected "layers" or "random"')
    if dropout is not None and not 0 <= dropout < 1:
        raise UsageError(f"found dropout {dropout}, expected a probability from 0 to below 1")
    if architecture == "distilbert":
        model_type, name = teacher.config.model_type, type(teacher).__name__
        if model_type == "roberta":
            raise LimbeckError(
                "a DistilBERT cannot be made from a RoBERTa, whose positions count otherwise: take the architecture "
                '"same", which a RoBERTa of fewer layers is'
            )
        if model_type == "bert" and teacher.config.layer_norm_eps != _DISTILBERT_EPS:
            raise LimbeckError(
                f"a DistilBERT cannot be made from a BERT of layer_norm_eps = {teacher.config.layer_norm_eps}, for its "
                f'own is always {_DISTILBERT_EPS}: take the architecture "same"'
            )
        if model_type == "bert" and name not in _TO_DISTILBERT:
            raise LimbeckError(f"a DistilBERT cannot be made from a {name}, expected {', '.join(_TO_DISTILBERT)}")


def _layers(model: Any) -> Any:
    return without_head(model).get_submodule(kind_of(model).layers)


def _weights(teacher: Any, layers: Sequence[int]) -> dict[str, Tensor]:
    """The teacher's weights by the names that they have in a student of these layers."""
    number = {layer: at for at, layer in enumerate(layers)}
    listed = re.compile(rf"((?:^|\.){re.escape(kind_of(teacher).layers)}\.)(\d+)(\..*)")
    weights: dict[str, Tensor] = {}
    for name, weight in teacher.state_dict().items():
        found = listed.search(name)
        if found is None:
            weights[name] = weight
        elif int(found[2]) in number:
            weights[f"{name[: found.start()]}{found[1]}{number[int(found[2])]}{found[3]}"] = weight
    return weights


def _distilbert(teacher: Any) -> tuple[Any, Any]:
    """The class and config of a DistilBERT like a BERT; its normalisations' epsilon is 1e-12 always, as BERT's is."""
    import transformers

    of = teacher.config
    of_head = of.hidden_dropout_prob if of.classifier_dropout is None else of.classifier_dropout
    config = transformers.DistilBertConfig(
        vocab_size=of.vocab_size,
        max_position_embeddings=of.max_position_embeddings,
        dim=of.hidden_size,
        n_heads=of.num_attention_heads,
        hidden_dim=of.intermediate_size,
        activation=of.hidden_act,
        dropout=of.hidden_dropout_prob,
        attention_dropout=of.attention_probs_dropout_prob,
        seq_classif_dropout=of_head,
        initializer_range=of.initializer_range,
        pad_token_id=of.pad_token_id,
        tie_word_embeddings=of.tie_word_embeddings,
        id2label=dict(of.id2label),
        label2id=dict(of.label2id),
        problem_type=of.problem_type,
    )
    return getattr(transformers, _TO_DISTILBERT[type(teacher).__name__]), config


def _as_distilbert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """BERT's weights by the names that they have in a DistilBERT."""
    renamed: dict[str, Tensor] = {}
    for given, weight in weights.items():
        if _DROPPED.search(given):
            continue
        if given.endswith("position_embeddings.weight"):
            types = weights[given.replace("position_embeddings", "token_type_embeddings")]
            weight = weight + types[0]
        name = given
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = weight
    return renamed


def _counted(layers: int) -> str:
    return f"{layers} layer{'' if layers == 1 else 's'}"
