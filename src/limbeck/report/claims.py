"""What a paper reports, beside what was measured here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from limbeck.metrics import gap_recovered
from limbeck.recipe.task import TASK
from limbeck.report.resampling import interval, pooled, resampled_correct
from limbeck.rows import HIGHER_IS_BETTER, fits, is_number, plain_value, row_id

if TYPE_CHECKING:
    from limbeck.recipe import Claim

Row = Mapping[str, Any]

SHARE = "share of the gap"
RATIO = " ratio"
"""How what is shown ends where it is divided by another row's."""
HEAD = ("claim", "shown", "paper", "goal", "here")
_DIGITS = 6  # that are kept of a resampled number


def measured(
    claims: Sequence[Claim], rows: Sequence[Row], correct: Mapping[str, npt.NDArray[np.bool_]] | None = None
) -> list[dict[str, Any]]:
    """Each claim as results.json has it: text, what it shows, the paper's value, the goal, and the value here.

    Shares of a gap, ratios of accuracies and differences of errors or accuracies also have what an interval needs:
    `fraction`, [gained, gap] or both accuracies, or [difference, 1], and `resampled`, the same for each of a fixed
    number of draws of the test rows; where rows are of several tasks, of those of each.

    Args:
        claims: of the recipe.
        rows: of results.json.
        correct: row id -> shape (test rows,), whether the row's model is right; rows may be missing.
    """
    drawn = _drawn(claims, rows, correct or {})
    return [
        {
            "text": claim.text,
            "show": SHARE if claim.gap else f"{claim.show}{RATIO}" if claim.over else claim.best or claim.show,
            "paper": claim.paper,
            "goal": claim.goal,
            "here": _value(claim, rows),
            **_resampled(claim, rows, drawn),
        }
        for claim in claims
    ]


def _has_interval(claim: Claim) -> bool:
    if claim.over is not None:
        return claim.show == "accuracy"
    return claim.gap is not None or (claim.minus is not None and claim.show in ("errors", "accuracy"))


@dataclass(frozen=True)
class _Drawn:
    """How often a row's model is right, on the test rows as they are and in each replicate, and of how many."""

    right: npt.NDArray[np.float64]
    test_rows: int

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        return self.right / self.test_rows

    @property
    def errors(self) -> npt.NDArray[np.float64]:
        return self.test_rows - self.right


def _drawn(
    claims: Sequence[Claim], rows: Sequence[Row], correct: Mapping[str, npt.NDArray[np.bool_]]
) -> dict[str, _Drawn]:
    """Of each row that an interval needs: how often it is right."""
    taken = [
        row for claim in claims if _has_interval(claim) for key in claim.selectors for row in _taken(claim, key, rows)
    ]
    found: dict[str, _Drawn] = {}
    for stream, task in enumerate(dict.fromkeys(row["variant"].get(TASK) for row in rows)):
        of_task = [row_id(row) for row in taken if row["variant"].get(TASK) == task]
        ids = [name for name in dict.fromkeys(of_task) if name in correct]
        if ids:
            counts = resampled_correct(np.stack([correct[name] for name in ids]), stream)
            found |= {name: _Drawn(right, len(correct[name])) for name, right in zip(ids, counts, strict=True)}
    return found


def _resampled(claim: Claim, rows: Sequence[Row], drawn: Mapping[str, _Drawn]) -> dict[str, Any]:
    """`fraction` and `resampled` of a claim that has an interval, where all its rows were asked."""
    if not _has_interval(claim):
        return {}
    counts_errors = claim.minus is not None and claim.show == "errors"
    means = []
    for key in claim.selectors:
        ids = [row_id(row) for row in _taken(claim, key, rows)]
        if not ids or not all(name in drawn for name in ids):
            return {}
        means.append(np.mean([drawn[name].errors if counts_errors else drawn[name].accuracy for name in ids], axis=0))
    if claim.gap:
        here, first, second = means
        fractions = np.stack([here - first, second - first], axis=1)
    elif claim.over:
        fractions = np.stack(means, axis=1)
    else:
        fractions = np.stack([means[0] - means[1], np.ones_like(means[0])], axis=1)
    pairs = [[round(value, _DIGITS) + 0.0 for value in pair] for pair in fractions.tolist()]  # no -0.0
    return {"fraction": pairs[0], "resampled": pairs[1:]}


