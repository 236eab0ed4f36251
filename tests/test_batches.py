import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.batches import FRESH_VIEWS, FreshBatches, StoredBatches, batch_bounds, epoch_order
from limbeck.data import ViewSettings, view_pixels

VIEWS = ViewSettings(rotate=10, scale=0.1, shift=1)


@pytest.fixture(scope="module")
def part(digits):
    return digits.take(np.arange(40, 141))  # ids are not row numbers


@pytest.fixture(scope="module")
def views(part):
    return np.stack([view_pixels(part.inputs, part.ids, view=v, seed=1, settings=VIEWS) for v in range(3)])


@pytest.fixture(params=["stored", "fresh"])
def source(request, part, views):
    """Either source of batches, over some of the rows."""
    chosen = np.flatnonzero(part.labels != 3)
    return StoredBatches(views, 8, chosen) if request.param == "stored" else FreshBatches(part, VIEWS, 8, 1, chosen)


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("inputs", "rows", "view"))


@given(st.integers(1, 3000), st.integers(1, 300))
def test_batches_hold_every_row_once_and_none_is_a_single_row_left_over(rows, size):
    bounds = batch_bounds(rows, size)
    assert [row for start, stop in bounds for row in range(start, stop)] == list(range(rows))
    sizes = [stop - start for start, stop in bounds]
    assert all(number == size for number in sizes[:-1])
    assert sizes[-1] <= size + 1
    if size > 1 and rows > 1:
        assert sizes[-1] > 1


def test_a_single_row_left_over_joins_the_batch_before():
    assert batch_bounds(9, 4) == [(0, 4), (4, 9)]
    assert batch_bounds(10, 4) == [(0, 4), (4, 8), (8, 10)]


def test_batches_of_one_row_stay_so():
    assert batch_bounds(3, 1) == [(0, 1), (1, 2), (2, 3)]


def test_the_order_is_a_permutation_that_seed_and_epoch_decide():
    assert sorted(epoch_order(3, 7, 100)) == list(range(100))
    assert (epoch_order(3, 7, 100) == epoch_order(3, 7, 100)).all()
    for other in (epoch_order(3, 8, 100), epoch_order(4, 7, 100)):
        assert (other != epoch_order(3, 7, 100)).any()


def test_the_order_keeps_its_values():
    assert epoch_order(0, 0, 8).tolist() == [4, 1, 6, 2, 3, 5, 7, 0]


def test_an_epoch_depends_on_seed_and_epoch_alone(source):
    first = list(source.batches(5, 2))
    list(source.batches(5, 0))
    torch.manual_seed(99)
    np.random.seed(99)
    assert all(map(same, first, source.batches(5, 2)))
    assert not all(map(same, first, source.batches(5, 3)))
    assert not all(map(same, first, source.batches(6, 2)))


def test_an_epoch_entered_at_any_step_goes_on_exactly(source):
    whole = list(source.batches(5, 2))
    assert len(whole) == source.steps
    for step in range(source.steps + 1):
        rest = list(source.batches(5, 2, step))
        assert len(rest) == len(whole) - step
        assert all(map(same, rest, whole[step:]))


def test_an_epoch_shows_every_selected_row_once(source, part):
    shown = torch.cat([batch.rows for batch in source.batches(0, 0)])
    assert len(shown) == source.rows
    assert sorted(shown.tolist()) == np.flatnonzero(part.labels != 3).tolist()


def test_inputs_are_those_of_their_rows_in_their_views(views):
    source = StoredBatches(views, 16)
    for epoch in range(3):
        for batch in source.batches(4, epoch):
            np.testing.assert_array_equal(batch.inputs.numpy(), views[batch.view, batch.rows])


def test_after_as_many_epochs_as_views_every_row_was_seen_in_each(views):
    source = StoredBatches(views, 16)
    seen = {(r, v) for epoch in range(3) for b in source.batches(4, epoch) for r, v in zip(b.rows, b.view, strict=True)}
    assert {(int(row), int(view)) for row, view in seen} == {(row, view) for row in range(101) for view in range(3)}


def test_every_epoch_mixes_all_views(views):
    for epoch in range(3):
        shown = torch.cat([batch.view for batch in StoredBatches(views, 16).batches(4, epoch)])
        assert (torch.bincount(shown, minlength=3) > 20).all()


def test_stored_inputs_are_not_copied(views):
    source = StoredBatches(views, 16)
    assert source.inputs.data_ptr() == views.ctypes.data


