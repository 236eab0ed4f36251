import json
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from limbeck.artifacts import ArtifactStore, damages
from limbeck.data import Part, ViewSettings, view_pixels
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import content_digest, read_tensors, write_tensors
from limbeck.knowledge import Knowledge, Recording, extract, repair
from limbeck.progress import Silent
from limbeck.teachers import FunctionTeacher, TorchTeacher, log_probabilities

SHARDS = [f"{number:05d}.safetensors" for number in range(6)]


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "times.json"}


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


class StopsAfter(Silent):
    """Progress that ends the work, as a kill would, once so many rows are done."""

    def __init__(self, rows):
        self.rows = rows

    def at(self, done, note=""):
        if done > self.rows:
            raise KeyboardInterrupt


def test_what_is_stored_is_the_teacher_s_log_probabilities(teacher, recording, part, store):
    knowledge = extract(teacher, recording, store)
    expected = log_probabilities(teacher, part.inputs)
    stored = knowledge.log_probs()
    assert stored.dtype == np.float16
    assert stored.shape == (570, 10)
    np.testing.assert_array_equal(stored, expected.astype(np.float16))


def test_float32_is_stored_on_request(teacher, part, store):
    knowledge = extract(teacher, Recording("3f9a1c", part, dtype="float32"), store)
    np.testing.assert_array_equal(knowledge.log_probs(), log_probabilities(teacher, part.inputs))


def test_a_view_is_asked_about_in_its_own_pixels(teacher, view, part, store):
    pixels = view_pixels(part.inputs, part.ids, view=1, seed=3, settings=ViewSettings(rotate=10, shift=1))
    expected = log_probabilities(teacher, pixels).astype(np.float16)
    np.testing.assert_array_equal(extract(teacher, view, store).log_probs(), expected)


def test_a_view_of_rows_mapped_from_a_file_is_made_step_by_step_and_is_the_same(teacher, view, part, store, tmp_path):
    np.save(tmp_path / "rows.npy", part.inputs)
    mapped = replace(view, part=replace(part, inputs=np.load(tmp_path / "rows.npy", mmap_mode="r")))

    def whole():
        raise AssertionError("all of the view was made at once")

    found = extract(teacher, mapped, ArtifactStore(tmp_path / "mapped"), pixels=whole)
    np.testing.assert_array_equal(found.log_probs(), extract(teacher, view, store).log_probs())


def test_the_description_says_what_it_is(teacher, view, part, store):
    folder = extract(teacher, view, store).folder
    described = json.loads((folder / "knowledge.json").read_text())
    assert described["outputs"] == "categorical"
    assert described["classes"] == list("0123456789")
    assert (described["rows"], described["part"]) == (570, part.inputs_hash)
    assert described["teacher"] == view.teacher_key
    settings = {"rotate": 10.0, "scale": 0.0, "shear": 0.0, "shift": 1.0, "jitter": 0.0}
    assert described["view"] == {"number": 1, "version": 1, **settings}
    assert (described["dtype"], described["floor"]) == ("float16", 1e-7)
    assert folder.name == view.identity.key
    assert sorted(read(folder)) == [*SHARDS, "SHA256SUMS", "knowledge.json", "plan.json"]


def test_a_shard_s_bytes_depend_on_no_other_shard(teacher, recording, part, store):
    folder = extract(teacher, recording, store).folder
    alone = log_probabilities(teacher, part.inputs[200:300]).astype(np.float16)
    np.testing.assert_array_equal(read_tensors(folder / SHARDS[2])[0]["log_probs"], alone)


def test_complete_knowledge_is_not_recorded_again(teacher, recording, store):
    extract(teacher, recording, store)
    asked = teacher.rows
    extract(teacher, recording, store, pixels=lambda: pytest.fail("no pixels are needed"))
    assert teacher.rows == asked + 16  # the spot check


def test_complete_knowledge_of_another_teacher_under_the_same_name_is_refused(teacher, recording, view, store):
    for asked in (recording, view):
        extract(teacher, asked, store)
        other = FunctionTeacher(lambda inputs: np.roll(teacher.answer(inputs), 1, axis=1), batch_size=50)
        with pytest.raises(LimbeckError, match="the teacher answers otherwise than is stored"):
            extract(other, asked, store)


