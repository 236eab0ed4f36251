"""What a paper reports, beside what was measured here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from limbeck.metrics import gap_recovered
from limbeck.rows import HIGHER_IS_BETTER, fits, is_number, plain_value

if TYPE_CHECKING:
    from limbeck.recipe import Claim

Row = Mapping[str, Any]

SHARE = "share of the gap"
HEAD = ("claim", "shown", "paper", "goal", "here")


def measured(claims: Sequence[Claim], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each claim as results.json has it: text, what it shows, the paper's value, the goal, and the value here.

    Args:
        claims: of the recipe.
        rows: of results.json.
    """
    return [
        {
            "text": claim.text,
            "show": SHARE if claim.gap else claim.best or claim.show,
            "paper": claim.paper,
            "goal": claim.goal,
            "here": _value(claim, rows),
        }
        for claim in claims
    ]


def _value(claim: Claim, rows: Sequence[Row]) -> Any:
    if claim.best:
        known = [row for row in _fitting(claim.row, rows) if claim.best in row["variant"]]
        scored = [(value, row) for row in known if (value := shown(row, claim.show)) is not None]
        if not scored:
            return None
        sign = -1 if claim.show in HIGHER_IS_BETTER else 1
        return min(scored, key=lambda pair: sign * pair[0])[1]["variant"][claim.best]
    if claim.gap:
        ends = [_accuracy(selector, rows) for selector in (claim.row, *claim.gap)]
        return None if None in ends else gap_recovered(*(end for end in ends if end is not None))
    value = _shown(claim.row, claim.show, rows)
    if claim.minus is None or value is None:
        return value
    taken_off = _shown(claim.minus, claim.show, rows)
    return None if taken_off is None else value - taken_off


def _shown(selector: Mapping[str, Any], field: str, rows: Sequence[Row]) -> float | None:
    found = _fitting(selector, rows)
    return shown(found[0], field) if found else None


def _accuracy(selector: Mapping[str, Any], rows: Sequence[Row]) -> float | None:
    return _shown(selector, "accuracy", rows)


def _fitting(selector: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if fits(row["role"], row["name"], row["variant"], selector)]


def shown(row: Row, field: str) -> float | None:
    """A field of a row, or one of its metrics, if it is a number."""
    value = row.get(field, row["metrics"].get(field))
    return value if isinstance(value, int | float) else None


def claim_lines(runs: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """What `HEAD` is over: a line for each claim; of several runs, the median, the lowest and the highest.

    Args:
        runs: each run's claims, as results.json has them.
    """
    lines = []
    # Claims are words: runs that differ in them can be compared, by those of the first.
    by_words = [_by_words(run) for run in runs]
    for words, claim in by_words[0].items() if runs else ():
        show = str(claim["show"])
        written = _written(show, [run[words]["here"] if words in run else None for run in by_words])
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
    if show != SHARE and (not is_number(show) or any(isinstance(value, str) for value in values)):
        written = ", ".join(plain_value(value) for value in values)
    elif len(values) == 1:
        written = number(show, values[0])
    else:
        written = f"{number(show, median(values))} ({number(show, min(values))} to {number(show, max(values))})"
    return written if len(values) == len(of_runs) else f"{written}, in {len(values)} of {len(of_runs)} runs"


def number(field: str, value: float) -> str:
    """A value as its field is written: shares in per cent, counts whole, all else with three digits."""
    if field in (SHARE, "gap_recovered"):
        return f"{value:.0%}"
    if field in ("accuracy", "agreement"):
        return f"{value:.2%}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