def test_fresh_inputs_are_the_view_of_their_rows_that_the_epoch_has(part):
    source = FreshBatches(part, VIEWS, 16, view_seed=9)
    for epoch in (0, 4):
        for batch in source.batches(4, epoch):
            rows = batch.rows.numpy()
            expected = view_pixels(part.inputs[rows], part.ids[rows], view=FRESH_VIEWS + epoch, seed=9, settings=VIEWS)
            np.testing.assert_array_equal(batch.inputs.numpy(), expected)
            assert (batch.view == FRESH_VIEWS + epoch).all()


def test_fresh_inputs_are_never_a_view_that_a_teacher_is_asked_about(part):
    # A teacher has memorised what it was trained on; with one seed, epoch 0 used to show view 1.
    numbered = {view_pixels(part.inputs, part.ids, view=v, seed=9, settings=VIEWS).tobytes() for v in range(1, 20)}
    batches = FreshBatches(part, VIEWS, len(part), 9)
    for epoch in range(6):
        (batch,) = batches.batches(9, epoch)
        shown = batch.inputs.numpy()[np.argsort(batch.rows.numpy())]
        assert shown.tobytes() not in numbered


def test_fresh_inputs_are_others_in_every_epoch(part):
    source = FreshBatches(part, VIEWS, 200, view_seed=9)
    (first,), (second,) = source.batches(4, 0), source.batches(4, 1)
    back = [inputs.inputs[torch.argsort(inputs.rows)] for inputs in (first, second)]
    assert (back[0] != back[1]).flatten(1).any(dim=1).float().mean() > 0.9


def test_a_single_row_can_be_trained_on(views):
    (batch,) = StoredBatches(views, 16, np.array([7])).batches(0, 0)
    assert batch.rows.tolist() == [7]


# ---------------------------------------------------------------- several passes in an epoch


@pytest.fixture(params=["stored", "fresh"])
def making(request, part, views):
    """A function: either source of batches, over some of the rows, with so many passes in an epoch."""
    chosen = np.flatnonzero(part.labels != 3)

    def make(**passes):
        if request.param == "stored":
            return StoredBatches(views, 8, chosen, **passes)
        return FreshBatches(part, VIEWS, 8, 1, chosen, **passes)

    return make


def test_an_epoch_of_one_pass_is_what_an_epoch_was(making):
    for epoch in (0, 3):
        plain, one = making(), making(passes=1)
        assert plain.steps == one.steps
        assert all(map(same, plain.batches(5, epoch), one.batches(5, epoch)))


def test_passes_of_an_epoch_are_the_epochs_of_one_pass(making):
    one, several = making(), making(passes=3)
    assert several.steps == 3 * one.steps
    assert several.rows == one.rows
    for epoch in (0, 2):
        expected = [batch for turn in range(3 * epoch, 3 * epoch + 3) for batch in one.batches(5, turn)]
        found = list(several.batches(5, epoch))
        assert len(found) == len(expected) == several.steps
        assert all(map(same, found, expected))


def test_every_pass_shows_every_row_once_in_an_order_of_its_own(making, part):
    source, chosen = making(passes=3), np.flatnonzero(part.labels != 3).tolist()
    batches = list(source.batches(5, 1))
    steps = source.steps // 3
    orders = [torch.cat([batch.rows for batch in batches[n * steps : (n + 1) * steps]]).tolist() for n in range(3)]
    assert [sorted(order) for order in orders] == [chosen] * 3
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_every_pass_shows_fresh_views_of_its_own(part):
    source = FreshBatches(part, VIEWS, len(part), 9, passes=2)
    views = [int(batch.view[0]) for epoch in range(2) for batch in source.batches(5, epoch)]
    assert views == [FRESH_VIEWS + turn for turn in range(4)]


def test_after_as_many_passes_as_views_every_row_was_seen_in_each(views):
    source = StoredBatches(views, 16, passes=3)
    seen = {(int(r), int(v)) for b in source.batches(4, 0) for r, v in zip(b.rows, b.view, strict=True)}
    assert seen == {(row, view) for row in range(101) for view in range(3)}


def test_an_epoch_of_several_passes_entered_at_any_step_goes_on_exactly(making):
    source = making(passes=3)
    whole = list(source.batches(5, 2))
    for step in range(source.steps + 1):
        rest = list(source.batches(5, 2, step))
        assert len(rest) == len(whole) - step
        assert all(map(same, rest, whole[step:]))
