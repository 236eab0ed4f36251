"""What a run is and what came of it, as `limbeck inspect` shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.ensembles import member_disagreement, member_votes
from limbeck.errors import LimbeckError
from limbeck.familiarity import part_words
from limbeck.files import DamagedFileError, read_tensors
from limbeck.general_lines import HEAD as GENERAL_HEAD
from limbeck.general_lines import general_lines
from limbeck.models.saving import read_description
from limbeck.results.retention import MEANING, retention_lines
from limbeck.run_folder import RECIPE, SEED, RunFolder
from limbeck.terminal import plain_table

MOST_SPLIT = 10


def run_facts(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What a run is and, from its results, what came of it: facts by name, and tables by title."""
    run = RunFolder(path).run_json()
    facts = (
        {"seed": (path / RECIPE).read_text(errors="replace").partition("\n")[0].removeprefix(SEED)} if not run else {}
    )
    if run:
        facts = {"recipe": run["recipe"], "seed": str(run["seed"]), "command": run["command"]}
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        facts |= {name: key for name, key in run["parts"].items() if not name.startswith("knowledge/")}
        recorded = {key for name, key in run["parts"].items() if name.startswith("knowledge/")}
        facts["knowledge"] = f"{len(recorded)} artifact{'' if len(recorded) == 1 else 's'}"
    finished = RunFolder(path).is_finished()
    facts["state"] = "complete" if finished else "unfinished: the same command goes on"
    return facts, _tables(path) if run else {}


def _tables(path: Path) -> dict[str, str]:
    """What its teachers know of the transfer sets, how ensembles' members differ, and about which rows most."""
    results = RunFolder(path).results() or {}
    found: dict[str, str] = {}
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # results of another version
        if general := results.get("general"):
            found["distilled without a task"] = plain_table(GENERAL_HEAD, general_lines(general))
        if results.get("tasks"):
            found[MEANING] = plain_table(*retention_lines([results]))
        if parts := results.get("parts"):
            found["what the teachers know of the transfer sets"] = "\n".join(_sentences(parts))
        if ensembles := results.get("ensembles"):
            found["ensembles"] = _ensembles(ensembles)
            for name, facts in ensembles.items():
                if (table := _most_split(path, name, facts)) is not None:
                    found[f"test rows about which the members of {_short(name)} disagree most"] = table
    return found


def _sentences(parts: Sequence[dict[str, Any]]) -> list[str]:
    """One for each part; whose knowledge it is and of which transfer set, where there are several."""
    several = len({(facts["transfer"], facts["teacher"]) for facts in parts}) > 1
    said = (
        (f"{facts['transfer']}, by {_short(facts['teacher'])}: " if several else "") + part_words(facts["part"], facts)
        for facts in parts
    )
    return list(dict.fromkeys(said))


def _ensembles(ensembles: Mapping[str, Mapping[str, Any]]) -> str:
    head = ["ensemble", "members", "their errors", "mean", "ensemble's errors", "pairs differ", "divergence"]
    lines = [
        [
            _short(name),
            str(len(facts["members_errors"])),
            f"{facts['lowest']:,} to {facts['highest']:,}",
            f"{facts['mean_errors']:,.1f}",
            f"{facts['errors']:,}",
            f"{facts['pairwise_disagreement']:.1%}",
            f"{facts['divergence']:.3g} nats",
        ]
        for name, facts in ensembles.items()
    ]
    return plain_table(head, lines)


def _most_split(path: Path, name: str, facts: Mapping[str, Any]) -> str | None:
    """The test rows about which members' probabilities lie furthest apart, with each member's class.

    None where predictions are missing, or all members choose one class for every row.
    """
    run = RunFolder(path)
    try:
        said = [read_tensors(run.prediction(row))[0]["log_probs"] for row in facts["rows"]]
        own = read_tensors(run.prediction(name))[0]["log_probs"]
    except (OSError, DamagedFileError, KeyError):
        return None
    if len(said) < 2 or len(said) != len(facts["members_errors"]):
        return None
    split = np.flatnonzero(member_votes(said).max(axis=1) < len(said))
    if not len(split):
        return None
    apart = member_disagreement(said, facts.get("weights"), facts.get("mean") or "probabilities")
    shown = split[np.argsort(-apart[split], kind="stable")][:MOST_SPLIT]
    classes = _classes(path, name, own.shape[1])
    lines = [
        [
            f"row {row}",
            classes[own[row].argmax()],
            f"{apart[row]:.2f} nats",
            _votes([classes[member[row].argmax()] for member in said]),
        ]
        for row in shown.tolist()
    ]
    return plain_table(["row", "ensemble", "apart", "members, in their order"], lines)


def _votes(chosen: Sequence[str]) -> str:
    return (" " if max(map(len, chosen)) == 1 else ", ").join(chosen)


def _classes(path: Path, name: str, count: int) -> list[str]:
    """The names of the classes, which a model says; numbers where it cannot be read."""
    try:
        names = read_description(path / "models" / name)["classes"]
    except (LimbeckError, OSError):
        names = []
    return [str(one) for one in names] if len(names) == count else [str(number) for number in range(count)]


def _short(name: str) -> str:
    """A row's name without its role."""
    return name.partition("/")[2] or name
