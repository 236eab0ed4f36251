import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import TEXTS, seeded, tiny_folder
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from limbeck.data.texts import packed
from limbeck.encoders.tokens import TextTokens
from limbeck.encoders.vocabulary import trim_embeddings, trimmed, trimmed_config
from limbeck.encoders.vocabulary_pieces import wordpieces_kept
from limbeck.errors import LimbeckError

KINDS = ("bert", "roberta", "distilbert")
NAMES = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
CORPUS = [
    "the flowers flowed lower, lowest and slower; a low slow flow of wolves",
    "unaffordable affordances were offered to the unlearned learner's learning",
    "naïve façades, Ærø and smørrebrød: über-ångström!",
    "they're reading, rereading and misreading what readers read",
] * 3


def wordpiece(unused=4):
    """A trained vocabulary with marks, names of its own for nothing and an added token."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    marks = ["[PAD]", *(f"[unused{number}]" for number in range(unused)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=marks, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if "unused" not in token["content"]]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    cls, sep = (tokenizer.token_to_id(mark) for mark in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)]
    )
    tokenizer.add_tokens(["limbeckish"])
    return TextTokens(tokenizer, NAMES, 64, True)


def bytepairs(processor="roberta"):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<more>"])
    more = tokenizer.token_to_id("<more>")
    # an end with a high id, so that it has to be found anew
    if processor == "roberta":
        tokenizer.post_processor = processors.RobertaProcessing(("<more>", more), ("<s>", 0))
    elif processor == "bert":
        tokenizer.post_processor = processors.BertProcessing(("<more>", more), ("<s>", 0))
    else:
        template = processors.TemplateProcessing(
            single="<s> $A <more>", pair="<s> $A <more> $B <more>", special_tokens=[("<s>", 0), ("<more>", more)]
        )
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), template])
    return TextTokens(tokenizer, {"pad_token": "<pad>", "mask_token": "<mask>"}, 64, False)


def pieces_of(tokenizer, text):
    return tokenizer.encode(text).tokens


MAKERS = {
    "wordpiece": wordpiece,
    "roberta": bytepairs,
    "bert": lambda: bytepairs("bert"),
    "sequence": lambda: bytepairs("sequence"),
}
FEW = ["The lowest flow of LIMBECKISH wolves", "limbeckish readers, reading"]


@pytest.mark.parametrize("maker", MAKERS)
def test_the_texts_become_the_same_pieces_under_new_ids(maker):
    tokens = MAKERS[maker]()
    rows = packed(FEW)
    found = trimmed(tokens, rows)
    assert len(found.kept) < 0.9 * tokens.vocabulary_size
    assert found.used == (tokens.piece_counts(rows) > 0).sum()
    new = tokens.with_vocabulary(found.tokenizer_json)
    assert [pieces_of(new.tokenizer, text) for text in FEW] == [pieces_of(tokens.tokenizer, text) for text in FEW]
    assert np.array_equal(found.kept[new.encode(rows).ids.numpy()], tokens.encode(rows).ids.numpy())
    old, vocabulary = tokens.tokenizer.get_vocab(), new.tokenizer.get_vocab()
    assert {piece: int(found.kept[number]) for piece, number in vocabulary.items()} == {
        piece: old[piece] for piece in vocabulary
    }
    assert sorted(vocabulary.values()) == list(range(len(found.kept)))
    assert found.kept[new.pad_id] == tokens.pad_id
    assert set(found.kept[list(new.special_ids)].tolist()) == tokens.special_ids


def test_marks_and_added_tokens_stay_and_unused_ones_go():
    tokens = wordpiece()
    vocabulary = tokens.with_vocabulary(trimmed(tokens, packed(["a"])).tokenizer_json).tokenizer.get_vocab()
    assert {*NAMES.values(), "limbeckish"} <= vocabulary.keys()
    assert not any("unused" in piece for piece in vocabulary)


def test_both_halves_of_pairs_are_looked_at():
    tokens = wordpiece()
    assert "flowers" not in trimmed(tokens, packed(["a"])).tokenizer_json["model"]["vocab"]
    found = trimmed(tokens, packed(["the"], ["flowers"]), pairs=True)
    assert found.used == (tokens.piece_counts(packed(["the", "flowers"])) > 0).sum()


LETTERS = "".join(sorted({letter for text in CORPUS for letter in text.lower()}))


@pytest.mark.parametrize("maker", ["wordpiece", "roberta"])
def test_any_text_is_spelt_as_well_as_before(maker):
    tokens = MAKERS[maker]()
    full, cut = tokens.uncut(), tokens.with_vocabulary(trimmed(tokens, packed(FEW)).tokenizer_json).uncut()
    letters = st.sampled_from(LETTERS) if maker == "wordpiece" else st.characters(exclude_categories=["Cs"])
    words = st.lists(st.one_of(st.text(letters, max_size=8), st.sampled_from(" ".join(CORPUS).split())), max_size=8)

    @settings(max_examples=60, deadline=None)
    @given(words)
    def spelt(words):
        text = " ".join(words)
        before, after = full.encode(text), cut.encode(text)
        assert before.tokens.count("[UNK]") == after.tokens.count("[UNK]")
        assert cut.decode(after.ids) == full.decode(before.ids)

    spelt()


def greedy(word, pieces):
    """WordPiece as BERT's authors wrote it: the longest piece from the left; None where there is none."""
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in pieces:
                break
        else:
            return None
        found.append(piece)
        start = end
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.sets(
        st.text("abc", min_size=1, max_size=4).flatmap(lambda text: st.sampled_from([text, "##" + text])), min_size=4
    ),
    st.data(),
)
def test_characters_that_are_no_pieces_by_themselves_are_spelt_too(pieces, data):
    used = data.draw(st.sets(st.sampled_from(sorted(pieces))))
    kept = wordpieces_kept(pieces, used, "##")
    assert used <= kept <= pieces
    for word in data.draw(st.lists(st.text("abc", min_size=1, max_size=10), min_size=20, max_size=20)):
        before = greedy(word, pieces)
        if before is not None:
            assert greedy(word, kept) is not None
            if set(before) <= used:
                assert greedy(word, kept) == before


