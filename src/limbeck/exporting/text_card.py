"""What a card says of a model of texts, and how it is run from an ONNX file and from a Hugging Face folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.data import TextForm
from limbeck.exporting.encoders import tokenizer_name
from limbeck.exporting.markdown import fenced, plain, quoted
from limbeck.models.encoder import Encoder
from limbeck.models.onnx_texts import IDS, MASK, TYPES
from limbeck.report.wording import whole

if TYPE_CHECKING:
    from pathlib import Path

    from limbeck.encoders.tokens import TextTokens

_TEXT, _PAIR = '"a text", "and another one"', '("a text", "and its second half")'


def about_texts(model: Encoder) -> list[str]:
    """What the encoder is made of, and what it takes."""
    config, columns = model.network.config, model.form.columns
    pairs = f"pairs of texts ({' and '.join(map(plain, columns))})" if len(columns) > 1 else "texts"
    return [
        f"- a transformer encoder of type {plain(config.model_type)}: {whole(model.layers)} layers of width "
        f"{whole(config.hidden_size)}, a vocabulary of {whole(config.vocab_size)} pieces",
        f"- takes {pairs}, cut to {whole(model.tokens.max_length)} tokens, their marks among them",
    ]


def onnx_code(path: Path, tokens: TextTokens, form: TextForm) -> list[str]:
    """How an ONNX file is run: its tokenizer, which lies beside it, cuts and fills up."""
    fed = {IDS: "ids", MASK: "attention_mask", **({TYPES: "type_ids"} if tokens.with_types else {})}
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "from tokenizers import Tokenizer",
        "",
        f"tokenizer = Tokenizer.from_file({quoted(tokenizer_name(path))})",
        f"session = onnxruntime.InferenceSession({quoted(path.name)})",
        f"encoded = tokenizer.encode_batch([{_PAIR if len(form.columns) > 1 else _TEXT}])",
        "inputs = {",
        *(f"    {quoted(name)}: np.array([one.{field} for one in encoded])," for name, field in fed.items()),
        "}",
        "probabilities, classes = session.run(None, inputs)",
    ]
    return fenced(lines)


def transformers_code(folder: str, form: TextForm) -> list[str]:
    """How a Hugging Face folder is run by the library transformers."""
    given = '["a text"], ["and its second half"]' if len(form.columns) > 1 else f"[{_TEXT}]"
    lines = [
        "import torch",
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
        "",
        f"folder = {quoted(folder)}  # this one",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "model = AutoModelForSequenceClassification.from_pretrained(folder)",
        f'batch = tokenizer({given}, padding=True, truncation=True, return_tensors="pt")',
        "with torch.inference_mode():",
        "    probabilities = model(**batch).logits.softmax(dim=-1)",
        "classes = [model.config.id2label[place] for place in probabilities.argmax(dim=-1).tolist()]",
    ]
    return fenced(lines)
