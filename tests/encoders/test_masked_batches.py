import numpy as np
import pytest
import torch
from small import TEXTS, WORDS, tiny_folder

from limbeck.batches import FRESH_VIEWS
from limbeck.data import Part, TextForm
from limbeck.data.texts import BETWEEN, packed
from limbeck.encoders.masked_batches import MaskedBatches, MaskedLabels
from limbeck.encoders.masked_rows import TokenRows
from limbeck.encoders.masked_text import TextSettings, masked_batches
from limbeck.encoders.tokens import TextTokens
from limbeck.errors import LimbeckError, UsageError


def part(texts, ids=None):
    numbers = np.arange(len(texts)) if ids is None else np.array(ids)
    return Part("text", packed(texts), np.full(len(texts), -1), numbers.astype(np.int64), (), TextForm())


def many(count=203, seed=0):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 30))) for _ in range(count)]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return TextTokens.read(tiny_folder(tmp_path_factory.mktemp("of"), layers=1))


@pytest.fixture(scope="module")
def source(tokens):
    return masked_batches(part(many()), tokens, TextSettings(16), batch_size=4, seed=1)


def ids_of(rows):
    return [rows.flat[start:stop].tolist() for start, stop in zip(rows.starts, rows.starts[1:], strict=False)]


def spoken(tokens, ids):
    return tokens.tokenizer.decode(ids, skip_special_tokens=True)


def test_short_texts_are_rows_of_their_own_between_marks(tokens):
    rows = TokenRows.of(part(TEXTS), tokens, 40)
    assert len(rows) == len(TEXTS)
    expected = tokens.encode(packed(TEXTS)).ids
    np.testing.assert_array_equal(rows.padded(np.arange(len(TEXTS))), expected)
    assert rows.keys.tolist() == [[number, 0] for number in range(len(TEXTS))]
    np.testing.assert_array_equal(rows.padded(np.array([3, 1])), expected[[3, 1], : rows.lengths[1]])


def test_long_texts_become_pieces_of_about_one_length_and_nothing_is_lost(tokens):
    text = " ".join(WORDS[1:24])
    rows = TokenRows.of(part([text, "bad"], [40, 2]), tokens, 12)
    assert rows.keys.tolist() == [[40, 0], [40, 1], [40, 2], [2, 0]]
    assert rows.lengths.tolist() == [9, 10, 10, 3]
    assert " ".join(spoken(tokens, ids) for ids in ids_of(rows)[:3]) == text


def test_packed_texts_and_what_is_left_over_of_long_ones_are_joined_while_there_is_room(tokens):
    long = " ".join(WORDS[1:16])
    rows = TokenRows.of(part([long, "bad film", "", "good plot", "love"], [40, 2, 3, 5, 6]), tokens, 12, packed=True)
    assert rows.keys.tolist() == [[40, 0], [40, 1], [5, 0]]
    assert rows.lengths.tolist() == [12, 2 + 5 + 1 + 2, 2 + 2 + 1 + 1]
    end = ids_of(rows)[0][-1]
    assert [ids.count(end) for ids in ids_of(rows)] == [1, 2, 2]
    together = " ".join(spoken(tokens, ids) for ids in ids_of(rows))
    assert together == f"{long} bad film good plot love"


def test_packing_fills_rows_and_loses_no_text(tokens):
    texts = many()
    alone, joined = (TokenRows.of(part(texts), tokens, 48, packed=packed_) for packed_ in (False, True))
    assert joined.lengths.max() <= 48
    assert len(joined) < len(alone) / 2
    ordinary = [number for number in range(tokens.vocabulary_size) if number not in tokens.special_ids]
    np.testing.assert_array_equal(
        joined.counts(tokens.vocabulary_size)[ordinary], alone.counts(tokens.vocabulary_size)[ordinary]
    )


def test_marks_that_stand_in_a_text_are_spelled_and_a_pair_is_one_text(tokens):
    rows = TokenRows.of(part(["a [MASK] or [PAD]", f"good{BETWEEN}bad"]), tokens, 60)
    first, second = ids_of(rows)
    assert not tokens.special_ids & set(first[1:-1])
    assert spoken(tokens, second) == "good bad"


def test_texts_without_anything_to_predict_are_left_out_and_counted(tokens):
    rows = TokenRows.of(part(["", "bad", "😀", "  "]), tokens, 20)
    assert len(rows) == 1
    assert rows.left_out == 3
    with pytest.raises(LimbeckError, match=r'part "text" \(2 texts\) has no token that could be predicted'):
        TokenRows.of(part(["", "😀"]), tokens, 20)