def test_a_recording_cut_off_computes_only_the_missing_shards_and_ends_with_the_same_bytes(
    teacher, recording, store, network, tmp_path
):
    whole = read(extract(TorchTeacher(network, precision="float32", batch_size=50), recording, store).folder)
    other = type(store)(tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        extract(teacher, recording, other, progress=StopsAfter(300))
    part = other.part(recording.identity)
    assert sorted(path.name for path in part.glob("0*")) == SHARDS[:3]
    asked = teacher.rows
    folder = extract(teacher, recording, other).folder
    assert teacher.rows - asked == 270
    assert read(folder) == whole
    assert not part.exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "gone", "swapped"])
def test_a_shard_damaged_while_unfinished_is_computed_again(teacher, recording, store, damage):
    with pytest.raises(KeyboardInterrupt):
        extract(teacher, recording, store, progress=StopsAfter(300))
    shard, neighbour = (store.part(recording.identity) / name for name in SHARDS[1:3])
    whole = shard.read_bytes()
    if damage == "flipped":
        flip(shard)
    elif damage == "swapped":
        shard.write_bytes(neighbour.read_bytes())
    elif damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(whole[:-7] if damage == "cut" else b"")
    asked = teacher.rows
    folder = extract(teacher, recording, store).folder
    assert (folder / SHARDS[1]).read_bytes() == whole
    assert teacher.rows - asked == 100 + 270


def test_another_writer_of_the_same_recording_waits_and_finds_it_made(recording, store, network):
    teacher = TorchTeacher(network, precision="float32", batch_size=50)
    begun, said = threading.Event(), []

    class Says(Silent):
        def line(self, text):
            said.append(text)

    def slowly(inputs):
        begun.set()
        time.sleep(0.05)
        return teacher.answer(inputs)

    first = threading.Thread(target=extract, args=(FunctionTeacher(slowly, batch_size=50), recording, store))
    first.start()
    begun.wait()
    other = TorchTeacher(network, precision="float32", batch_size=50)
    knowledge = extract(other, recording, type(store)(store.root), progress=Says())
    first.join()
    assert said == [f"knowledge {recording.identity.key[:12]} is being made by another process: waiting for it"]
    assert damages(knowledge.folder) == []
    assert knowledge.damaged_shards() == []
    assert [path.name for path in knowledge.folder.parent.iterdir()] == [recording.identity.key]


# ---------------------------------------------------------------- the plan


def test_the_plan_is_written_first_and_obeyed_by_whoever_continues(teacher, recording, store, network):
    with pytest.raises(KeyboardInterrupt):
        extract(teacher, recording, store, progress=StopsAfter(100))
    plan = json.loads((store.part(recording.identity) / "plan.json").read_text())
    assert plan == {
        "batch_size": 50,
        "device": "cpu",
        "precision": "float32",
        "threads": torch.get_num_threads(),
        "shard_rows": 100,
    }
    later = TorchTeacher(network, precision="float32", batch_size=500)
    folder = extract(later, recording, store).folder
    assert later.batch_size == 50
    assert len(list(folder.glob("0*"))) == 6


def test_knowledge_is_whole_whatever_size_a_later_version_gives_its_shards(teacher, recording, store, monkeypatch):
    extract(teacher, recording, store)
    monkeypatch.setattr("limbeck.knowledge.store.SHARD_BYTES", 10**6)
    knowledge = Knowledge.open(store.folder(recording.identity))
    assert knowledge.damaged_shards() == []
    assert len(knowledge.log_probs()) == 570


@pytest.mark.parametrize("content", ["{", "[]", '{"batch_size": 50}'])
def test_what_was_begun_with_a_plan_that_is_none_is_set_aside_and_begun_anew(teacher, recording, store, content):
    part = store.part(recording.identity)
    part.mkdir(parents=True)
    (part / "plan.json").write_text(content)
    (part / "00000.safetensors").write_text("of no use without its plan")
    knowledge = extract(teacher, recording, store)
    assert knowledge.damaged_shards() == []
    aside = part.with_name(f"{part.name}.damaged-1")
    assert sorted(path.name for path in aside.iterdir()) == ["00000.safetensors", "plan.json"]


def test_the_plan_s_threads_hold_while_it_is_recorded_and_no_longer(recording, store, network):
    before = torch.get_num_threads()
    teacher = TorchTeacher(network, precision="float32", batch_size=50)
    with pytest.raises(KeyboardInterrupt):
        extract(teacher, recording, store, progress=StopsAfter(100))
    path = store.part(recording.identity) / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "threads": before + 1}))
    threads = set()

    def function(inputs):
        threads.add(torch.get_num_threads())
        return teacher.answer(inputs)

    extract(FunctionTeacher(function, batch_size=50), recording, store)
    assert threads == {before + 1}
    assert torch.get_num_threads() == before


