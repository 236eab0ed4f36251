"""The test inputs on which the members of an ensemble disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.ensembles import member_disagreement, member_votes
from limbeck.report.disagreements import is_image, picture_uri
from limbeck.report.ensembles import Ensemble
from limbeck.report.texts import ShownText, TextOf, no_text

SHOWN, WITHOUT_PICTURES = 18, 10
PICTURE_BYTES = 90_000


@dataclass(frozen=True)
class Votes:
    """An input: its row, true class (None: unlabelled), what members say, what the ensemble does, its picture or text.

    otherwise: other means of the same members that choose another class, each with its class and whether it is right.
    """

    row: int
    truth: str | None
    said: tuple[tuple[str, int, bool], ...]
    chosen: str
    right: bool
    picture: str | None
    otherwise: tuple[tuple[str, str, bool], ...] = ()
    text: ShownText | None = None


@dataclass(frozen=True)
class SplitVotes:
    """Of one ensemble: how many members, for how many test rows they do not all choose one class, the worst cases."""

    label: str
    members: int
    total: int
    cases: tuple[Votes, ...]


def find_split_votes(
    ensemble: Ensemble,
    labels: np.ndarray,
    classes: Sequence[str],
    inputs: np.ndarray,
    others: Sequence[Ensemble] = (),
    text_of: TextOf = no_text,
) -> SplitVotes | None:
    """The rows about which members' probabilities lie furthest apart, of those for which they choose several classes.

    Args:
        ensemble: with predictions of every member.
        labels: shape (n,), −1 where there is none.
        classes: names, in order.
        inputs: shape (n, …); pictures if they are uint8 images.
        others: further means of the same members.
        text_of: a row's text.

    Returns:
        None where a member's predictions are missing, or there is only one member.
    """
    said = [member.log_probs for member in ensemble.members if member.log_probs is not None]
    own = ensemble.teacher.log_probs
    if own is None or len(said) < 2 or len(said) != ensemble.size:
        return None
    facts = ensemble.facts
    votes = member_votes(said)
    apart = member_disagreement(said, facts.get("weights") or None, facts.get("mean") or "probabilities")
    split = np.flatnonzero(votes.max(axis=1) < len(said))
    pictures = is_image(inputs)
    shown = split[np.argsort(-apart[split], kind="stable")][: SHOWN if pictures else WITHOUT_PICTURES]
    brightest = int(inputs[shown].max()) if pictures and len(shown) else 255
    budget = PICTURE_BYTES
    cases = []
    for row in shown.tolist():
        picture = picture_uri(inputs[row], brightest) if pictures else None
        budget -= len(picture or "")
        named = [c for c in np.argsort(-votes[row], kind="stable").tolist() if votes[row, c]]
        chosen = int(own[row].argmax())
        choices = [(one.label, int(one.teacher.log_probs[row].argmax())) for one in others
                   if one.teacher.log_probs is not None]  # fmt: skip
        cases.append(
            Votes(
                row,
                classes[labels[row]] if labels[row] >= 0 else None,
                tuple((classes[c], int(votes[row, c]), bool(c == labels[row])) for c in named),
                classes[chosen],
                bool(chosen == labels[row]),
                picture if budget >= 0 else None,
                tuple((name, classes[c], bool(c == labels[row])) for name, c in choices if c != chosen),
                text_of(row),
            )
        )
    return SplitVotes(ensemble.label, len(said), len(split), tuple(cases))
