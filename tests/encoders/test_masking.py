import numpy as np
import pytest

from limbeck.encoders.masking import Masking, MaskSettings
from limbeck.errors import LimbeckError, UsageError

VOCABULARY, PAD, CLS, SEP, MASK = 100, 0, 2, 3, 4
SPECIAL = {PAD, 1, CLS, SEP, MASK}


def masking(counts=None, seed=5, **settings):
    counts = np.ones(VOCABULARY, np.int64) if counts is None else counts
    return Masking(counts, SPECIAL, MASK, MaskSettings(**settings), seed)


def rows(count, tokens=20, width=30):
    ids = np.full((count, width), PAD, np.int64)
    ids[:, 0], ids[:, tokens + 1] = CLS, SEP
    ids[:, 1 : tokens + 1] = np.random.default_rng(0).integers(5, VOCABULARY, (count, tokens))
    keys = np.stack([np.arange(count) + 7, np.zeros(count, np.int64)], axis=1)
    return ids, keys


def views(count, view=3):
    return np.full(count, view, np.int64)


def test_a_mask_depends_on_seed_view_and_row_alone():
    ids, keys = rows(16)
    shown, labels = masking().applied(ids, keys, views(16))
    order = np.array([9, 3, 15])
    again = masking().applied(ids[order], keys[order], views(3))
    np.testing.assert_array_equal(again[0], shown[order])
    np.testing.assert_array_equal(again[1], labels[order])
    narrow = masking().applied(ids[3:4, :22], keys[3:4], views(1))
    np.testing.assert_array_equal(narrow[0][0], shown[3, :22])
    np.testing.assert_array_equal(narrow[1][0], labels[3, :22])


@pytest.mark.parametrize("change", ["seed", "view", "text", "piece"])
def test_another_seed_view_text_or_piece_has_another_mask(change):
    ids, keys = rows(16)
    same = np.repeat(ids[:1], 16, axis=0)
    one = masking().applied(same, keys, views(16))[1]
    other_keys = keys + {"text": [100, 0], "piece": [0, 1]}.get(change, [0, 0])
    other = masking(seed=6 if change == "seed" else 5).applied(
        same, np.asarray(other_keys), views(16, 4 if change == "view" else 3)
    )[1]
    assert (one != other).any(axis=1).mean() > 0.8
    assert len(np.unique(one, axis=0)) > 12


def test_fifteen_in_a_hundred_are_predicted_and_at_least_one():
    for tokens, expected in ((1, 1), (3, 1), (10, 2), (20, 3), (27, 4)):
        ids, keys = rows(4, tokens)
        labels = masking().applied(ids, keys, views(4))[1]
        assert ((labels >= 0).sum(axis=1) == expected).all()
    ids, keys = rows(4)
    assert ((masking(share=1).applied(ids, keys, views(4))[1] >= 0).sum(axis=1) == 20).all()


def test_special_tokens_are_neither_predicted_nor_changed_nor_shown_for_others():
    ids, keys = rows(400)
    shown, labels = masking(share=1.0, masked=0.0, replaced=1.0).applied(ids, keys, views(400))
    special = np.isin(ids, list(SPECIAL))
    assert (labels[special] == -1).all()
    np.testing.assert_array_equal(shown[special], ids[special])
    assert not np.isin(shown[~special], list(SPECIAL)).any()
    assert len(np.unique(shown[~special])) == VOCABULARY - len(SPECIAL)


def test_a_row_without_ordinary_tokens_has_nothing_to_predict():
    ids = np.array([[CLS, SEP, PAD], [CLS, 1, SEP]])
    shown, labels = masking().applied(ids, np.array([[0, 0], [1, 0]]), views(2))
    assert (labels == -1).all()
    np.testing.assert_array_equal(shown, ids)


def test_eight_of_ten_are_masked_one_is_replaced_one_is_kept():
    ids, keys = rows(3000)
    shown, labels = masking().applied(ids, keys, views(3000))
    predicted = labels >= 0
    np.testing.assert_array_equal(labels[predicted], ids[predicted])
    np.testing.assert_array_equal(shown[~predicted], ids[~predicted])
    as_mask = (shown == MASK)[predicted].mean()
    kept = (shown == ids)[predicted].mean()
    assert as_mask == pytest.approx(0.8, abs=0.015)
    assert kept == pytest.approx(0.1, abs=0.015)  # one in a hundred of the random ones is the token itself


def test_rare_tokens_are_predicted_more_often_by_the_power_of_their_count():
    counts = np.ones(VOCABULARY, np.int64)
    counts[5:20] = 10_000
    counts[60:] = 0  # as if counted once
    ids = np.tile(np.array([CLS, *range(5, 15), *range(55, 65), SEP]), (6000, 1))
    keys = np.stack([np.arange(6000), np.zeros(6000, np.int64)], axis=1)
    share = 1 / 20  # one token of each row: the weights are the probabilities
    for smoothing in (0.7, 0.25, 0.0):
        labels = masking(counts, share=share, smoothing=smoothing).applied(ids, keys, views(6000))[1]
        found = (labels >= 0).sum(axis=0)
        common, rare = found[1:11].sum(), found[11:21].sum()
        assert common / 6000 == pytest.approx(1 / (1 + 10_000**smoothing), abs=0.02)
        assert common + rare == 6000
        assert found[11:16].sum() == pytest.approx(rare / 2, rel=0.1)


def test_what_is_out_of_range_is_said_in_one_line():
    with pytest.raises(UsageError, match="masking.share = 0, expected above 0 and at most 1"):
        MaskSettings(share=0)
    with pytest.raises(UsageError, match="masking.replaced = 0.3, expected from 0 to 1 − masked, here 0.2"):
        MaskSettings(replaced=0.3)
    with pytest.raises(UsageError, match="masking.smoothing = nan"):
        MaskSettings(smoothing=float("nan"))
    with pytest.raises(UsageError, match="seed = -1"):
        masking(seed=-1)
    with pytest.raises(LimbeckError, match="the tokenizer has no mask token"):
        Masking(np.ones(9, np.int64), {0}, None, MaskSettings(), 0)
    with pytest.raises(LimbeckError, match="special tokens only"):
        Masking(np.ones(3, np.int64), {0, 1}, 2, MaskSettings(), 0)
