import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.knowledge import sparse_coding
from limbeck.knowledge.sparse_coding import RowReader, coded


def read(rows, numbers=None):
    every = np.arange(len(rows.lengths)) if numbers is None else numbers
    return RowReader(rows.bits, rows.lengths, rows.prefixes).rows(every)


@st.composite
def matrices(draw):
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    highest = draw(st.sampled_from([0, 1, 5, 30521, 2**24 - 1]))
    values = draw(st.lists(st.integers(0, highest), min_size=rows * columns, max_size=rows * columns))
    return np.array(values, np.int64).reshape(rows, columns)


@settings(max_examples=100, deadline=None)
@given(matrices())
def test_what_is_read_is_what_was_written(values):
    np.testing.assert_array_equal(read(coded(values)), values)


def test_rows_are_read_in_any_order_and_more_than_once(monkeypatch):
    monkeypatch.setattr(sparse_coding, "_ROWS_AT_ONCE", 7)
    values = np.random.default_rng(0).integers(0, 500, (40, 6))
    numbers = np.array([39, 0, 3, 3, 17, *range(20)])
    np.testing.assert_array_equal(read(coded(values), numbers), values[numbers])


def test_rows_coded_in_pieces_are_those_coded_at_once(monkeypatch):
    values = np.random.default_rng(0).integers(0, 500, (40, 6))
    whole = coded(values)
    monkeypatch.setattr(sparse_coding, "_BITS_AT_ONCE", 32 * 6 * 3)
    pieces = coded(values)
    assert whole.bits.tobytes() == pieces.bits.tobytes()
    np.testing.assert_array_equal(whole.lengths, pieces.lengths)


def test_what_is_always_the_same_small_value_takes_no_bits():
    rows = coded(np.zeros((100, 5), np.int64))
    assert rows.bits.size == 0
    np.testing.assert_array_equal(read(rows), np.zeros((100, 5)))


def test_evenly_spread_values_take_what_a_fixed_width_takes_and_skewed_ones_less():
    generator = np.random.default_rng(0)
    even = coded(generator.integers(0, 30522, (2000, 16)))
    assert 8 * even.lengths.mean() / 16 == pytest.approx(15.0, abs=0.3)
    skewed = coded(np.minimum(generator.zipf(1.3, (2000, 16)), 30522) - 1)
    assert 8 * skewed.lengths.mean() / 16 < 8


def test_prefixes_are_never_longer_than_the_table_can_read():
    # Counts that double from bucket to bucket would give the rarest a prefix of twenty bits.
    values = np.concatenate([np.full(2**bucket, 2 ** (20 - bucket) - 1) for bucket in range(16)])[:, np.newaxis]
    rows = coded(values)
    assert rows.prefixes.max() - 1 <= sparse_coding.LONGEST
    np.testing.assert_array_equal(read(rows), values)
