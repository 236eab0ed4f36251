"""The knowledge of a run with several teachers and several parts: made once, read in order, mended where damaged."""

import json
import shutil

import numpy as np
import pytest
from scipy.special import softmax

import limbeck
from limbeck.files import read_tensors, write_tensors
from limbeck.knowledge import Knowledge
from limbeck.progress import Silent
from limbeck.recipe import parse_recipe
from limbeck.road import Road
from limbeck.stages.recordings import by_view

NET = {"kind": "mlp", "widths": [16]}
TRAIN = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-2}


class Listening(Silent):
    """A progress that remembers its stages and lines."""

    def __init__(self):
        self.stages, self.lines = [], []

    def start(self, title, total):
        self.stages.append((title, total))

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, digits):
    """Two teachers, and a transfer set of labelled rows, unlabelled ones and a file, with a view."""
    more = tmp_path_factory.mktemp("recordings") / "more.npy"
    rows = np.random.default_rng(0).integers(0, 17, (40, 8, 8)).astype(np.uint8)
    np.save(more, rows)
    return parse_recipe(
        {
            "title": "Recordings",
            "data": {"source": "digits", "validation": 200, "test": 0.3, "labels": 100},
            "teacher": [{"name": "e", "members": 2, "weights": [3.0, 1.0], "model": NET, "train": TRAIN}],
            "transfer": [
                {
                    "name": "all",
                    "parts": ["labelled", f"file:{more}", "unlabelled"],
                    "views": {"count": 1, "rotate": 10.0},
                }
            ],
            "student": [{"name": "s", "model": NET, "train": TRAIN}],
        },
        "recordings",
    )


@pytest.fixture(scope="module")
def extracted(recipe, tmp_path_factory):
    """A run as far as its knowledge. Not to be changed: `opened` opens a copy."""
    out = tmp_path_factory.mktemp("extracted") / "run"
    limbeck.run(recipe, out, until="extract")
    return out


@pytest.fixture
def opened(recipe, extracted, tmp_path):
    """The run, opened, its progress, and the student's stage."""
    shutil.copytree(extracted.parent, tmp_path / "runs", symlinks=True)
    told = Listening()
    road = Road.open(recipe, tmp_path / "runs" / "run", progress=told)
    return road, told, road.planner.students()[0].trials[0]


def stored(road, recording):
    return Knowledge.open(road.store.folder(recording.identity)).log_probs()


