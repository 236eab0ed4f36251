import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limbeck.artifacts import (
    CHECKPOINTS,
    ArtifactStore,
    Identity,
    damages,
    hold,
    read_checked,
    read_sums,
    set_aside,
    write_sums,
)
from limbeck.errors import LimbeckError
from limbeck.files import (
    DamagedFileError,
    canonical_json,
    key_of,
    read_header,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
)

IDENTITY = Identity("knowledge", 1, {"view": None, "dtype": "float16"}, {"teacher": "3f9a1c"}, seed=None)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float16, np.uint8, np.int64, np.bool_]), hnp.array_shapes(min_dims=0, min_side=0)
)


# ---------------------------------------------------------------- identity


@given(json_values)
def test_canonical_json_says_what_was_said(value):
    try:
        written = canonical_json(value)
    except UnicodeEncodeError:  # half of a surrogate pair is no text
        return
    assert json.loads(written) == value


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers()), st.randoms())
def test_canonical_json_does_not_depend_on_the_order_of_keys(value, random):
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert canonical_json(dict(shuffled)) == canonical_json(value)


def test_canonical_json_keeps_its_form():
    assert canonical_json({"b": [1, 2.5, None, True], "a": "é"}) == '{"a":"é","b":[1,2.5,null,true]}'.encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_canonical_json_has_no_nan(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"x": number})


def test_a_key_keeps_its_value():
    assert IDENTITY.key == "d27266007607e3ebc9278ce56394ccb2f8f40e1d331e9afeef9e86f8c1752fcb"


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "student"},
        {"version": 2},
        {"settings": {"view": None, "dtype": "float32"}},
        {"inputs": {"teacher": "77ab02"}},
        {"seed": 0},
    ],
)
def test_everything_in_an_identity_changes_its_key(other):
    assert Identity(**{**IDENTITY.as_json(), **other}).key != IDENTITY.key


def test_an_identity_read_from_json_has_the_same_key():
    assert Identity.from_json(json.loads(json.dumps(IDENTITY.as_json()))).key == IDENTITY.key


# ---------------------------------------------------------------- files


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_bytes(tmp_path / "file", b"before")

    def fails(_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="no space"):
        write_bytes(tmp_path / "file", b"after")
    assert (tmp_path / "file").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_written_with_its_folder(tmp_path):
    write_json(tmp_path / "a" / "b" / "file.json", {"x": 1})
    assert read_json(tmp_path / "a" / "b" / "file.json") == {"x": 1}


def test_a_file_that_is_no_json_is_damaged(tmp_path):
    (tmp_path / "file.json").write_text("{")
    with pytest.raises(DamagedFileError, match=r"file\.json is damaged: not JSON"):
        read_json(tmp_path / "file.json")


@given(
    tensors=st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), arrays, max_size=3), header=json_values
)
def test_tensors_read_are_those_written(tmp_path_factory, tensors, header):
    path = tmp_path_factory.getbasetemp() / "tensors.safetensors"
    try:
        canonical_json(header)
    except UnicodeEncodeError:
        return
    tensors.pop("__metadata__", None)
    write_tensors(path, tensors, {"header": header})
    read, found = read_tensors(path)
    assert found["header"] == header == read_header(path)["header"]
    assert read.keys() == tensors.keys()
    for name, array in tensors.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()


def test_tensors_that_do_not_lie_in_order_are_written_as_they_read(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    write_tensors(tmp_path / "file", {"x": array}, {})
    assert (read_tensors(tmp_path / "file")[0]["x"] == array).all()


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tensors") / "small.safetensors"
    tensors = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7, dtype=np.int64)}
    write_tensors(path, tensors, {"model": "mlp", "rows": [0, 10]})
    return path


def same_or_damaged(path, whole):
    """Reading gives what the whole file holds, or says that the file is damaged; nothing else."""
    try:
        tensors, header = read_tensors(path)
    except DamagedFileError as damage:
        assert str(path) in str(damage)
        assert "\n" not in str(damage)
        return
    expected, expected_header = read_tensors(whole)
    assert header == expected_header
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in tensors.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in expected.items()
    }


