"""The types of encoder whose inside Limbeck knows: where their layers, projections and dropout are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from limbeck.errors import LimbeckError


@dataclass(frozen=True)
class Kind:
    """Where things are in one type of transformers model.

    Attributes:
        layers: the path of the list of layers in the model without a head.
        depth: the setting that says how many layers there are.
        dropouts: the settings of dropout: of hidden states and of attention, then of the classifier.
        projections: the paths, in a layer, of the linear maps to queries, keys and values.
        last: the path, in a layer, of the module whose output is the layer's.
    """

    layers: str
    depth: str
    dropouts: tuple[str, str, str]
    projections: tuple[str, str, str]
    last: str


_BERT = Kind(
    layers="encoder.layer",
    depth="num_hidden_layers",
    dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    projections=("attention.self.query", "attention.self.key", "attention.self.value"),
    last="output",
)
_DISTILBERT = Kind(
    layers="transformer.layer",
    depth="n_layers",
    dropouts=("dropout", "attention_dropout", "seq_classif_dropout"),
    projections=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    last="output_layer_norm",
)

KINDS: dict[str, Kind] = {"bert": _BERT, "roberta": _BERT, "distilbert": _DISTILBERT}
"""By the `model_type` of config.json."""


def check_type(model_type: object, where: str) -> None:
    """Refuse a model of another type.

    Args:
        model_type: as config.json has it.
        where: what it is the type of, for the message.

    Raises:
        LimbeckError: it is none of `KINDS`.
    """
    if not isinstance(model_type, str) or model_type not in KINDS:
        raise LimbeckError(
            f'{where}: models of type "{model_type}" cannot be read, expected "bert", "roberta" or "distilbert": '
            "take an encoder of one of these types"
        )


def kind_of(model: Any) -> Kind:
    """The kind of a transformers model.

    Raises:
        LimbeckError: it is of a type whose inside is unknown.
    """
    check_type(model.config.model_type, type(model).__name__)
    return KINDS[model.config.model_type]


def without_head(model: Any) -> Any:
    """The model below the head; a model that has none is that itself."""
    return getattr(model, model.base_model_prefix, model)
