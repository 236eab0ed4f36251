from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data import Part, SyntheticSettings, synthetic_rows
from limbeck.data.form import TextForm
from limbeck.data.texts import BETWEEN, packed, unpacked, widened
from limbeck.errors import UsageError

WORDS = SyntheticSettings("words")
FILMS = [f"film {row} is one of the {'finest' if row % 2 else 'dullest'} that there ever were in" for row in range(400)]


def part_of(texts, ids=None, second=None):
    ids = np.arange(len(texts)) if ids is None else np.asarray(ids)
    form = TextForm(("text",) if second is None else ("one", "other"))
    return Part("texts", packed(texts, second), np.zeros(len(texts), np.int64), ids, ("no", "yes"), form)


def made(part, settings=WORDS, view=1, seed=0, **options):
    return unpacked(synthetic_rows(part, view=view, seed=seed, settings=settings, **options))


@pytest.fixture(scope="module")
def films():
    return part_of(FILMS)


def test_view_0_is_the_text_itself_and_each_other_view_another_one(films):
    assert made(films, view=0) == FILMS
    first, second = made(films, view=1), made(films, view=2)
    assert np.mean([one != text for one, text in zip(first, FILMS, strict=True)]) > 0.8
    assert np.mean([one != two for one, two in zip(first, second, strict=True)]) > 0.8
    assert made(films, view=1) == first != made(films, view=1, seed=1)


def test_a_text_is_altered_alike_in_any_batch_and_order(films):
    whole = made(films)
    rows = np.random.default_rng(0).permutation(len(FILMS))[:50]
    assert made(films, rows=rows) == [whole[row] for row in rows]


def test_words_come_from_the_part_and_one_at_least_is_left(films):
    known = {word for text in FILMS for word in text.split()}
    for text in made(films, SyntheticSettings("words", replace=1.0, drop=0.9)):
        assert text
        assert set(text.split()) <= known


def test_words_are_replaced_left_out_and_cut_short_as_often_as_asked():
    films = part_of([*FILMS, 300 * "x"])  # room for longer words
    of_each = len(FILMS[0].split())

    def kept(**settings):
        chances = {"replace": 0.0, "drop": 0.0, "span": 0.0, **settings}
        return [text.split() for text in made(films, SyntheticSettings("words", **chances))]

    texts = [text.split() for text in FILMS]
    assert kept()[: len(FILMS)] == texts
    pairs = [zip(*two, strict=True) for two in zip(kept(replace=0.5), texts, strict=False)]
    replaced = np.mean([one != other for pair in pairs for one, other in pair])
    assert replaced == pytest.approx(0.5, abs=0.06)  # now and then by the same word
    assert np.mean([len(one) for one in kept(drop=0.25)[: len(FILMS)]]) == pytest.approx(0.75 * of_each, rel=0.05)
    runs = kept(span=1.0)
    for run, text in zip(runs, texts, strict=False):
        assert any(text[start : start + len(run)] == run for start in range(of_each - len(run) + 1))
    assert {len(run) for run in runs[: len(FILMS)]} == set(range(of_each // 2, of_each + 1))


def test_frequent_words_replace_others_more_often():
    part = part_of(["common " * 9 + "rare"] * 300)
    found = " ".join(made(part, SyntheticSettings("words", replace=1.0, drop=0.0, span=0.0))).split()
    assert found.count("common") / len(found) == pytest.approx(0.9, abs=0.03)


def test_pairs_stay_pairs():
    part = part_of(FILMS[:100], second=[f"is film {row} good" for row in range(100)])
    texts = made(part)
    assert all(text.count(BETWEEN) == 1 and all(text.split(BETWEEN)) for text in texts)
    assert len({text.split(BETWEEN)[1] for text in texts}) > 50


def test_the_longer_of_a_pair_is_shortened_and_neither_is_lost():
    part = part_of(["ok", "extraordinarily"], second=["a b c d e f g", "good"])
    for view in range(1, 200):
        for text, first in zip(
            made(part, SyntheticSettings("words", replace=1.0), view=view), ("ok", "a"), strict=False
        ):
            one, other = text.split(BETWEEN)
            assert one, first
            assert other, first


def test_texts_are_the_same_however_wide_their_array_is(films):
    wider = replace(films, inputs=widened(films.inputs, films.inputs.shape[1] + 60))
    assert wider.inputs_hash == films.inputs_hash
    chances = SyntheticSettings("words", replace=1.0, drop=0.0, span=0.0)  # many of them are to be shortened
    assert made(wider, chances) == made(films, chances)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 2**32))
def test_any_text_is_altered_within_the_bytes_of_the_longest(texts, view, seed):
    part = part_of(texts)
    found = synthetic_rows(part, view=view, seed=seed, settings=SyntheticSettings("words", replace=0.7))
    assert found.shape == part.inputs.shape
    assert found.dtype == np.uint8
    for text in unpacked(found):
        assert "\ufffd" not in text or any("\ufffd" in one for one in texts)


def test_words_are_for_texts_and_the_others_for_tables(films):
    table = Part("table", np.zeros((3, 2), np.float32), np.zeros(3, np.int64), np.arange(3), ("no", "yes"))
    for part, method, message in (
        (films, "munge", 'synthetic rows by "munge" of part "texts": found texts, expected "words"'),
        (table, "words", 'synthetic rows by "words" of part "table": found no texts, expected "munge" or "spunge"'),
    ):
        with pytest.raises(UsageError) as refused:
            made(part, SyntheticSettings(method))
        assert str(refused.value) == message
