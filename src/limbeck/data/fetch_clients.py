"""What is fetched comes by the registries' own clients: pip, apt-get and dpkg-deb."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from limbeck.errors import LimbeckError

_PATIENCE_S = 600


class FetchError(Exception):
    """A client is missing, or failed."""


def by_pip(package: str, folder: Path, *, source_sha256: str | None = None) -> Path:
    """A package's wheel, or its source archive.

    Args:
        package: with its version, "plotnine==0.15.9".
        folder: to put it into.
        source_sha256: of the source archive, where that is wanted: pip refuses any other before it looks into it, for
            to do so it runs what is in it. None: the wheel, of which nothing is run.

    Raises:
        FetchError: pip is missing, failed, or brought nothing.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    if source_sha256 is None:
        call("pip", [*pip, package, "--no-deps", "--only-binary=:all:", "-d", str(folder)], folder)
        return only(folder, "*.whl", "pip")
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package} --hash=sha256:{source_sha256}\n")
    only_source = ["--no-binary", package.partition("==")[0]]
    call("pip", [*pip, "-r", str(wanted), "--no-deps", *only_source, "-d", str(folder)], folder)
    return only(folder, "*.tar.gz", "pip")


def by_apt(package: str, folder: Path) -> Path:
    """A Debian package's content, unpacked into a folder of the package's name; and beside it the .deb.

    Raises:
        FetchError: a client is missing, failed, or brought nothing.
    """
    call("apt-get", ["apt-get", "download", "-q", package], folder, hint="; `apt-get update` may help")
    file = only(folder, f"{package}_*.deb", "apt-get")
    call("dpkg-deb", ["dpkg-deb", "-x", str(file), str(folder / package)], folder)
    return folder / package


def only(folder: Path, pattern: str, client: str) -> Path:
    """The first file that a client put there.

    Raises:
        FetchError: there is none.
    """
    found = sorted(folder.glob(pattern))
    if not found:
        raise FetchError(f"{client} brought no {pattern.rpartition('/')[2]}")
    return found[0]


def call(client: str, command: Sequence[str], folder: Path, hint: str = "") -> None:
    """Run a client in a folder.

    Raises:
        FetchError: it is missing, failed (its own words), or did not end.
    """
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
        raise FetchError(f"there is no {client} here") from None
    except subprocess.TimeoutExpired:
        raise FetchError(f"{client} did not end in {_PATIENCE_S} seconds") from None
    except OSError as error:
        raise FetchError(f"{client} cannot be started ({error.strerror})") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = next((line for line in lines if line.lower().startswith(("error", "e:"))), lines[-1] if lines else "")
        raise FetchError(f"{client} failed ({said[:200] or f'exit code {done.returncode}'}){hint}")


def of_wheel(file: Path, members: Sequence[str], get: str) -> list[bytes]:
    """Files in a wheel.

    Args:
        file: the wheel.
        members: their paths in it.
        get: what to get instead, for messages.

    Raises:
        LimbeckError: it is no wheel, or has none of them.
    """
    try:
        with zipfile.ZipFile(file) as wheel:
            return [wheel.read(member) for member in members]
    except (KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        reason = str(error.args[0] if error.args else error)
        raise LimbeckError(f"{file.name} has no {members[0]} in it ({reason}): get {get}") from None


def of_tar(archive: Path | bytes, member: str, name: str, get: str) -> bytes:
    """A file in a .tar.gz archive, which is read and never unpacked to disk.

    Args:
        archive: the archive, a file or its bytes.
        member: its path in it.
        name: of the archive, for messages.
        get: what to get instead, for messages.

    Raises:
        LimbeckError: it is no such archive, or has no such file.
    """
    reason = "no such file in it"
    try:
        given = BytesIO(archive) if isinstance(archive, bytes) else BytesIO(archive.read_bytes())
        with tarfile.open(fileobj=given, mode="r:gz") as tar:
            found = tar.extractfile(member)
            if found is not None:
                return found.read()
    except (KeyError, EOFError, tarfile.TarError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
    raise LimbeckError(f"{name} has no {member} in it ({reason}): get {get}")
