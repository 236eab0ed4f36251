import json
import shutil

import numpy as np
import pytest
import torch

from limbeck.artifacts import ArtifactStore, damages
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError, write_json
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.knowledge.sparse_extraction import extract_sparse, repair_sparse
from limbeck.knowledge.sparse_store import SparseKnowledge, SparseRecording
from limbeck.knowledge.sparse_targets import top_and_tails
from limbeck.progress import Silent

COUNTS = np.array([3, 0, 5, 1, 2, 7, 4, 4, 0, 6, 2, 3, 1, 5, 2])  # fifteen records in batches of 2, two to a shard
CLASSES, K = 200, 6
LOGITS = np.random.default_rng(0).normal(scale=3, size=(COUNTS.sum(), CLASSES)).astype(np.float32)
SHARDS = [f"{number:05d}.safetensors" for number in range(4)]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.knowledge.sparse_extraction.SHARD_BYTES", 250)
    return ArtifactStore(tmp_path / "artifacts")


def recording(**changes):
    return SparseRecording("3f9a1c" * 10, "b27e40", **{"outputs": COUNTS, "classes": CLASSES, "k": K, **changes})


class Teacher:
    """Remembers which records it was asked about."""

    def __init__(self, logits=LOGITS):
        self.logits, self.asked = logits, []
        self.offsets = recording().offsets

    def __call__(self, start, stop):
        self.asked += range(start, stop)
        return self.logits[self.offsets[start] : self.offsets[stop]]


class StopsAfter(Silent):
    """Progress that ends the work, as a kill would, once so many records are done."""

    def __init__(self, records):
        self.records = records

    def at(self, done, note=""):
        if done > self.records:
            raise KeyboardInterrupt


def made(store, teacher=None, **changes):
    return extract_sparse(teacher or Teacher(), recording(**changes), store, batch_size=2)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "times.json"}


def flip(path, place=-1):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def test_what_is_read_is_what_the_teacher_says_of_each_record(store):
    knowledge = made(store)
    found = knowledge.batch(np.arange(len(COUNTS)))
    expected = top_and_tails(torch.from_numpy(LOGITS), K)
    assert torch.equal(found.indices, expected.indices)
    torch.testing.assert_close(found.values, expected.values, atol=0.06, rtol=0)
    torch.testing.assert_close(found.tails, expected.tails, atol=2e-3, rtol=0)
    assert found.offsets.tolist() == [0, *np.cumsum(COUNTS)]
    assert (found.classes, knowledge.records, found.values.dtype) == (CLASSES, 15, torch.float32)


def test_records_in_any_order_are_those_read_one_by_one(store):
    knowledge = made(store, bits=16)
    order = torch.tensor([14, 5, 1, 5, 0, 9])
    found = knowledge.batch(order)
    for place, record in enumerate(order.tolist()):
        alone = SparseKnowledge.open(knowledge.folder).batch(np.array([record]))
        rows = slice(*found.offsets[place : place + 2].tolist())
        for name in ("values", "indices", "tails"):
            assert torch.equal(getattr(found, name)[rows], getattr(alone, name)), (record, name)
        assert len(alone.values) == COUNTS[record]


def test_a_few_shards_in_memory_give_the_same(store):
    folder = made(store).folder
    few, all_of_them = SparseKnowledge.open(folder, held=1), SparseKnowledge.open(folder)
    for records in (np.arange(15), np.array([14, 0, 7])):
        assert torch.equal(few.batch(records).values, all_of_them.batch(records).values)
    assert len(few._shards) == 1


def test_the_folder_says_what_it_is(store):
    knowledge = made(store, view={"number": 2, "rate": 0.15}, seed=5)
    described = json.loads((knowledge.folder / "knowledge.json").read_text())
    assert (described["form"], described["rows"], described["outputs"]) == ("sparse", 15, int(COUNTS.sum()))
    assert (described["k"], described["bits"], described["classes"]) == (K, 8, CLASSES)
    assert described["temperatures"] == [1, 2, 4, 10]
    assert described["view"] == {"number": 2, "rate": 0.15}
    assert (knowledge.identity.seed, knowledge.identity.kind) == (5, "knowledge")
    assert sorted(content(knowledge.folder)) == [
        *SHARDS,
        "SHA256SUMS",
        "knowledge.json",
        "outputs.safetensors",
        "plan.json",
    ]


def test_what_decides_the_content_decides_the_key():
    others = [
        {"k": 7},
        {"bits": 16},
        {"classes": 201},
        {"outputs": COUNTS[::-1]},
        {"view": {"number": 1}},
        {"view": {"number": 1}, "seed": 1},
    ]
    keys = {recording(**changes).identity.key for changes in ({}, *others)}
    assert len(keys) == 7
    assert recording(seed=1).identity.key == recording().identity.key  # no view: no seed
    assert recording(outputs=COUNTS.astype(np.int16)).identity.key == recording().identity.key


def test_a_recording_cut_off_asks_only_about_missing_shards_and_ends_with_the_same_bytes(store, tmp_path):
    whole = content(made(store).folder)
    other, teacher = ArtifactStore(tmp_path / "other"), Teacher()
    with pytest.raises(KeyboardInterrupt):
        extract_sparse(teacher, recording(), other, batch_size=2, progress=StopsAfter(9))
    part = other.part(recording().identity)
    assert sorted(path.name for path in part.glob("0*")) == SHARDS[:2]
    assert inspect(part).facts["recorded"] == "8 of 15 rows; the same work, done again, goes on"
    with pytest.raises(LimbeckError, match="is unfinished"):
        SparseKnowledge.open(part)
    teacher.asked.clear()
    found = extract_sparse(teacher, recording(), other, batch_size=5)  # the batch is that of who began
    assert teacher.asked == list(range(8, 15))
    assert content(found.folder) == whole


