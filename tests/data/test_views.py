import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from limbeck.data import ViewSettings, load_dataset, view_pixels
from limbeck.data.views import _inverse_maps, _jitters, uniform_draws
from limbeck.errors import UsageError

ALL = ViewSettings(rotate=15, scale=0.15, shear=0.1, shift=2)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").train


@pytest.fixture(scope="module")
def whole(digits):
    """Views of all rows under three ids each, some of them huge, as kinds of inputs that differ in shape."""
    ids = digits.ids * 1000 + 2**40
    coloured = np.stack([digits.inputs, digits.inputs[::-1], digits.inputs // 2], axis=-1).astype(np.float32)
    return [
        (digits.inputs, digits.ids, view_pixels(digits.inputs, digits.ids, view=3, seed=7, settings=ALL)),
        (digits.inputs, ids, view_pixels(digits.inputs, ids, view=3, seed=7, settings=ALL)),
        (coloured, digits.ids, view_pixels(coloured, digits.ids, view=3, seed=7, settings=ALL)),
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_rows_in_any_order_get_the_bytes_that_they_get_in_the_whole(whole, data):
    inputs, ids, expected = data.draw(st.sampled_from(whole), label="inputs")
    rows = np.array(data.draw(st.lists(st.integers(0, len(inputs) - 1), min_size=1, max_size=70), label="rows"))
    threads = torch.get_num_threads()
    torch.set_num_threads(data.draw(st.integers(1, 2), label="threads"))
    try:
        views = view_pixels(inputs[rows], ids[rows], view=3, seed=7, settings=ALL)
    finally:
        torch.set_num_threads(threads)
    assert views.tobytes() == expected[rows].tobytes()


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=40), seed=st.integers(0, 2**64 - 1))
def test_draws_belong_to_the_id_however_sparse(ids, seed):
    together = uniform_draws(np.array(ids), 1, seed)
    alone = np.concatenate([uniform_draws(np.array([i]), 1, seed) for i in ids])
    assert (together == alone).all()


def test_draws_are_uniform_and_differ_between_seeds_views_and_ids():
    ids = np.arange(20000)
    draws = uniform_draws(ids, 1, 0)
    assert np.abs(draws.mean(axis=0)).max() < 0.02
    assert np.abs(draws.var(axis=0) - 1 / 3).max() < 0.01
    assert np.abs(draws).max() <= 1
    assert len(np.unique(draws)) == draws.size
    for other in (uniform_draws(ids, 2, 0), uniform_draws(ids, 1, 1), uniform_draws(ids + 20000, 1, 0)):
        correlation = np.corrcoef(draws[:, 0], other[:, 0])[0, 1]
        assert abs(correlation) < 0.03


def test_views_keep_their_values(digits):
    # Stored knowledge speaks of these very pixels: a change here needs a new VIEWS_VERSION.
    numbers = uniform_draws(np.array([0, 1]), 1, 0)
    assert numbers[:, :2].tolist() == [
        [0.6267081219587127, 0.502662850216673],
        [0.13119147796314512, 0.8760474029289966],
    ]
    view = view_pixels(digits.inputs[:1], digits.ids[:1], view=1, seed=0, settings=ALL)
    # Within one level, for the last bit of a sum may differ on another processor.
    np.testing.assert_allclose(view[0, 3], [1, 5, 13, 2, 0, 9, 9, 3], atol=1)


def test_view_zero_and_settings_of_zero_give_the_row_itself(digits):
    assert view_pixels(digits.inputs, digits.ids, view=0, seed=1, settings=ALL) is digits.inputs
    assert view_pixels(digits.inputs, digits.ids, view=4, seed=1, settings=ViewSettings()) is digits.inputs


def test_a_view_matches_an_independent_affine_transform(digits):
    inputs, ids = digits.inputs[:40].astype(np.float32), digits.ids[:40]
    strong = ViewSettings(rotate=70, scale=0.5, shear=0.4, shift=3)
    views = view_pixels(inputs, ids, view=1, seed=2, settings=strong)
    for row, draw in enumerate(uniform_draws(ids, 1, 2)):
        turn, size, slant = math.radians(70) * draw[0], 1 + 0.5 * draw[1], 0.4 * draw[2]
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        forward = rotation @ np.array([[1, slant], [0, 1]]) @ (size * np.eye(2))
        matrix = np.linalg.inv(forward)[::-1, ::-1]  # scipy has y first
        centre = np.full(2, 3.5)
        offset = centre - matrix @ (centre + 3 * draw[[4, 3]])
        expected = ndimage.affine_transform(inputs[row], matrix, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(views[row], expected, atol=1e-4)


def test_a_rectangular_image_turns_without_distortion():
    image = np.zeros((1, 21, 41), np.float32)
    image[0, 10, 5:36] = 1  # a horizontal bar through the centre
    for row_id in range(20):
        ids = np.array([row_id])
        angle = math.radians(90) * uniform_draws(ids, 1, 0)[0, 0]
        reach = int(min(9 / max(abs(math.sin(angle)), 1e-9), 14))
        view = view_pixels(image, ids, view=1, seed=0, settings=ViewSettings(rotate=90))
        y, x = 10 + reach * math.sin(angle), 20 + reach * math.cos(angle)
        assert ndimage.map_coordinates(view[0], [[y], [x]], order=1)[0] > 0.5


def test_each_setting_stays_in_its_range():
    maps = _inverse_maps(uniform_draws(np.arange(5000), 1, 0), ViewSettings(shift=2))
    assert np.abs(maps[:, :, 2]).max() <= 2
    assert np.abs(maps[:, :, 2]).max() > 1.9
    maps = _inverse_maps(uniform_draws(np.arange(5000), 1, 0), ViewSettings(scale=0.2))
    assert 1 / 1.2 <= maps[:, 0, 0].min() < 0.84
    assert 1.24 < maps[:, 0, 0].max() <= 1 / 0.8
    maps = _inverse_maps(uniform_draws(np.arange(5000), 1, 0), ViewSettings(rotate=30))
    assert 29.9 < np.degrees(np.arctan2(maps[:, 0, 1], maps[:, 0, 0])).max() <= 30
    np.testing.assert_allclose(np.linalg.det(maps[:, :, :2]), 1)


def test_channels_are_moved_together(digits):
    images, ids = digits.inputs[:20], digits.ids[:20]
    one = view_pixels(images, ids, view=1, seed=0, settings=ALL)
    coloured = view_pixels(np.stack([images, images * 2], axis=-1), ids, view=1, seed=0, settings=ALL)
    assert coloured.shape == (20, 8, 8, 2)
    assert (coloured[..., 0] == one).all()
    assert coloured.flags.c_contiguous


def test_uint8_is_the_rounded_view_of_float32(digits):
    floats = view_pixels(digits.inputs.astype(np.float32), digits.ids, view=1, seed=0, settings=ALL)
    pixels = view_pixels(digits.inputs, digits.ids, view=1, seed=0, settings=ALL)
    assert pixels.dtype == np.uint8
    assert floats.dtype == np.float32
    assert (pixels == np.rint(floats)).all()


def test_a_view_leaves_its_inputs_alone(digits):
    inputs = digits.inputs.copy()
    inputs.flags.writeable = False
    view_pixels(inputs, digits.ids, view=1, seed=0, settings=ALL)


def test_no_rows_have_no_views(digits):
    none = view_pixels(digits.inputs[:0], digits.ids[:0], view=1, seed=0, settings=ALL)
    assert none.shape == (0, 8, 8)


@pytest.mark.parametrize("name", ["rotate", "scale", "shear", "shift"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1", True, None])
def test_settings_that_are_no_range_are_refused(name, value):
    with pytest.raises(UsageError, match=rf"views\.{name} = .* is not a number of 0 or more"):
        ViewSettings(**{name: value})


@pytest.mark.parametrize("scale", [1, 1.5])
def test_a_scale_of_one_or_more_is_refused(scale):
    with pytest.raises(UsageError, match=r"views\.scale = .* expected a fraction below 1"):
        ViewSettings(scale=scale)


def test_whole_numbers_are_the_same_settings():
    assert repr(ViewSettings(rotate=15)) == repr(ViewSettings(rotate=15.0))


@pytest.mark.parametrize(
    "inputs", [np.zeros((5, 64), np.uint8), np.zeros((5, 8, 8)), np.zeros((5, 1, 8, 8, 3), np.uint8)]
)
def test_inputs_that_are_no_images_are_refused(inputs):
    with pytest.raises(UsageError, match=r"views were asked of inputs of .*, expected images"):
        view_pixels(inputs, np.arange(5), view=1, seed=0, settings=ALL)


@pytest.mark.parametrize("ids", [np.arange(4), np.arange(5.0), np.arange(-1, 4)])
def test_ids_that_do_not_fit_are_refused(ids):
    with pytest.raises(UsageError, match="expected 5 integers of 0 or more"):
        view_pixels(np.zeros((5, 8, 8), np.uint8), ids, view=1, seed=0, settings=ALL)


@pytest.mark.parametrize("wrong", [-1, 2**64, 1.0, True])
@pytest.mark.parametrize("name", ["view", "seed"])
def test_views_and_seeds_out_of_range_are_refused(digits, name, wrong):
    numbers = {"view": 1, "seed": 0} | {name: wrong}
    with pytest.raises(UsageError, match=rf"{name} = .* is not a whole number from 0"):
        view_pixels(digits.inputs, digits.ids, **numbers, settings=ALL)


# ---------------------------------------------------------------- jitter


def test_a_jitter_moves_images_by_whole_pixels_and_mixes_none(digits):
    found = view_pixels(digits.inputs, digits.ids, view=1, seed=0, settings=ViewSettings(jitter=2))
    moves = set()
    for before, after in zip(digits.inputs[:400], found[:400], strict=True):
        padded = np.pad(before, 2)
        there = [(dy, dx) for dy in range(5) for dx in range(5) if (padded[dy : dy + 8, dx : dx + 8] == after).all()]
        assert there
        moves |= set(there) if len(there) == 1 else set()
    assert len(moves) == 25


def test_a_jitter_beyond_the_image_needs_no_more_memory_than_the_image(digits):
    found = view_pixels(digits.inputs, digits.ids, view=1, seed=0, settings=ViewSettings(jitter=2_000_000_000))
    assert not found.any()


def test_each_jitter_is_as_likely_as_the_others():
    ids = np.arange(25_000)
    found = _jitters(uniform_draws(ids, 3, 0), ViewSettings(jitter=2))
    for axis in (0, 1):
        values, counts = np.unique(found[:, axis], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        np.testing.assert_allclose(counts, 5000, rtol=0.05)


def test_a_jitter_of_colour_images_moves_all_channels_alike(digits):
    coloured = np.stack([digits.inputs, digits.inputs // 2], axis=-1)
    grey = view_pixels(digits.inputs, digits.ids, view=1, seed=0, settings=ViewSettings(jitter=1))
    found = view_pixels(coloured, digits.ids, view=1, seed=0, settings=ViewSettings(jitter=1))
    np.testing.assert_array_equal(found[..., 0], grey)
    np.testing.assert_array_equal(found[..., 1], grey // 2)


def test_a_jitter_comes_on_top_of_what_resamples(digits):
    both = view_pixels(digits.inputs, digits.ids, view=1, seed=0, settings=ViewSettings(rotate=10, jitter=1))
    turned = view_pixels(digits.inputs, digits.ids, view=1, seed=0, settings=ViewSettings(rotate=10))
    moves = _jitters(uniform_draws(digits.ids, 1, 0), ViewSettings(jitter=1))
    for row in range(50):
        dx, dy = moves[row]
        inner = turned[row][1:-1, 1:-1]
        np.testing.assert_array_equal(both[row][1 + dy : 7 + dy, 1 + dx : 7 + dx], inner)


def test_a_jitter_is_in_whole_pixels():
    with pytest.raises(UsageError, match=r"views.jitter = 0.5 is in whole pixels: round it, or set views.shift"):
        ViewSettings(jitter=0.5)
