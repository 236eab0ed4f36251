"""Plain English for distilling without a task: paragraphs of what Debian packages have, in the order of `_PARSED`.

WordNet 3.0's glosses of verbs, adjectives and adverbs with their examples, and of nouns the examples alone (the
glosses of nouns are a task, `fetch("glosses")`, whose test rows should not be read before; in other words'
definitions and in the dictionary's some 260 of the 214,647 paragraphs have one as a sentence, without its class); the
definitions of the GNU Collaborative International Dictionary of English, without those that it has from WordNet; the
Anarchist FAQ; and sayings of fortune's.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from limbeck.data.fetch_clients import FetchError, by_apt
from limbeck.data.fetched_texts import definition_of
from limbeck.data.public import Public
from limbeck.errors import LimbeckError

_LONGEST, _SHORTEST = 1000, 40  # characters of a paragraph
_SAYINGS = (
    *("cookie", "definitions", "education", "food", "fortunes", "humorists", "law", "literature", "miscellaneous"),
    *("people", "platitudes", "science", "sports", "tao", "wisdom", "work"),
)
_SIGNS = re.compile(r"[^A-Za-z\u00c0-\u024f ]+")  # all but letters and spaces
_CHARACTERS = re.compile(r"[ -~\u00a0-\u024f\u2010-\u2026]*")  # of English, and what it has borrowed
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[A-Z\"'(])")


def _of_wordnet(folder: Path) -> Iterator[str]:
    for name in ("data.noun", "data.verb", "data.adj", "data.adv"):
        for line in (folder / "usr/share/wordnet" / name).read_text("utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            gloss = line.partition(" | ")[2]
            examples = [_sentence(example) for example in re.findall(r'"([^"]+)"', gloss)]
            definition = "" if name == "data.noun" else definition_of(gloss)
            yield " ".join(filter(None, [_sentence(definition), *examples]))


def _of_gcide(folder: Path) -> Iterator[str]:
    content = gzip.decompress((folder / "usr/share/dictd/gcide.dict.dz").read_bytes()).decode("utf-8", "replace")
    for block in re.split(r"\n\s*\n", content):
        if "[WordNet" in block or "\\" in block.rpartition("]")[2]:
            continue
        text = re.sub(r"\[[\"'`^=~.]?(\w{1,2})\]", r"\1", " ".join(block.split()))  # letters with accents
        text = re.sub(r"\[[^\[\]]*\]", "", text)  # sources, etymologies
        text = re.sub(r"^[^\\]*(\\[^\\]*\\[^\\A-Z]*)+", "", text)  # the word, as it is spoken, and what kind it is of
        text = re.sub(r"--[A-Z][^.]{0,40}\.?.{0,20}$", "", text).replace("{", "").replace("}", "")
        if not text.lstrip().startswith(("Syn:", "Note:")):
            yield re.sub(r"^(\(?\w{1,2}[.)]\s+|\([^)]*\)\s*|[A-Z]\w{2,5}\.\s+(?=[A-Z]))+", "", text.strip())


def _of_faq(folder: Path) -> Iterator[str]:
    for file in sorted((folder / "usr/share/doc/anarchism/markdown").glob("*.md*")):
        raw = file.read_bytes()
        content = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8", "replace")
        for block in re.split(r"\n\s*\n", content):
            if block.startswith(("#", "*", "-", "|", "    ")) or "](" in block or "http" in block:
                continue
            text = " ".join(line.lstrip("> ").strip() for line in block.splitlines())
            text = re.sub(r"\[(\w|\.{3})\]", r"\1", text)  # what was changed in a quotation
            text = re.sub(r"\[[^\]]*\]", "", text)  # citations
            yield re.sub(r"(\w)- (?=[a-z])", r"\1-", re.sub(r"[*_\\]", "", text))


def _of_fortunes(folder: Path) -> Iterator[str]:
    for name in _SAYINGS:
        file = folder / "usr/share/games/fortunes" / name
        if not file.is_file():
            continue
        for saying in file.read_text("utf-8", "replace").split("\n%\n"):
            said = re.split(r"\n\s*--", saying)[0]
            if "\b" not in said and len(said) < 4 * _LONGEST:
                yield said


_PARSED: dict[str, Callable[[Path], Iterator[str]]] = {
    "wordnet-base": _of_wordnet,
    "dict-gcide": _of_gcide,
    "anarchism": _of_faq,
    "fortunes": _of_fortunes,
    "fortunes-min": _of_fortunes,
}


def _download(folder: Path) -> Path:
    for package in _PARSED:
        by_apt(package, folder)
    return folder


def _unpacked(given: Path) -> dict[str, bytes]:
    if given.is_file():  # from another machine's cache
        return {"english.txt": given.read_bytes()}
    paragraphs: dict[str, None] = {}
    for package, parsed in _PARSED.items():
        before = len(paragraphs)
        try:
            for paragraph in parsed(given / package):
                paragraphs.update(dict.fromkeys(filter(_is_english, _pieces(paragraph))))
        except (OSError, EOFError, zlib.error) as error:
            raise FetchError(f"{package} has not what it had ({error})") from None
        if len(paragraphs) == before:
            raise LimbeckError(f"no English was found in {package}: get {_BY_HAND}")
    return {"english.txt": "".join(f"{paragraph}\n" for paragraph in paragraphs).encode()}


def _sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    text = text.strip(" ;")
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _pieces(paragraph: str) -> Iterator[str]:
    """A paragraph in one line, cut between sentences where it is too long."""
    piece = ""
    for sentence in _SENTENCE_ENDS.split(" ".join(paragraph.split())):
        if piece and len(piece) + len(sentence) >= _LONGEST:
            yield piece
            piece = ""
        piece = f"{piece} {sentence}".strip()
    yield piece


def _is_english(text: str) -> bool:
    """Whether it is running text: some words, of letters above all, none of them endless."""
    if not _SHORTEST <= len(text) <= _LONGEST or text.count(" ") < 5:
        return False
    return len(_SIGNS.sub("", text)) >= 0.85 * len(text) and bool(_CHARACTERS.fullmatch(text))


_BY_HAND = "english.txt from another machine's cache"

ENGLISH = {
    "english": Public(
        kind="plain",
        files={"english.txt": "f063f34f90968813009c1c35b7cdb4ef487f482911f8642a8a65a6d476f7f79a"},
        origin=f"Debian ({', '.join(_PARSED)}, by apt-get)",
        by_hand=_BY_HAND,
        download=_download,
        unpacked=_unpacked,
        moves=True,
    )
}
