import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data import Part, ViewCache, ViewSettings
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError
from limbeck.knowledge import Knowledge, Recording, extract
from limbeck.knowledge.store import SHARD_BYTES, read_shard, rows_in_shard, shard_ranges

VIEWS = ViewSettings(rotate=10)


@given(st.integers(1, 10**6), st.integers(1, 50_000), st.sampled_from(["float16", "float32"]), st.integers(1, 5000))
def test_shards_hold_every_row_once_in_whole_batches(rows, classes, dtype, batch_size):
    ranges = shard_ranges(rows, rows_in_shard(classes, dtype, batch_size))
    assert ranges[0][0] == 0
    assert ranges[-1][1] == rows
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(ranges))
    assert all(start % batch_size == 0 and start < stop for start, stop in ranges)
    size = np.dtype(dtype).itemsize * classes
    assert all((stop - start) * size <= max(SHARD_BYTES, batch_size * size) for start, stop in ranges)


def test_shards_are_of_about_64_megabytes():
    assert 63 * 2**20 < rows_in_shard(10, "float16", 125) * 20 <= 64 * 2**20


# ---------------------------------------------------------------- keys


def test_names_and_labels_of_a_part_enter_no_key(part):
    renamed = Part("other", part.inputs, np.full(len(part), -1), part.ids, part.classes)
    assert Recording("t", renamed).identity.key == Recording("t", part).identity.key


@pytest.mark.parametrize(
    "other",
    [
        lambda part: Recording("u", part),
        lambda part: Recording("t", part.take(np.arange(569))),
        lambda part: Recording("t", part.take(np.arange(570)[::-1])),
        lambda part: Recording("t", Part("train", part.inputs, part.labels, part.ids, part.classes[::-1])),
        lambda part: Recording("t", part, dtype="float32"),
        lambda part: Recording("t", part, 1, VIEWS),
    ],
)
def test_teacher_rows_classes_dtype_and_view_enter_the_key(part, other):
    assert other(part).identity.key != Recording("t", part).identity.key


def test_settings_and_seed_of_views_enter_a_view_s_key_and_not_that_of_the_inputs(part):
    view = Recording("t", part, 1, VIEWS, 0).identity.key
    others = [
        Recording("t", part, 2, VIEWS, 0),
        Recording("t", part, 1, VIEWS, 1),
        Recording("t", part, 1, ViewSettings(rotate=11), 0),
    ]
    assert len({view, *(other.identity.key for other in others)}) == 4
    assert Recording("t", part, 0, VIEWS, 1).identity.key == Recording("t", part).identity.key


def test_pixels_are_the_same_with_and_without_a_cache(view, tmp_path):
    np.testing.assert_array_equal(view.pixels(ViewCache(tmp_path)), view.pixels(None))


# ---------------------------------------------------------------- opening


def test_knowledge_opened_is_that_which_was_recorded(teacher, recording, store):
    made = extract(teacher, recording, store)
    opened = Knowledge.open(made.folder)
    assert opened.classes == recording.part.classes
    assert opened.rows == 570
    assert opened.identity.key == recording.identity.key
    np.testing.assert_array_equal(opened.log_probs(), made.log_probs())


def test_opening_reads_no_shard(teacher, recording, store):
    folder = extract(teacher, recording, store).folder
    (folder / "00003.safetensors").unlink()
    opened = Knowledge.open(folder)
    with pytest.raises(DamagedFileError, match=r"00003\.safetensors is damaged: it is missing"):
        opened.log_probs()
    assert [number for number, _ in opened.damaged_shards()] == [3]


def test_what_is_no_knowledge_or_unfinished_is_refused(tmp_path):
    with pytest.raises(LimbeckError, match=f"{tmp_path} holds no knowledge"):
        Knowledge.open(tmp_path)
    with pytest.raises(LimbeckError, match=r"x\.part is unfinished: run the same `limbeck extract` again"):
        Knowledge.open(tmp_path / "x.part")


def test_a_description_is_checked_when_it_is_opened(teacher, recording, store):
    folder = extract(teacher, recording, store).folder
    path = folder / "knowledge.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": list("9876543210")}))
    with pytest.raises(DamagedFileError, match=r"knowledge\.json is damaged"):
        Knowledge.open(folder)


@pytest.mark.parametrize("place", [(1, 100, 200), (0, 0, 99), (0, 1, 101)])
def test_a_shard_is_read_only_in_its_place(teacher, recording, store, place):
    folder = extract(teacher, recording, store).folder
    path = folder / "00000.safetensors"
    (folder / "00001.safetensors").write_bytes(path.read_bytes())
    with pytest.raises(DamagedFileError, match=f"it is not shard {place[0]}"):
        read_shard(folder, place[0], recording.identity.key, *place[1:])


def test_knowledge_in_memory_needs_no_folder():
    values = np.log(np.full((3, 2), 0.5))
    knowledge = Knowledge.in_memory(values, ["a", "b"])
    assert (knowledge.rows, knowledge.classes, knowledge.description) == (3, ("a", "b"), {})
    assert knowledge.log_probs() is values