def spoil(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_each_teacher_has_a_recording_of_every_part_in_every_view(opened):
    _, _, stage = opened
    recorded = stage.recorded()
    assert [teacher.variant for teacher, _ in recorded] == [{"member": 1}, {"member": 2}]
    for _, recordings in recorded:
        views = by_view(recordings)
        assert [[len(one.part) for one in view] for view in views] == [[100, 40, 957]] * 2
        assert [{one.view for one in view} for view in views] == [{0}, {1}]
    assert len({one.identity.key for one in stage.recordings}) == 12


def test_inputs_and_answers_are_read_part_after_part_and_view_after_view(opened):
    road, _, stage = opened
    inputs, log_probs = road.workshop.recordings.read(stage)
    assert (inputs.shape, inputs.dtype) == ((2, 1097, 8, 8), np.uint8)
    assert (log_probs.shape, log_probs.dtype) == ((2, 1097, 10), np.float32)
    np.testing.assert_array_equal(inputs[0], stage.rows.train.inputs)
    assert (inputs[1] != inputs[0]).any(axis=(1, 2)).mean() > 0.9
    for number in (0, 1):
        first, second = (
            np.concatenate([stored(road, one) for one in by_view(recordings)[number]]).astype(np.float64)
            for _, recordings in stage.recorded()
        )
        expected = 0.75 * softmax(first / 4, axis=1) + 0.25 * softmax(second / 4, axis=1)
        np.testing.assert_allclose(softmax(log_probs[number] / 4.0, axis=1), expected, atol=2e-6)


def test_what_was_read_last_is_not_read_again(opened):
    road, _, stage = opened
    first = road.workshop.recordings.read(stage)
    assert all(one is other for one, other in zip(first, road.workshop.recordings.read(stage), strict=True))


def test_what_is_there_is_not_made_again(opened):
    road, told, stage = opened
    road.workshop.recordings.make_all(stage)
    assert told.stages == []


def test_what_each_teacher_says_of_the_rows_themselves_is_without_views(opened):
    road, _, stage = opened
    said = road.workshop.recordings.on_rows(stage)
    assert [one.shape for one in said] == [(1097, 10)] * 2
    for one, (_, recordings) in zip(said, stage.recorded(), strict=True):
        np.testing.assert_array_equal(one, np.concatenate([stored(road, part) for part in by_view(recordings)[0]]))


def test_confidence_is_that_of_the_weighted_mean_at_temperature_1(opened):
    road, _, stage = opened
    first, second = (softmax(one.astype(np.float64), axis=1) for one in road.workshop.recordings.on_rows(stage))
    sure = road.workshop.recordings.confidence(stage)
    np.testing.assert_allclose(sure, (0.75 * first + 0.25 * second).max(axis=1), atol=1e-6)


def test_a_part_that_is_gone_is_recorded_alone_to_the_same_bytes(opened, contents):
    road, told, stage = opened
    before = contents(road.store.root)
    gone = stage.recorded()[1][1][2]
    shutil.rmtree(road.store.folder(gone.identity))
    road.workshop.recordings.make_all(stage)
    ((title, total),) = told.stages
    assert title.startswith("knowledge of e-single")
    assert total == len(gone.part)
    after = contents(road.store.root)
    here = f"knowledge/{gone.identity.key}/"
    others = {name: data for name, data in before.items() if not name.startswith(here)}
    assert {name: after[name] for name in others} == others
    same = [name for name in before if name.startswith(here) and not name.endswith("times.json")]
    assert len(same) == 4
    assert all(after[name][0] == before[name][0] for name in same)


def test_a_damaged_shard_of_one_part_is_made_again_when_it_is_read(opened):
    road, told, stage = opened
    whole = road.workshop.recordings.read(stage)[1].copy()
    again = Road.open(road.recipe, road.folder.path, progress=told)
    shard = road.store.folder(stage.recorded()[0][1][3].identity) / "00000.safetensors"
    before = shard.read_bytes()
    spoil(shard)
    np.testing.assert_array_equal(again.workshop.recordings.read(stage)[1], whole)
    assert shard.read_bytes() == before
    assert told.lines == [f"{shard} is damaged: made again"]


def test_mending_says_what_was_damaged(opened):
    road, _, stage = opened
    teacher, (first, second, *_) = stage.recorded()[0]
    spoil(road.store.folder(first.identity) / "00000.safetensors")
    assert road.workshop.recordings.mend(first, teacher) is True
    assert road.workshop.recordings.mend(first, teacher) is False
    assert road.workshop.recordings.mend(second, teacher) is False


def test_answers_that_are_not_the_teachers_are_refused(opened):
    from limbeck.artifacts import SUMS
    from limbeck.errors import LimbeckError

    road, _, stage = opened
    ours, theirs = stage.recorded()[0][1][0], stage.recorded()[1][1][0]
    place, other = (road.store.folder(one.identity) for one in (ours, theirs))
    tensors, header = read_tensors(place / "00000.safetensors")
    swapped, _ = read_tensors(other / "00000.safetensors")
    assert not np.array_equal(tensors["log_probs"], swapped["log_probs"])
    write_tensors(place / "00000.safetensors", swapped, header)
    assert (place / SUMS).exists()
    with pytest.raises(LimbeckError, match=str(place)):
        road.workshop.recordings.read(stage)


def test_another_temperature_is_put_together_anew_from_the_same_recordings(opened):
    road, told, stage = opened
    warm = parse_recipe(
        {
            **road.recipe.model_dump(by_alias=True, exclude_none=True),
            "student": [{"name": "s", "model": NET, "train": TRAIN, "distill": {"temperature": 1.0}}],
        },
        "warm",
    )
    other = Road.open(warm, road.folder.path.parent / "warm", progress=told)
    colder = other.planner.students()[0].trials[0]
    assert [one.identity.key for one in colder.recordings] == [one.identity.key for one in stage.recordings]
    log_probs = road.workshop.recordings.read(stage)[1]
    first, second = (softmax(one.astype(np.float64), axis=1) for one in road.workshop.recordings.on_rows(colder))
    at_one = road.workshop.recordings.read(colder)[1]
    np.testing.assert_allclose(softmax(at_one[0], axis=1), 0.75 * first + 0.25 * second, atol=2e-6)
    assert np.abs(at_one - log_probs).max() > 0.01
    assert told.stages == []


def test_the_log_says_which_views_of_whom_are_recorded(recipe, tmp_path):
    told = Listening()
    limbeck.run(recipe, tmp_path / "runs" / "run", until="extract", progress=told)
    recorded = [(title, total) for title, total in told.stages if title.startswith("knowledge")]
    assert [total for _, total in recorded] == [2 * 1097] * 2
    assert all(title.endswith(", inputs and view 1") for title, _ in recorded)
    named = json.loads((tmp_path / "runs/run/run.json").read_bytes())["parts"]
    assert len({key for name, key in named.items() if name.startswith("knowledge/")}) == 12
