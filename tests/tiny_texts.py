"""Short texts whose class is told by single words, and small encoders that learn it in a moment."""

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "encoders"))

from small import POSITIONS, WORDS, tiny_tokenizer

GOOD = ["good", "great", "best", "fine", "fun", "love", "like"]
BAD = ["bad", "worst", "dull", "poor", "boring", "hate"]
_NEUTRAL = [word for word in WORDS if word not in (*GOOD, *BAD)]


def written_texts(path, count=600, seed=0, labels=("neg", "pos")):
    """JSON lines of texts of 4 to 9 words, two of which tell the class; plain text, without labels, for .txt."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        label = draw.random() < 0.5
        words = draw.choices(_NEUTRAL, k=draw.randint(2, 7)) + draw.choices(GOOD if label else BAD, k=2)
        draw.shuffle(words)
        text = " ".join(words)
        lines.append(text if path.suffix == ".txt" else json.dumps({"text": text, "label": labels[label]}))
    path.write_text("\n".join(lines) + "\n")
    return path


def learnable_folder(folder, kind="bert", layers=4, width=32, heads=2, seed=0, classifier=None, names=None):
    """An encoder as it is before it has learnt anything, in a Hugging Face folder with its tokenizer.

    Args:
        folder: made.
        kind: bert, roberta or distilbert.
        layers: how many.
        width: of hidden states.
        heads: of attention.
        seed: of the weights.
        classifier: of the model's own, how many classes it tells apart; None for a model without a head.
        names: the names of these.
    """
    import torch
    import transformers

    tokenizer = tiny_tokenizer(kind)
    shared = {
        "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "initializer_range": 0.1,
        "num_labels": classifier or 2, **({"id2label": dict(enumerate(names))} if names else {}),
    }  # fmt: skip
    if kind == "distilbert":
        config = transformers.DistilBertConfig(
            dim=width, n_heads=heads, n_layers=layers, hidden_dim=2 * width, max_position_embeddings=POSITIONS, **shared
        )
    else:
        roberta = {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1, "bos_token_id": 0, "eos_token_id": 2}
        made = transformers.RobertaConfig if kind == "roberta" else transformers.BertConfig
        config = made(
            hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, intermediate_size=2 * width,
            **(roberta if kind == "roberta" else {"max_position_embeddings": POSITIONS}), **shared,
        )  # fmt: skip
    auto = transformers.AutoModel if classifier is None else transformers.AutoModelForSequenceClassification
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        auto.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)
