"""Tiny random encoders in folders as Hugging Face has them, with tokenizers that can spell any ASCII text."""

from pathlib import Path

import torch

_SPOKEN = (
    "a an the this that it is was and but not no very so too of in on at for with film movie story actor plot scene "
    "good great best fine fun bad worst dull poor boring love like hate watch see think feel make one two people "
    "time life world never always more less"
)
WORDS = _SPOKEN.split()
ENDINGS = ("s", "ed", "er", "est", "ing", "ly", "ness")
TEXTS = (
    "The plot is good, the actors are great!",
    "a dull movie; never boring",
    "Not the best film of 1999, but fun to watch",
    "bad",
    "I hate this story & its worst scene...",
    "one of the finest films on people and life",
)
POSITIONS = 64


def tiny_folder(tmp_path, kind="bert", layers=4, width=32, heads=2, classes=2, seed=0) -> Path:
    """A sequence classifier "bert", "roberta" or "distilbert" in the folder tmp_path/kind; no parameter is 0 or 1.

    It takes up to 64 tokens. Its classes have no names (LABEL_0, …).
    """
    import transformers

    tokenizer = tiny_tokenizer(kind)
    common = {"vocab_size": len(tokenizer), "num_labels": classes, "pad_token_id": tokenizer.pad_token_id}
    if kind == "distilbert":
        config = transformers.DistilBertConfig(
            dim=width, n_heads=heads, n_layers=layers, hidden_dim=2 * width, max_position_embeddings=POSITIONS, **common
        )
    else:
        of_kind = {
            "bert": (transformers.BertConfig, {"max_position_embeddings": POSITIONS}),
            "roberta": (
                transformers.RobertaConfig,
                # its positions begin at the padding's id + 1
                {
                    "max_position_embeddings": POSITIONS + tokenizer.pad_token_id + 1,
                    "bos_token_id": 0,
                    "eos_token_id": 2,
                    "type_vocab_size": 1,
                },
            ),
        }
        config_class, own = of_kind[kind]
        config = config_class(
            hidden_size=width,
            num_attention_heads=heads,
            num_hidden_layers=layers,
            intermediate_size=2 * width,
            **common,
            **own,
        )
    model = seeded(transformers.AutoModelForSequenceClassification.from_config(config), seed)
    folder = tmp_path / kind
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def seeded(model, seed=0):
    """Every parameter random, of a size at which each makes a difference."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(centre + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def tiny_tokenizer(kind="bert"):
    """Word pieces in lower case, or for "roberta" pairs of bytes joined by a few merges."""
    import transformers

    if kind == "roberta":
        vocabulary, merges = _byte_pairs()
        return transformers.RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=POSITIONS)
    made = transformers.DistilBertTokenizer if kind == "distilbert" else transformers.BertTokenizer
    return made(vocab=_word_pieces(), do_lower_case=True, model_max_length=POSITIONS)


def _word_pieces():
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{letter}" for letter in characters)]
    pieces += [word for word in WORDS if len(word) > 1] + [f"##{ending}" for ending in ENDINGS if len(ending) > 1]
    return {piece: number for number, piece in enumerate(pieces)}


def _byte_pairs():
    from tokenizers.pre_tokenizers import ByteLevel

    pieces = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet())]
    merges = []
    for word in WORDS:
        joined = "Ġ"
        for letter in word:
            if (joined, letter) not in merges:
                merges.append((joined, letter))
                pieces.append(joined + letter)
            joined += letter
    return {piece: number for number, piece in enumerate([*pieces, "<mask>"])}, merges