def _value(claim: Claim, rows: Sequence[Row]) -> Any:
    if claim.best:
        known = [row for row in _fitting(claim.row, rows) if claim.best in row["variant"]]
        scored = [(value, row) for row in known if (value := shown(row, claim.show)) is not None]
        if not scored:
            return None
        sign = -1 if claim.show in HIGHER_IS_BETTER else 1
        return min(scored, key=lambda pair: sign * pair[0])[1]["variant"][claim.best]
    if claim.gap:
        ends = [_shown(claim, key, "accuracy", rows) for key in claim.selectors]
        return None if None in ends else gap_recovered(*(end for end in ends if end is not None))
    value = _shown(claim, "row", claim.show, rows)
    if claim.over is not None:
        below = _shown(claim, "over", claim.show, rows)
        return None if value is None or not below else value / below
    if claim.minus is None or value is None:
        return value
    taken_off = _shown(claim, "minus", claim.show, rows)
    return None if taken_off is None else value - taken_off


def _shown(claim: Claim, key: str, field: str, rows: Sequence[Row]) -> float | None:
    """A number of the row that a claim has at a key; the mean of several, where it averages."""
    values = [shown(row, field) for row in _taken(claim, key, rows)]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return known[0] if len(known) == 1 else fmean(known)


def _taken(claim: Claim, key: str, rows: Sequence[Row]) -> list[Row]:
    """The rows that a claim is about at a key: the first that fits, or all where it averages."""
    found = _fitting(claim.selectors[key], rows)
    return found if claim.averages(key) else found[:1]


def _fitting(selector: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if fits(row["role"], row["name"], row["variant"], selector)]


def shown(row: Row, field: str) -> float | None:
    """A field of a row, or one of its metrics, if it is a number."""
    value = row.get(field, row["metrics"].get(field))
    return value if isinstance(value, int | float) else None


def claim_lines(runs: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """What `HEAD` is over: a line for each claim; of several runs, the median, the lowest and the highest.

    With what was kept for it, a 95% interval follows: of one run over test rows; of several over test rows and seeds,
    around the value of all of them together, for a share the sum of what was gained over the sum of the gaps.

    Args:
        runs: each run's claims, as results.json has them.
    """
    lines = []
    # Claims are words: runs that differ in them can be compared, by those of the first.
    by_words = [_by_words(run) for run in runs]
    for words, claim in by_words[0].items() if runs else ():
        show = str(claim["show"])
        written = _written(show, [run[words]["here"] if words in run else None for run in by_words])
        written += _interval(show, [run[words] for run in by_words if words in run])
        paper = claim["paper"]
        given = "–" if paper is None else paper if isinstance(paper, str) else number(show, paper)
        lines.append([str(claim["text"]), show.replace("_", " "), given, claim["goal"] or "–", written])
    return lines


def _by_words(run: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """A run's claims by text, what they show, and how often both came before."""
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for claim in run:
        words = str(claim["text"]), str(claim["show"])
        found[*words, seen[words]] = claim
        seen[words] += 1
    return found


def _written(show: str, of_runs: Sequence[Any]) -> str:
    """Median, lowest and highest of a number; a setting that was best in each run, as those runs have it."""
    values = [value for value in of_runs if value is not None]
    if not values:
        return "–"
    # A loss is a number of linear nets, and a setting of students.
    if (
        show != SHARE
        and not show.endswith(RATIO)
        and (not is_number(show) or any(isinstance(value, str) for value in values))
    ):
        written = ", ".join(plain_value(value) for value in values)
    elif len(values) == 1:
        written = number(show, values[0])
    else:
        written = f"{number(show, median(values))} ({number(show, min(values))} to {number(show, max(values))})"
    return written if len(values) == len(of_runs) else f"{written}, in {len(values)} of {len(of_runs)} runs"


def _interval(show: str, claims: Sequence[Mapping[str, Any]]) -> str:
    """What follows a value: nothing, if some run did not keep what an interval needs."""
    if not all(claim.get("resampled") for claim in claims):
        return ""
    lower, upper = interval([claim["resampled"] for claim in claims])
    ends = [number(show, end) for end in (lower, upper) if abs(end) < inf]
    if not ends:
        shown_ends = "any share"
    else:
        shown_ends = " to ".join(ends) if len(ends) == 2 else f"{ends[0]} or {'more' if upper == inf else 'less'}"
    if len(claims) == 1:
        return f", 95% over test rows: {shown_ends}"
    whole = pooled([claim["fraction"] for claim in claims])
    together = "no gap" if whole is None else number(show, whole)
    return f"; all seeds together {together}, 95% over test rows and seeds: {shown_ends}"


def number(field: str, value: float) -> str:
    """A value as its field is written: shares in per cent, counts whole, all else with three digits."""
    if field in (SHARE, "gap_recovered"):
        return f"{value:.0%}"
    if field.endswith(RATIO):
        return f"{value:.1%}" if field.startswith("accuracy") else f"{value:.2f} times"
    if field in ("accuracy", "agreement"):
        return f"{value:.2%}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