def test_a_cut_that_would_fall_elsewhere_is_kept_in_its_place():
    # "h" is only in "##yh" and "##hc"; without "abx" the word "abxyh" would be cut ab, ##xy, and then be stuck
    pieces = {"a", "b", "x", "y", "##a", "##b", "##x", "##y", "ab", "abx", "##xy", "##yh"}
    assert greedy("abxyh", pieces) == ["abx", "##yh"]
    assert greedy("abxyh", pieces - {"abx"}) is None
    assert "abx" in wordpieces_kept(pieces, {"ab", "##xy"}, "##")


def test_vocabularies_of_other_kinds_are_refused_before_anything_is_read():
    unigram = Tokenizer(models.Unigram([("<pad>", 0.0), ("a", -1.0)], 0, False))
    letters = Tokenizer(models.BPE({"<pad>": 0, "a": 1}, []))
    for tokenizer, kind in ((unigram, "Unigram"), (letters, "BPE")):
        tokens = TextTokens(tokenizer, {"pad_token": "<pad>"}, 8, False)
        with pytest.raises(LimbeckError, match=rf"kind {kind} .*cannot be trimmed: only WordPiece .*byte-level BPE"):
            trimmed(tokens, packed(["a"]))


def test_the_entries_of_a_configuration_that_change():
    config = {
        "vocab_size": 9,
        "pad_token_id": 0,
        "eos_token_id": [3, 4],
        "bos_token_id": 2,
        "sep_token_id": None,
        "dim": 8,
    }
    assert trimmed_config(config, np.array([0, 1, 4, 7])) == {
        "vocab_size": 4,
        "pad_token_id": 0,
        "eos_token_id": [2],
        "bos_token_id": None,
    }


def network_of(kind, head, folder, tied=True):
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = tied
    made = {
        "none": transformers.AutoModel,
        "classes": transformers.AutoModelForSequenceClassification,
        "words": transformers.AutoModelForMaskedLM,
    }[head]
    return seeded(made.from_config(config)).eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("head", ["none", "classes", "words"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_says_exactly_the_same_of_the_texts(tmp_path, kind, head, tied):
    folder = tiny_folder(tmp_path, kind, layers=2)
    tokens, rows = TextTokens.read(folder), packed(TEXTS[:3])
    found = trimmed(tokens, rows)
    network = network_of(kind, head, folder, tied)

    def said(tokens):
        batch = tokens.encode(rows)
        with torch.no_grad():
            return network(input_ids=batch.ids, attention_mask=batch.mask.long())[0]

    before = said(tokens)
    weights = sum(parameter.numel() for parameter in network.parameters())
    trim_embeddings(network, found.kept)
    new = tokens.with_vocabulary(found.tokenizer_json)
    after = said(new)
    assert torch.equal(after, before[..., found.kept] if head == "words" else before)
    new.fits(network.config)
    gone = tokens.vocabulary_size - len(found.kept)
    tables, biases = (1, 0) if head != "words" else (1, 1) if tied else (2, 1 if kind == "distilbert" else 2)
    rows_cut = 32 * tables + biases
    assert weights - sum(parameter.numel() for parameter in network.parameters()) == gone * rows_cut
    # saved and read as anyone would, it is still whole
    network.save_pretrained(tmp_path / "cut")
    again, report = type(network).from_pretrained(tmp_path / "cut", output_loading_info=True)
    assert not report["missing_keys"]
    network = again.eval()
    assert torch.equal(said(new), after)


def test_a_vocabulary_cut_for_another_model_is_refused(tmp_path):
    folder = tiny_folder(tmp_path, "roberta", layers=2)
    for kept, said in (
        ([0, 1, 2, 99_999], r"cut for another model: this one has \d+ pieces only"),
        ([0, 2, 3], "cut for another model: this one's padding, 1, is not in it"),
        ([1, 2, 3], "padding's id would move from 1 to 0, and this model counts positions from it"),
    ):
        network = network_of("roberta", "none", folder)
        before = network.get_input_embeddings().weight
        with pytest.raises(LimbeckError, match=said):
            trim_embeddings(network, np.array(kept))
        assert network.get_input_embeddings().weight is before