def test_complete_knowledge_is_not_recorded_again(store):
    made(store)
    made(store, teacher=lambda start, stop: pytest.fail("the teacher is not needed"))


def test_another_precision_does_not_go_on(store):
    with pytest.raises(KeyboardInterrupt):
        extract_sparse(Teacher(), recording(), store, batch_size=2, progress=StopsAfter(5))
    with pytest.raises(LimbeckError, match="was begun in float32, but here the teacher answers in bfloat16"):
        extract_sparse(Teacher(), recording(), store, batch_size=2, precision="bfloat16")


@pytest.mark.parametrize("name", [*SHARDS, "knowledge.json", "outputs.safetensors", "plan.json"])
@pytest.mark.parametrize("place", [-1, 100])
def test_damage_to_any_file_is_noticed_and_named(store, name, place):
    folder = made(store).folder
    assert verify(folder) == []
    flip(folder / name, min(place, (folder / name).stat().st_size - 1))
    (damage,) = verify(folder)
    assert damage.path == folder / name
    with pytest.raises(DamagedFileError, match=name):
        SparseKnowledge.open(folder).batch(np.arange(15))


def test_a_shard_in_another_s_place_is_noticed(store):
    folder = made(store).folder
    shutil.copy(folder / SHARDS[1], folder / SHARDS[2])
    (damage,) = verify(folder)
    assert "it is not shard 2 (records 8 to 12)" in str(damage)
    (folder / SHARDS[2]).unlink()
    (damage,) = verify(folder)
    assert "it is missing" in str(damage)


def test_a_damaged_shard_alone_is_made_again_with_the_same_bytes(store):
    folder = made(store).folder
    whole, teacher = content(folder), Teacher()
    flip(folder / SHARDS[1])
    repair_sparse(teacher, recording(), store)
    assert teacher.asked == [4, 5, 6, 7]
    assert content(folder) == whole
    flip(folder / SHARDS[1])
    with pytest.raises(LimbeckError, match="comes out with other values than were recorded"):
        repair_sparse(Teacher(LOGITS[:, ::-1].copy()), recording(), store)


def test_a_damaged_description_is_set_aside_and_all_made_again(store):
    folder = made(store).folder
    whole = content(folder)
    flip(folder / "knowledge.json")
    repair_sparse(Teacher(), recording(), store, batch_size=2)
    assert content(folder) == whole
    assert folder.with_name(f"{folder.name}.damaged-1").exists()


def test_inspect_shows_what_it_is_and_how_much_is_outside(store):
    knowledge = made(store)
    facts = inspect(knowledge.folder).facts
    assert facts["rows"] == f"15, with {COUNTS.sum()} outputs"
    assert facts["outputs"] == "sparse: the 6 most probable classes in 8 bits, tails at temperatures 1, 2, 4, 10"
    outside = 1 - torch.from_numpy(LOGITS).softmax(dim=1).topk(K).values.sum(dim=1).mean().item()
    assert facts["outside"].startswith(f"the classes that are kept: {outside:.1%} at T = 1, ")


def test_a_teacher_that_does_not_fit_is_refused(store):
    with pytest.raises(LimbeckError, match=r"records 0 to 2 have shape \(3, 201\), but the recording says \(3, 200\)"):
        made(store, Teacher(np.zeros((COUNTS.sum(), 201), np.float32)))
    broken = LOGITS.copy()
    broken[4, 7] = np.nan
    with pytest.raises(LimbeckError, match="records 2 to 4: the logits of output 1 are not all finite"):
        made(store, Teacher(broken))


def test_what_is_no_sparse_knowledge_is_said(store, tmp_path):
    with pytest.raises(LimbeckError, match=r"holds no knowledge: expected knowledge\.json in it"):
        SparseKnowledge.open(tmp_path)
    knowledge = made(store)
    for records in ([0, 15], [-1, 3]):
        with pytest.raises(UsageError, match=r"record (15|-1) was asked for, but .* has 0 to 14"):
            knowledge.batch(np.array(records))
    with pytest.raises(DamagedFileError, match="its content is that of"):
        SparseKnowledge.open(knowledge.folder, recording(k=7).identity)
    shutil.copytree(knowledge.folder, tmp_path / "dense")
    write_json(tmp_path / "dense" / "knowledge.json", {"classes": ["a"], "rows": 1})
    from limbeck.artifacts import write_sums

    write_sums(tmp_path / "dense")
    assert damages(tmp_path / "dense") == []
    with pytest.raises(LimbeckError, match="holds dense knowledge, not sparse"):
        SparseKnowledge.open(tmp_path / "dense")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"bits": 4}, "bits is 4, but values are kept in 6, 8 or 16 bits"),
        ({"classes": 0}, "there are 0 classes"),
        ({"outputs": np.array([1, -1])}, "integers of at least 0"),
        ({"outputs": np.array([0.5])}, "integers of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        recording(**changes)


def test_what_another_version_packed_is_not_read(store, monkeypatch):
    monkeypatch.setattr("limbeck.knowledge.sparse_store.VERSION", 1)
    folder = made(store).folder
    monkeypatch.undo()
    expected = rf"^{folder} holds sparse knowledge of version 1, and only version 2 is read: record it again$"
    with pytest.raises(LimbeckError, match=expected):
        SparseKnowledge.open(folder)