def test_any_changed_byte_is_noticed_or_harmless(small_file, tmp_path):
    whole = small_file.read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    for place in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            damaged.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            same_or_damaged(damaged, small_file)


@given(data=st.data())
def test_any_byte_set_to_any_value_is_noticed_or_harmless(small_file, data):
    whole = small_file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.integers(0, 255))
    damaged = small_file.with_name("set.safetensors")
    damaged.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
    same_or_damaged(damaged, small_file)


def test_a_changed_value_is_noticed(small_file, tmp_path):
    whole = small_file.read_bytes()
    (tmp_path / "x").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedFileError, match="does not give the digest in its header"):
        read_tensors(tmp_path / "x")


def test_a_changed_header_is_noticed(small_file, tmp_path):
    (tmp_path / "x").write_bytes(small_file.read_bytes().replace(b"mlp", b"mpl"))
    with pytest.raises(DamagedFileError, match="does not give the digest in its header"):
        read_tensors(tmp_path / "x")


def test_a_file_cut_anywhere_is_damaged(small_file, tmp_path):
    whole = small_file.read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match="cut is damaged"):
            read_tensors(tmp_path / "cut")


@given(st.binary(max_size=200))
def test_whatever_bytes_a_file_holds_its_header_is_read_or_damaged(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(content)
    for read in (read_header, read_tensors):
        with pytest.raises(DamagedFileError):
            read(path)


def test_a_header_that_claims_to_be_endless_is_damaged(small_file, tmp_path):
    whole = small_file.read_bytes()
    for place in range(8):
        (tmp_path / "x").write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        with pytest.raises(DamagedFileError):
            read_header(tmp_path / "x")


def test_a_file_with_bytes_behind_its_end_is_damaged(small_file, tmp_path):
    (tmp_path / "x").write_bytes(small_file.read_bytes() + b"\0")
    with pytest.raises(DamagedFileError):
        read_tensors(tmp_path / "x")


SAVE = """
import sys, pathlib
import numpy as np
from limbeck.artifacts import Identity
from limbeck.files import write_json, write_tensors
folder = pathlib.Path(sys.argv[1])
tensors = {name: np.arange(5, dtype=np.float32) for name in ("weight", "bias", "mean", "std", "steps")}
about = {"alpha": 1, "beta": {"x": 1, "y": 2}, "gamma": 3, "delta": 4, "epsilon": 5}
write_tensors(folder / "tensors.safetensors", tensors, about)
write_json(folder / "about.json", about)
(folder / "key").write_text(Identity("teacher", 1, about, {"train": "x", "labels": "y"}, 0).key)
"""


def test_equal_content_gives_equal_bytes_in_every_process(tmp_path):
    written = set()
    for seed in ("0", "1", "2", "3"):
        folder = tmp_path / seed
        folder.mkdir()
        subprocess.run([sys.executable, "-c", SAVE, folder], env={"PYTHONHASHSEED": seed}, check=True)
        written.add(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    assert len(written) == 1


# ---------------------------------------------------------------- sums


@pytest.fixture
def folder(tmp_path):
    """A folder with a description, a shard, times and a checkpoint, and its SHA256SUMS."""
    folder = tmp_path / "artifact"
    write_json(folder / "knowledge.json", {"rows": 3})
    write_json(folder / "plan.json", {"batch_size": 2})
    write_json(folder / "times.json", {"seconds": 1})
    write_tensors(folder / "00000.safetensors", {"x": np.zeros(3)}, {})
    write_sums(folder)
    return folder


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum here")
def test_the_sums_are_those_of_sha256sum(folder):
    check = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert check.returncode == 0
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["knowledge.json", "plan.json"]


def test_shards_times_checkpoints_and_hidden_files_are_not_summed(folder):
    before = (folder / "SHA256SUMS").read_bytes()
    for name in (*CHECKPOINTS, ".knowledge.json.1a2b3c4d.tmp", "00001.safetensors"):
        (folder / name).write_bytes(b"x")
    write_json(folder / "times.json", {"seconds": 2})
    write_sums(folder)
    assert (folder / "SHA256SUMS").read_bytes() == before


def test_any_changed_byte_of_the_sums_is_noticed(folder):
    path = folder / "SHA256SUMS"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0x20, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            with pytest.raises(DamagedFileError, match="SHA256SUMS is damaged"):
                read_sums(folder)


def test_sums_cut_anywhere_are_noticed(folder):
    path = folder / "SHA256SUMS"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match="SHA256SUMS is damaged"):
            read_sums(folder)


def test_a_listed_file_is_checked_as_it_is_read(folder):
    assert json.loads(read_checked(folder, "knowledge.json")) == {"rows": 3}
    (folder / "knowledge.json").write_text('{"rows": 4}')
    with pytest.raises(
        DamagedFileError, match=r"knowledge\.json is damaged: it does not give the digest in SHA256SUMS"
    ):
        read_checked(folder, "knowledge.json")


def test_all_damages_are_named(folder):
    assert damages(folder) == []
    (folder / "knowledge.json").write_text("{}")
    (folder / "plan.json").unlink()
    named = [damage.path.name for damage in damages(folder)]
    assert named == ["knowledge.json", "plan.json"]
    (folder / "SHA256SUMS").unlink()
    assert [damage.path.name for damage in damages(folder)] == ["SHA256SUMS"]


def test_a_file_that_the_sums_do_not_list_is_not_trusted(folder):
    write_json(folder / "history.json", {})
    with pytest.raises(DamagedFileError, match=r"it does not list history\.json"):
        read_checked(folder, "history.json")


# ---------------------------------------------------------------- the store


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "artifacts")


