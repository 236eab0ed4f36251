"""Public texts with labels: three sets of snippets rated by people (from PyPI), and WordNet's glosses (from Debian).

The snippets are those of Hutto and Gilbert, VADER: a parsimonious rule-based model for sentiment analysis of social
media text (ICWSM 2014), as the source archive of vaderSentiment has them (MIT licence): each with the mean rating of
twenty people from −4 to 4. Glosses: WordNet 3.0 (Fellbaum 1998), as Debian has it.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from limbeck.data.fetch_clients import by_apt, by_pip, of_tar, only
from limbeck.data.public import Public
from limbeck.data.texts import wording
from limbeck.errors import LimbeckError

_SOURCE = "vaderSentiment==3.3.2"
_SOURCE_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_ARCHIVE = "the source archive vaderSentiment-3.3.2.tar.gz from PyPI"
_SNIPPETS = "hutto_ICWSM_2014"
_NOUNS = "usr/share/wordnet/data.noun from Debian's package wordnet-base (1:3.0-37)"

LEXICOGRAPHER_FILES = (
    *("act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling", "food"),
    *("group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process", "quantity"),
    *("relation", "shape", "state", "substance", "time"),
)
"""WordNet's files of nouns numbered 4 to 28 (lexnames(5WN)). File 3, "Tops", is left out: its 51 nouns are the
beginnings of the other 25."""


def _download_source(folder: Path) -> Path:
    return by_pip(_SOURCE, folder, source_sha256=_SOURCE_SHA256)


def _snippets(name: str, member: str, file: Path) -> dict[str, bytes]:
    """Snippets whose mean rating is not zero, each wording once; `id` is the line in the published file."""
    archive = of_tar(file, f"vaderSentiment-3.3.2/additional_resources/{_SNIPPETS}.tar.gz", file.name, _ARCHIVE)
    content = of_tar(archive, f"{_SNIPPETS}/{member}_GroundTruth.txt", file.name, _ARCHIVE)
    rows, seen = [], set[str]()
    try:
        for number, line in enumerate(content.decode().split("\r\n"), 1):
            if not line.strip():
                continue
            _, rating, given = line.split("\t")
            text, label = html.unescape(given).strip(), "positive" if float(rating) > 0 else "negative"
            if float(rating) and wording(text) not in seen:  # a test row that is also a training row would be known
                seen.add(wording(text))
                rows.append({"id": number, "text": text, "label": label, "rating": float(rating)})
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise LimbeckError(f"{file.name} has other snippets in it ({reason}): get {_ARCHIVE}") from None
    return {f"{name}.jsonl": _json_lines(rows)}


def _download_nouns(folder: Path) -> Path:
    return only(by_apt("wordnet-base", folder), "**/data.noun", "wordnet-base")


def _glosses(file: Path) -> dict[str, bytes]:
    """Nouns' definitions, without examples, and their lexicographer files.

    A definition that comes again in its file is kept once, and one that several files have not at all.
    """
    found: dict[str, tuple[str, str]] = {}
    several: set[str] = set()
    try:
        for line in file.read_text("utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            data, _, gloss = line.partition(" | ")
            fields = data.split(" ")
            number, word = int(fields[1]), fields[4].replace("_", " ")
            definition = definition_of(gloss)
            if number == 3 or not definition:
                continue
            label = f"noun.{LEXICOGRAPHER_FILES[number - 4]}"
            if found.setdefault(definition, (label, word))[0] != label:
                several.add(definition)
    except (ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:120]
        raise LimbeckError(f"{file.name} is not WordNet's file of nouns ({reason}): get {_NOUNS}") from None
    kept = [(text, label, word) for text, (label, word) in found.items() if text not in several]
    rows = [
        {"id": number, "text": text, "label": label, "word": word} for number, (text, label, word) in enumerate(kept)
    ]
    return {"glosses.jsonl": _json_lines(rows)}


def definition_of(gloss: str) -> str:
    """A gloss of WordNet's without its examples, which stand in double quotes behind it."""
    definition, _, _ = gloss.strip().partition('; "')
    return "" if definition.startswith('"') else definition.strip(" ;")


def _json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _rated(name: str, member: str, sha256: str) -> Public:
    unpacked: Callable[[Path], dict[str, bytes]] = partial(_snippets, name, member)
    return Public(
        kind="texts",
        files={f"{name}.jsonl": sha256},
        origin=f"PyPI ({_SOURCE}, by pip)",
        by_hand=_ARCHIVE,
        download=_download_source,
        unpacked=unpacked,
    )


TEXTS = {
    "reviews": _rated(
        "reviews", "movieReviewSnippets", "48bb635aa1c42713db739e9bc47866d906ada49099ba7effc5c320d2425cd75a"
    ),
    "tweets": _rated("tweets", "tweets", "43d269331d4d46e946024cb7c632ed14c9e7affea148af0ee67d5f814d648f0c"),
    "products": _rated(
        "products", "amazonReviewSnippets", "5e995281b037d19cf28570a059ea9ed027421ea141d5da2ec9ed052a8040668c"
    ),
    "glosses": Public(
        kind="texts",
        files={"glosses.jsonl": "1b7c605ace9516a35ff6297a03fe8c92dd196e509f3a313848fa97667f47c759"},
        origin="Debian (wordnet-base, by apt-get)",
        by_hand=_NOUNS,
        download=_download_nouns,
        unpacked=_glosses,
    ),
}
