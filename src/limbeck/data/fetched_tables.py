"""Two public tables: letters (from Debian) and diamonds (from PyPI)."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

from limbeck.data.fetch_clients import by_apt, by_pip, of_wheel, only
from limbeck.data.public import Public
from limbeck.errors import LimbeckError

_WHEEL = "plotnine==0.15.9"
_RDA = "data/LetterRecognition.rda from R's package mlbench (CRAN)"


def _download_wheel(folder: Path) -> Path:
    return by_pip(_WHEEL, folder)


def _diamonds(file: Path) -> dict[str, bytes]:
    if not zipfile.is_zipfile(file):
        return {"diamonds.csv": file.read_bytes()}
    (content,) = of_wheel(file, ["plotnine/data/diamonds.csv"], _WHEEL)
    return {"diamonds.csv": content}


def _download_rda(folder: Path) -> Path:
    return only(by_apt("r-cran-mlbench", folder), "**/LetterRecognition.rda", "r-cran-mlbench")


def _letters(file: Path) -> dict[str, bytes]:
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
            f"{file.name} is not R's table LetterRecognition ({' '.join(str(error).split())[:120]}): get {_RDA}"
        ) from None
    return {"letters.csv": ("\n".join(lines) + "\n").encode()}


TABLES = {
    "letters": Public(
        kind="table",
        files={"letters.csv": "d0982cbc2106b8b52a811424b8171d50c1a96b05bc7ff4121ce7bd1087b6d226"},
        origin="Debian (r-cran-mlbench, by apt-get)",
        by_hand=_RDA,
        download=_download_rda,
        unpacked=_letters,
        label="lettr",
    ),
    "diamonds": Public(
        kind="table",
        files={"diamonds.csv": "9574730b03aba241d899c4a97511c5061b19358fab89510774fb6c24168345c4"},
        origin=f"PyPI ({_WHEEL}, by pip)",
        by_hand="the wheel plotnine-0.15.9-py3-none-any.whl from PyPI",
        download=_download_wheel,
        unpacked=_diamonds,
        label="cut",
    ),
}