def make(store, identity=IDENTITY):
    write_json(store.part(identity) / "knowledge.json", {"rows": 3})
    return store.part(identity)


def test_an_artifact_is_a_part_until_it_is_complete(store):
    part = make(store)
    assert part.name == f"{IDENTITY.key}.part"
    assert not store.is_complete(IDENTITY)
    folder = store.complete(IDENTITY)
    assert store.is_complete(IDENTITY)
    assert (folder.parent.name, folder.name) == ("knowledge", IDENTITY.key)
    assert not part.exists()
    assert damages(folder) == []


def test_what_only_the_making_needed_is_gone_when_complete(store):
    part = make(store)
    for name in (*CHECKPOINTS, ".knowledge.json.1a2b3c4d.tmp"):
        (part / name).write_bytes(b"x")
    assert sorted(path.name for path in store.complete(IDENTITY).iterdir()) == ["SHA256SUMS", "knowledge.json"]


def test_a_race_lost_before_the_rename_counts_as_done(store):
    make(store)
    store.complete(IDENTITY)
    winner = read_sums(store.folder(IDENTITY))
    make(store)
    assert store.complete(IDENTITY) == store.folder(IDENTITY)
    assert read_sums(store.folder(IDENTITY)) == winner
    assert not store.part(IDENTITY).exists()


def test_a_part_is_held_by_one_process_alone(store):
    with store.locked(IDENTITY) as part:
        assert part == store.part(IDENTITY)
        with (
            pytest.raises(
                LimbeckError, match=r"knowledge d27266007607 is being made by another process \(it holds .*\.locks/.*\)"
            ),
            ArtifactStore(store.root).locked(IDENTITY),
        ):
            pass
    with store.locked(IDENTITY):
        pass


def test_a_lock_ends_with_its_process(tmp_path):
    program = (
        "import os, pathlib, sys; from limbeck.artifacts import hold\n"
        "with hold(pathlib.Path(sys.argv[1]), 'x'): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path / "lock"]).returncode == -9
    with hold(tmp_path / "lock", "it is worked on"):
        pass


def test_what_is_set_aside_takes_the_first_name_that_is_free(tmp_path):
    for number in (1, 2):
        (tmp_path / "run").mkdir()
        assert set_aside(tmp_path / "run", "old") == tmp_path / f"run.old-{number}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.old-1", "run.old-2"]


def test_a_key_is_the_digest_of_canonical_json():
    import hashlib

    assert key_of({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()