def test_a_plan_in_another_precision_is_refused_and_what_is_there_stays(teacher, recording, store, network, contents):
    with pytest.raises(KeyboardInterrupt):
        extract(teacher, recording, store, progress=StopsAfter(100))
    before = contents(store.root)
    with pytest.raises(LimbeckError, match=r"was begun in float32, but here the teacher answers in bfloat16"):
        extract(TorchTeacher(network, precision="bfloat16", batch_size=50), recording, store)
    assert contents(store.root) == before


# ---------------------------------------------------------------- teachers that cannot be learnt from


@pytest.mark.parametrize("row", [0, 49, 263, 569])
def test_an_output_that_is_not_finite_is_refused_with_its_row(recording, store, row, network, part):
    wanted = log_probabilities(TorchTeacher(network), part.inputs)
    wanted[row, 3] = np.nan
    place = iter(range(0, 600, 50))
    teacher = FunctionTeacher(lambda _: wanted[(start := next(place)) : start + 50], batch_size=50)
    with pytest.raises(LimbeckError, match=f"the teacher's output for row {row} is not finite"):
        extract(teacher, recording, store)
    assert not store.is_complete(recording.identity)


def test_a_row_far_into_the_data_is_named_by_its_own_number(digits, store):
    rows = digits.take(np.tile(np.arange(1797), 3))

    def function(inputs):
        answers = np.zeros((len(inputs), 10))
        answers[(inputs == 99).all(axis=(1, 2))] = np.nan
        return answers

    rows.inputs[4321] = 99
    with pytest.raises(LimbeckError, match="output for row 4321 is not finite"):
        extract(FunctionTeacher(function), Recording("3f9a1c", rows), store)


def test_another_number_of_classes_is_refused(recording, store):
    with pytest.raises(LimbeckError, match=r"answers with 3 classes, but the data has 10 \(0, 1, "):
        extract(FunctionTeacher(lambda inputs: np.zeros((len(inputs), 3))), recording, store)


def test_a_part_without_classes_is_refused(teacher, recording, store, part):
    nameless = Part("train", part.inputs, np.full(570, -1), part.ids, ())
    with pytest.raises(UsageError) as caught:
        extract(teacher, Recording(recording.teacher_key, nameless), store)
    assert str(caught.value) == (
        "part \"train\" names no classes, and a teacher's answers are kept by class: give it the teacher's, for example "
        'dataclasses.replace(part, classes=("cat", "dog"))'
    )


def test_probabilities_of_zero_are_stored_at_the_floor(recording, part, store):
    teacher = FunctionTeacher(lambda inputs: np.tile(np.eye(10)[3], (len(inputs), 1)), outputs="probabilities")
    stored = extract(teacher, recording, store).log_probs()
    assert np.isfinite(stored).all()
    np.testing.assert_allclose(stored[:, 0], np.log(1e-7), rtol=1e-3)


def test_extreme_logits_stay_finite_in_float16(recording, store):
    teacher = FunctionTeacher(lambda inputs: np.tile([1e6, *[0.0] * 9], (len(inputs), 1)))
    stored = extract(teacher, recording, store).log_probs()
    assert np.isfinite(stored).all()
    assert (stored[:, 0] == 0).all()


# ---------------------------------------------------------------- repair


@pytest.fixture
def folder(teacher, recording, store):
    return extract(teacher, recording, store).folder


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "gone", "header", "length", "digest"])
def test_a_damaged_shard_is_named_and_recomputed(teacher, recording, store, folder, damage):
    before = read(folder)
    shard = folder / SHARDS[3]
    whole = before[SHARDS[3]]
    if damage == "gone":
        shard.unlink()
    elif damage in ("cut", "emptied"):
        shard.write_bytes(whole[:-7] if damage == "cut" else b"")
    else:
        places = {"flipped": -1, "header": 30, "length": 7, "digest": whole.index(b"digest") + 20}
        flip(shard, places[damage])
    with pytest.raises(LimbeckError, match=f"{shard} is damaged"):
        Knowledge.open(folder).log_probs()
    asked = teacher.rows
    repaired = repair(teacher, recording, store)
    assert teacher.rows - asked == 100
    assert read(folder) == before
    np.testing.assert_array_equal(repaired.log_probs(), Knowledge.open(folder).log_probs())


def test_swapped_shards_are_noticed_and_recomputed(teacher, recording, store, folder):
    before = read(folder)
    first, second = folder / SHARDS[0], folder / SHARDS[1]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(LimbeckError, match=r"it is not shard 0 \(rows 0 to 100\)"):
        Knowledge.open(folder).log_probs()
    repair(teacher, recording, store)
    assert read(folder) == before