def test_an_epoch_shows_every_row_once_in_its_own_mask(source):
    seen = []
    for epoch in range(2):
        found = list(source.batches(7, epoch))
        assert len(found) == source.steps
        rows = torch.cat([batch.rows for batch in found])
        assert sorted(rows.tolist()) == list(range(source.rows))
        assert all((batch.view == FRESH_VIEWS + epoch).all() for batch in found)
        seen.append({row: batch.inputs[n] for batch in found for n, row in enumerate(batch.rows.tolist())})
    lengths = source.token_rows.lengths
    differ = [not torch.equal(seen[0][row][1, : lengths[row]], seen[1][row][1, : lengths[row]]) for row in seen[0]]
    assert np.mean(differ) > 0.5
    other = torch.cat([batch.rows for batch in source.batches(8, 0)])
    assert not torch.equal(other, torch.cat([batch.rows for batch in source.batches(7, 0)]))


def test_batches_are_of_about_one_length_and_filled_up_to_their_longest_only(source):
    pad = source.token_rows.tokens.pad_id
    lengths = source.token_rows.lengths
    order = []
    cells = 0
    for batch in source.batches(7, 0):
        inside = torch.from_numpy(lengths[batch.rows.numpy()])
        assert batch.inputs.shape == (len(batch.rows), 2, inside.max())
        assert torch.equal((batch.inputs[:, 0] != pad).sum(dim=1), inside)
        cells += batch.inputs[:, 0].numel()
        order.append(int(inside.max()))
    assert cells < 1.05 * lengths.sum()
    assert order != sorted(order)


def test_an_epoch_goes_on_from_any_step_with_the_same_bytes(source):
    whole = list(source.batches(7, 1))
    for start in (1, 13, source.steps - 1):
        for one, other in zip(whole[start:], source.batches(7, 1, start), strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.rows, other.rows)
            assert torch.equal(one.view, other.view)


def test_a_row_that_is_asked_for_again_has_the_mask_that_it_had(source):
    batch = next(iter(source.batches(7, 0)))
    assert source.inputs(batch.rows, batch.view) is batch.inputs
    last = source.inputs(batch.rows.flip(0), batch.view)
    assert torch.equal(last.flip(0), batch.inputs)
    assert not torch.equal(source.inputs(batch.rows, batch.view + 1), batch.inputs)


def test_a_text_has_its_mask_whatever_other_texts_there_are(tokens):
    texts = many(40)
    counts = np.ones(tokens.vocabulary_size, np.int64)
    some = [30, 4, 17]
    whole = masked_batches(part(texts), tokens, TextSettings(16), 4, seed=3)
    less = masked_batches(part([texts[n] for n in some], some), tokens, TextSettings(16), 4, seed=3)
    whole.masking.weights = less.masking.weights = np.where(whole.masking.weights > 0, counts, 0.0)
    keys = {tuple(key): row for row, key in enumerate(whole.token_rows.keys.tolist())}
    same = torch.tensor([keys[tuple(key)] for key in less.token_rows.keys.tolist()])
    view = torch.zeros_like(same)
    assert torch.equal(less.inputs(torch.arange(len(same)), view), whole.inputs(same, view))


def test_several_passes_and_numbered_views(tokens):
    texts = part(many(20))
    twice = masked_batches(texts, tokens, TextSettings(16), 4, seed=3, passes=2)
    found = list(twice.batches(0, 1))
    assert len(found) == twice.steps == 2 * len(twice.bounds)
    assert {int(batch.view[0]) for batch in found} == {FRESH_VIEWS + 2, FRESH_VIEWS + 3}
    assert torch.equal(
        next(iter(twice.batches(0, 1, len(twice.bounds) + 1))).inputs, found[len(twice.bounds) + 1].inputs
    )
    numbered = MaskedBatches(twice.token_rows, twice.masking, 4, views=3)
    assert [int(next(iter(numbered.batches(0, epoch))).view[0]) for epoch in range(5)] == [0, 1, 2, 0, 1]
    with pytest.raises(UsageError, match="views = 0"):
        MaskedBatches(twice.token_rows, twice.masking, 4, views=0)


def test_labels_are_the_tokens_that_were_there(source):
    batch = next(iter(source.batches(7, 0)))
    labels = MaskedLabels(source).batch(batch.rows, batch.view).labels
    assert torch.equal(labels, batch.inputs[:, 1][batch.inputs[:, 1] >= 0])
    everywhere = MaskedLabels(source, "all").batch(batch.rows, batch.view).labels
    assert torch.equal(everywhere[everywhere >= 0], labels)
    assert len(everywhere) == source.token_rows.lengths[batch.rows.numpy()].sum()


def test_rows_that_are_no_texts_are_refused(tokens):
    pixels = Part("pixels", np.ones((2, 9), np.uint8), np.full(2, -1), np.arange(2), ())
    with pytest.raises(UsageError, match='part "pixels" holds no texts'):
        TokenRows.of(pixels, tokens, 20)


def test_lengths_that_leave_no_room_are_refused(tokens):
    with pytest.raises(UsageError, match="max_length = 2"):
        TextSettings(2)
    with pytest.raises(UsageError, match="max_length = 2: two of these tokens are marks"):
        TokenRows.of(part(["bad"]), tokens, 2)
