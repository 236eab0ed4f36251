import copy
import json
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import TEXTS, tiny_folder, tiny_tokenizer

from limbeck.data.texts import packed
from limbeck.encoders.tokens import TextTokens
from limbeck.errors import LimbeckError, UsageError

KINDS = ("bert", "roberta", "distilbert")
LATE = ["so very good " * 9, "film"]
EARLY = ["a scene", "never watch the worst of the best " * 4]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    return {kind: tiny_folder(path, kind) for kind in KINDS}


def loaded(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def same(encoded, expected):
    assert torch.equal(encoded.ids, expected["input_ids"])
    assert torch.equal(encoded.mask, expected["attention_mask"].bool())
    assert encoded.ids.dtype == torch.int64
    if "token_type_ids" in expected:
        assert torch.equal(encoded.types, expected["token_type_ids"])
    else:
        assert encoded.types is None


@pytest.mark.parametrize("kind", KINDS)
def test_texts_become_what_the_models_own_tokenizer_makes_of_them(folders, kind):
    texts = [*TEXTS, "", "Ünïcode … 漢字 naïve", "x" * 300]
    same(
        TextTokens.read(folders[kind]).encode(packed(texts)),
        loaded(folders[kind])(texts, padding=True, truncation=True, return_tensors="pt"),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_of_pairs_the_longer_half_is_cut_first(folders, kind):
    tokens = TextTokens.read(folders[kind], 16)
    expected = loaded(folders[kind])(LATE, EARLY, padding=True, truncation=True, max_length=16, return_tensors="pt")
    rows = packed(LATE, EARLY)
    same(tokens.encode(rows, pairs=True), expected)
    assert tokens.truncated_count(rows, pairs=True) == 2


def test_an_empty_text_is_its_marks_alone(folders):
    tokens = TextTokens.read(folders["bert"])
    encoded = tokens.encode(packed(["", ""]))
    assert encoded.ids.tolist() == [[2, 3], [2, 3]]
    assert tokens.encode(packed([])).ids.shape == (0, 0)


def test_texts_met_before_are_encoded_the_same_alone_and_in_pairs(folders):
    tokens = TextTokens.read(folders["bert"])
    rows = torch.from_numpy(packed(LATE, EARLY))
    pairs, alone = tokens.encode(rows, pairs=True), tokens.encode(rows)
    assert pairs.types.any()
    assert not alone.types.any()
    for _ in range(2):
        assert torch.equal(tokens.encode(rows, pairs=True).types, pairs.types)
        assert torch.equal(tokens.encode(rows.flip(0)).ids, alone.ids.flip(0))


def test_what_is_remembered_is_bounded(folders, monkeypatch):
    monkeypatch.setattr("limbeck.encoders.tokens.MEMO_BYTES", 2000)
    tokens = TextTokens.read(folders["bert"])
    rows = packed([f"{number} good films" for number in range(50)])
    first = tokens.encode(rows)
    assert 0 < len(tokens._memo[False]) < 5
    assert torch.equal(tokens.encode(rows).ids, first.ids)


def test_texts_that_will_be_cut_are_counted(folders):
    tokens = TextTokens.read(folders["bert"], 10)
    rows = packed(["good " * 8, "good " * 9, "good " * 30])
    assert tokens.truncated_count(rows) == 2
    assert tokens.lengths(rows).tolist() == [10, 10, 10]


def test_pieces_are_counted_in_whole_texts_without_marks(folders):
    tokens = TextTokens.read(folders["bert"], 4)
    counts = tokens.piece_counts(packed(["good " * 8, "films"]))
    pieces = {tokens.tokenizer.id_to_token(number): int(counts[number]) for number in np.flatnonzero(counts)}
    assert pieces == {"good": 8, "film": 1, "##s": 1}
    assert len(counts) == tokens.vocabulary_size
    halves = tokens.piece_counts(packed(["good"], ["film"]), pairs=True)
    assert halves.sum() == 2


def test_a_vocabulary_as_text_serves_too(folders, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(folders["bert"] / "config.json", folder)
    vocabulary = tiny_tokenizer("bert").get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    rows = packed(TEXTS)
    old, new = TextTokens.read(folder, 20).encode(rows), TextTokens.read(folders["bert"], 20).encode(rows)
    assert torch.equal(old.ids, new.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_the_same_to_transformers(folders, tmp_path, kind):
    tokens = TextTokens.read(folders[kind], 12)
    shutil.copy(folders[kind] / "config.json", tmp_path)
    (tmp_path / "tokenizer.json").write_text(tokens.to_json_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens.config()))
    expected = loaded(tmp_path)(list(TEXTS), padding=True, truncation=True, return_tensors="pt")
    same(tokens.encode(packed(TEXTS)), expected)
    again = TextTokens.read(tmp_path)
    assert (again.config(), again.to_json_text()) == (tokens.config(), tokens.to_json_text())
    assert (again.pad_id, again.mask_id, again.special_ids) == (tokens.pad_id, tokens.mask_id, tokens.special_ids)


def test_the_case_that_the_folder_asks_for_survives_saving(folders, tmp_path):
    cased = tmp_path / "cased"
    shutil.copytree(folders["bert"], cased)
    settings = json.loads((cased / "tokenizer_config.json").read_text())
    (cased / "tokenizer_config.json").write_text(json.dumps({**settings, "do_lower_case": False}))
    tokens = TextTokens.read(cased)
    unknown = tokens.tokenizer.token_to_id("[UNK]")
    assert unknown in tokens.encode(packed(["Good"])).ids
    saved = TextTokens.read(folders["bert"]).with_vocabulary(json.loads(tokens.to_json_text()))
    assert unknown in saved.encode(packed(["Good"])).ids


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda tokens: pickle.loads(pickle.dumps(tokens))])
def test_copies_cut_and_pad_alike(folders, copied):
    tokens = TextTokens.read(folders["roberta"], 8)
    assert torch.equal(copied(tokens).encode(packed(TEXTS)).ids, tokens.encode(packed(TEXTS)).ids)


def test_no_code_of_the_folder_runs(folders, tmp_path):
    folder = tmp_path / "code"
    shutil.copytree(folders["bert"], folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["code.Mine", "code.Mine"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    try:
        TextTokens.read(folder)
    except LimbeckError as error:
        assert "\n" not in str(error)
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_a_tokenizer_is_named_in_one_line(tmp_path):
    with pytest.raises(
        LimbeckError, match=r"has no tokenizer \(tokenizer.json, .*\): put the model's tokenizer.json"
    ) as caught:
        TextTokens.read(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_limits_that_cannot_be(folders):
    with pytest.raises(UsageError, match="texts cut to 100 tokens: the model has 64 positions, ask for no more"):
        TextTokens.read(folders["bert"], 100, 64)
    with pytest.raises(UsageError, match="texts cut to 3 tokens: 3 of them are marks, so ask for more"):
        TextTokens.read(folders["bert"], 3)
    assert TextTokens.read(folders["bert"], None, 50).max_length == 50


def test_tokenizer_and_model_that_do_not_belong_together(folders):
    tokens = TextTokens.read(folders["bert"])
    size = tokens.vocabulary_size
    tokens.fits(SimpleNamespace(vocab_size=size, pad_token_id=0))
    tokens.fits(SimpleNamespace(vocab_size=size + 40, pad_token_id=None))
    for config, said in (
        ({"vocab_size": size - 1, "pad_token_id": 0}, f"has {size} pieces, the model knows {size - 1}"),
        ({"vocab_size": 30522, "pad_token_id": 0}, f"has only {size} pieces of the model's 30522"),
        ({"vocab_size": size + 129, "pad_token_id": 0}, f"has only {size} pieces of the model's {size + 129}"),
        ({"vocab_size": size, "pad_token_id": 1}, "padding is 0 to the tokenizer and 1 to the model"),
    ):
        with pytest.raises(LimbeckError, match=f"do not belong together: .*{said}"):
            tokens.fits(SimpleNamespace(**config))


def test_a_tokenizer_that_cannot_pad_is_refused(folders):
    tokens = TextTokens.read(folders["bert"])
    with pytest.raises(LimbeckError, match="no token for padding: name one of its tokens as pad_token"):
        TextTokens(tokens.uncut(), {"cls_token": "[CLS]"}, 20, True)