def test_a_shard_of_other_knowledge_is_noticed(teacher, recording, view, store, folder):
    other = extract(teacher, view, store).folder
    (folder / SHARDS[0]).write_bytes((other / SHARDS[0]).read_bytes())
    with pytest.raises(LimbeckError, match=f"it is not shard 0 .* of {recording.identity.key[:12]}"):
        Knowledge.open(folder).log_probs()


def test_a_repair_that_gives_other_values_is_refused_every_time_and_writes_nothing(
    recording, store, folder, network, contents
):
    flip(folder / SHARDS[3])
    before = contents(folder)

    class Other(TorchTeacher):
        def answer(self, inputs):
            return super().answer(inputs) * 1.1

    for _ in range(2):
        with pytest.raises(LimbeckError, match=r"00003\.safetensors is damaged and comes out with other values"):
            repair(Other(network, precision="float32", batch_size=50), recording, store)
        assert contents(folder) == before


@pytest.mark.parametrize("name", ["knowledge.json", "plan.json", "SHA256SUMS"])
def test_a_damaged_description_is_set_aside_and_all_made_again(teacher, recording, store, folder, name):
    before = read(folder)
    flip(folder / name, 5)
    damaged = read(folder)
    repaired = repair(teacher, recording, store)
    assert read(repaired.folder) == before
    assert read(folder.with_name(f"{folder.name}.damaged-1")) == damaged


def test_whole_knowledge_under_another_s_key_is_noticed_and_made_again(teacher, recording, view, store, folder):
    before = read(folder)
    other = extract(teacher, view, store).folder
    aside = folder.rename(folder.with_name("aside"))
    other.rename(folder)
    with pytest.raises(LimbeckError, match=f"its content is that of {view.identity.key}"):
        extract(teacher, recording, store)
    assert read(repair(teacher, recording, store).folder) == before == read(aside)


def test_a_digest_is_that_of_the_shard_s_header_and_values(folder):
    tensors, header = read_tensors(folder / SHARDS[0])
    digest = header.pop("digest")
    assert digest == content_digest(tensors, header)
    write_tensors(folder / "again.safetensors", tensors, header)
    assert (folder / "again.safetensors").read_bytes() == (folder / SHARDS[0]).read_bytes()


# ---------------------------------------------------------------- data larger than memory

IN_LITTLE_MEMORY = """
import resource, sys, warnings
from pathlib import Path
import numpy as np, torch
import limbeck
from limbeck.data import scratch, shared_rows
from limbeck.data.arrays import load_arrays
from limbeck.data.reading import Reading

folder = Path(sys.argv[1])
scratch.LARGE_BYTES = 2**20
torch.set_num_threads(1)
warnings.simplefilter("error")


def answers(name):
    torch.manual_seed(0)
    network = torch.nn.Linear(1000, 3)
    part = load_arrays(folder / f"{name}.npy", name, Reading()).train
    knowledge = limbeck.extract(network, part, folder / "artifacts", dtype="float32")
    limbeck.extract(network, part, folder / "artifacts", dtype="float32")
    split = limbeck.Dataset(name, part, None, part.classes).split(test=0.1)
    assert len(shared_rows(split.test, part)) == len(split.test)
    return knowledge.log_probs()


answers("small")  # whatever is loaded and allocated once
(held,) = [int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line]
limit = held * 1024 + 30 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
found = answers("large")
try:
    np.load(folder / "large.npy")
except MemoryError:
    print(*found.shape, float(found[24_999, 1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere mapped files count as memory, or limits do not hold")
def test_extraction_splits_and_checks_of_a_file_of_100_mb_need_little_memory(tmp_path):
    # RLIMIT_DATA counts what a process has to itself, and not the pages of mapped files.
    for name, rows in (("small", 2000), ("large", 25_000)):
        array = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", np.float32, (rows, 1000))
        array[:, 0] = np.arange(rows) / 1000
        last = np.array(array[-1])
        del array
        np.save(tmp_path / f"{name}.labels.npy", np.arange(rows) % 3)
    done = subprocess.run([sys.executable, "-c", IN_LITTLE_MEMORY, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows, classes, value = done.stdout.split()
    assert (rows, classes) == ("25000", "3")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = torch.nn.Linear(1000, 3)(torch.from_numpy(last)).log_softmax(dim=-1)[1].item()
    assert float(value) == pytest.approx(expected, rel=1e-5)
