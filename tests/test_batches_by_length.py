"""Batches of texts of about one length: every row once, in an order that seed and epoch decide, with less padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.batches import StoredBatches, batch_bounds, bucketed, epoch_order

LENGTHS = np.random.default_rng(0).geometric(1 / 40, size=2003).astype(np.int64)


def source(count=2003, size=16, **options):
    inputs = np.arange(count, dtype=np.int64)[np.newaxis, :, np.newaxis]
    return StoredBatches(inputs, size, lengths=LENGTHS[np.newaxis, :count], **options)


def rows(batches):
    return [batch.rows.tolist() for batch in batches]


def padding(batches):
    """The share of cells of the batches that fill up texts shorter than their batch's longest."""
    found = rows(batches)
    return 1 - sum(LENGTHS[one].sum() for one in found) / sum(len(one) * LENGTHS[one].max() for one in found)


@given(st.integers(1, 700), st.integers(1, 40), st.integers(1, 9), st.integers(0, 3))
@settings(deadline=None)
def test_an_order_by_length_holds_every_row_once(count, size, window, epoch):
    order, bounds = epoch_order(1, epoch, count), batch_bounds(count, size)
    found, shuffled = bucketed(order, LENGTHS[:count], bounds, 1, epoch, window)
    assert sorted(found) == list(range(count))
    assert sorted(shuffled) == bounds


@given(st.integers(2, 700), st.integers(2, 40))
@settings(deadline=None)
def test_batches_come_as_they_were_put_together(count, size):
    """Shuffling batches moves whole ones: each is a run of its window's rows by length."""
    order, bounds = epoch_order(1, 0, count), batch_bounds(count, size)
    found, _ = bucketed(order, LENGTHS[:count], bounds, 1, 0, 4)
    for start, stop in bounds:
        lengths = LENGTHS[found[start:stop]]
        assert (np.diff(lengths) >= 0).all() or stop == count  # the last may reach over two windows


def test_little_of_a_batch_is_padding():
    plain = StoredBatches(np.zeros((1, 2003, 1), np.uint8), 16)
    assert padding(plain.batches(0, 0)) > 0.6
    assert padding(source().batches(0, 0)) < 0.1


def test_every_row_is_seen_once_in_an_epoch_whatever_is_left_over():
    for count in (1, 15, 16, 17, 33, 2003):
        for size in (1, 16):
            seen = rows(source(count, size).batches(0, 2))
            assert sorted(row for one in seen for row in one) == list(range(count))
            sizes = sorted(stop - start for start, stop in batch_bounds(count, size))
            assert sorted(len(one) for one in seen) == sizes


def test_inputs_are_those_of_the_rows():
    for batch in source(100).batches(0, 0):
        assert torch.equal(batch.inputs[:, 0], batch.rows)


def test_the_order_hangs_on_seed_and_epoch_alone():
    assert rows(source().batches(3, 1)) == rows(source().batches(3, 1))
    assert rows(source().batches(3, 1)) != rows(source().batches(3, 2))
    assert rows(source().batches(3, 1)) != rows(source().batches(4, 1))


def test_rows_meet_others_in_every_epoch_and_long_texts_come_at_any_time():
    first, second = (list(source().batches(0, epoch)) for epoch in (0, 1))
    sets = [{frozenset(one) for one in rows(epoch)} for epoch in (first, second)]
    assert len(sets[0] & sets[1]) < 5
    means = np.array([LENGTHS[one].mean() for one in rows(first)][:-2])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3


@pytest.mark.parametrize("step", [0, 1, 60, 125, 126, 200, 251])
def test_an_epoch_goes_on_from_any_step(step):
    batches = source(passes=2)
    assert batches.steps == 2 * len(batch_bounds(2003, 16)) == 252
    assert rows(batches.batches(5, 3, step)) == rows(batches.batches(5, 3))[step:]


def test_each_pass_has_an_order_of_its_own():
    once = len(batch_bounds(2003, 16))
    both = rows(source(passes=2).batches(5, 3))
    assert both[:once] != both[once:]
    for one in (both[:once], both[once:]):
        assert sorted(row for batch in one for row in batch) == list(range(2003))


def test_rows_that_are_left_out_stay_out():
    chosen = np.flatnonzero(LENGTHS % 3 == 0)
    batches = source(selected=chosen)
    assert sorted(row for one in rows(batches.batches(0, 0)) for row in one) == chosen.tolist()
    assert padding(batches.batches(0, 0)) < 0.2
