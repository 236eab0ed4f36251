"""Numbers and findings in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.progress import duration
from limbeck.report.models import Family, Model

NOTHING = "–"


@dataclass(frozen=True)
class Finding:
    """What became of one student.

    finding and conclusion make one sentence, "…: …."; cost follows, empty where there is no teacher at hand.
    mood: helps | hurts | none (no difference) | open (nothing to compare with).
    """

    finding: str
    conclusion: str
    cost: str
    mood: str


def whole(value: float | None) -> str:
    """10000 -> 10,000."""
    return NOTHING if value is None else f"{round(value):,}"


def mean_text(count: float) -> str:
    """145.4 -> 145.4, 148.0 -> 148: the mean of counts, to a tenth."""
    return f"{count:,.1f}".removesuffix(".0")


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))


def significant(value: float | None, digits: int = 3) -> str:
    """0.012345 -> 0.0123, 1234.5 -> 1,234: that many significant digits, never an exponent."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")  # 9.996 has one digit more before the point once rounded
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{decimals}f}"


def scaled(value: float | None, unit: str = "", digits: int = 3) -> str:
    """118282 -> 118 k; with the unit "B": 118 kB."""
    units = ("", "k", "M", "G", "T")
    if value is None:
        return NOTHING
    step = 0
    while abs(value) >= 999.5 and step < len(units) - 1:
        value /= 1000
        step += 1
    number = f"{value:.0f}" if step == 0 and float(value).is_integer() else significant(value, digits)
    return f"{number} {units[step]}{unit}".rstrip()


def percent(fraction: float | None, decimals: int = 1) -> str:
    """0.98765 -> 98.8, without the sign."""
    return NOTHING if fraction is None else f"{100 * fraction:.{decimals}f}".replace("-", "−")


def time_taken(seconds: float | None) -> str:
    """125 -> 2 min 05 s."""
    return NOTHING if seconds is None else duration(seconds)


def p_value(p: float | None) -> str:
    """Three decimals, and as many as it takes not to round across 0.05."""
    if p is None:
        return NOTHING
    if p < 0.001:
        return "<\u00a00.001"
    rounded = f"{p:.3f}"
    return f"{p:.4f}" if rounded == "0.050" and p < 0.05 else rounded


def describe(family: Family, test_rows: int) -> Finding:
    """The verdict on a student in a sentence, and what it costs beside its teacher."""
    student, baseline = family.student, family.baseline
    teacher_name = student.row.get("teacher") or (family.teacher.name if family.teacher else None)
    taught = f" learnt from {teacher_name}" if teacher_name else ""
    errors = student.number("errors")
    if errors is None:
        return Finding(f"{student.name}{taught}", "its errors were not counted", "", "open")
    finding = f"{student.name}{taught} makes {_errors(errors)} in {whole(test_rows)}"
    cost = _cost(family)
    baseline_errors = baseline.number("errors") if baseline else None
    if baseline_errors is None:
        return Finding(finding, "there is no baseline to say whether distilling helped", cost, "open")
    p = student.number("p_value")
    finding += f"; the same model trained on labels alone makes {whole(baseline_errors)}"
    if p is not None:
        shown = p_value(p)
        finding += f" (p\u00a0{shown})" if shown.startswith("<") else f" (p\u00a0=\u00a0{shown})"
    verdict = student.row.get("verdict")
    if verdict in ("helps", "hurts"):
        return Finding(finding, f"distilling {verdict}", cost, str(verdict))
    if verdict is None:
        return Finding(finding, "no test was made", cost, "open")
    return Finding(finding, "no difference that this test set can show", cost, "none")


def _errors(count: float) -> str:
    return f"{whole(count)} error" + ("" if count == 1 else "s")


def _cost(family: Family) -> str:
    teacher, student = family.teacher, family.student
    if teacher is None:
        return ""
    parts = []
    for field, less, more, same in (
        ("multiply_adds", "fewer multiply-adds", "more multiply-adds", "as many multiply-adds"),
        ("bytes", "smaller", "larger", "as large"),
        ("latency_ms", "faster", "slower", "as fast"),
    ):
        ours, theirs = student.number(field), teacher.number(field)
        if ours and theirs:
            parts.append(_times(theirs / ours, less, more, same))
    sentences = [f"Beside its teacher: {', '.join(parts)}."] if parts else []
    gap = student.number("gap_recovered")
    if gap is not None and gap > 1:
        sentences.append("It is more accurate than its teacher.")
    elif gap is not None and student.row.get("verdict") == "helps":
        sentences.append(f"It recovers {percent(gap, 0)}% of the gap between labels alone and the teacher.")
    elif gap is None and (why := _without_gap(teacher, family.baseline)) is not None:
        sentences.append(f"The teacher itself is {why} labels alone: there is no gap to recover.")
    return " ".join(sentences)


def _without_gap(teacher: Model, baseline: Model | None) -> str | None:
    theirs, labels_alone = teacher.number("accuracy"), baseline.number("accuracy") if baseline else None
    if theirs is None or labels_alone is None or theirs > labels_alone:
        return None
    return "no better than" if theirs == labels_alone else "worse than"


def _times(ratio: float, less: str, more: str, same: str) -> str:
    if 0.95 < ratio < 1.05:
        return same
    factor = max(ratio, 1 / ratio)
    return f"{significant(factor, 2)} times {less if ratio > 1 else more}"
