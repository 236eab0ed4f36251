"""Tables in plain text, for a terminal, a log or Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.general_lines import HEAD as GENERAL_HEAD
from limbeck.general_lines import general_lines
from limbeck.report.claims import HEAD, claim_lines
from limbeck.results.retention import MEANING, of_one_task, retention_lines, task_rows
from limbeck.rows import row_label


def plain_table(head: Sequence[str], body: Sequence[Sequence[str]], *, markdown: bool = False) -> str:
    """Columns as wide as their widest cell; the first two to the left, numbers to the right."""
    if markdown:
        cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *body)]
        rule = ["---" if column < 2 else "---:" for column in range(len(head))]
        return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    lines = []
    for row in (head, *body):
        padded = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def results_table(models: Sequence[dict[str, Any]]) -> str:
    """The rows of results.json as the table at the end of a run."""
    head = ["role", "model", "errors", "accuracy", "ece", "agrees", "parameters", "multiply-adds", "ms", "per second",
            "gap kept", "p", "verdict"]  # fmt: skip
    return plain_table(head, [_line(row) for row in models])


def claims_table(claims: Sequence[dict[str, Any]]) -> str:
    """What a paper reports beside what was measured, as the table at the end of a run."""
    return plain_table(HEAD, claim_lines([claims]))


def _line(row: dict[str, Any]) -> list[str]:
    def shown(name: str, form: str) -> str:
        return "–" if row[name] is None else format(row[name], form)

    return [
        row["role"],
        row_label(row),
        shown("errors", ",d"),
        shown("accuracy", ".2%"),
        shown("ece", ".4f"),
        shown("agreement", ".2%"),
        shown("parameters", ",d"),
        shown("multiply_adds", ",d"),
        shown("latency_ms", ".3f"),
        shown("examples_per_second", ",.0f"),
        shown("gap_recovered", ".0%"),
        shown("p_value", ".2g"),
        row["verdict"] or "–",
    ]


def tasks_tables(results: Mapping[str, Any]) -> list[str]:
    """Of a run over several tasks: what came of general distillation, and what is kept over all tasks."""
    tables = []
    if general := results.get("general"):
        tables.append(plain_table(GENERAL_HEAD, general_lines(general)))
    if results.get("tasks"):
        tables.append(f"{MEANING}\n{plain_table(*retention_lines([results]))}")
    return tables


def verdict_sentences(results: dict[str, Any], test_rows: int) -> list[str]:
    """What became of each student, a sentence each, as at the top of the report; of several tasks, for each of them."""
    if results.get("tasks") is None:
        return _sentences(results, test_rows)
    return [
        f"{task}: {sentence}"
        for task, rows in task_rows(results).items()
        for sentence in _sentences(of_one_task(results, task), rows)
    ]


def _sentences(results: dict[str, Any], test_rows: int) -> list[str]:
    from limbeck.report.models import families, read_models
    from limbeck.report.wording import describe

    found = [describe(family, test_rows) for family in families(read_models(results, {}, {}, test_rows, 0))]
    return [f"{one.finding}: {one.conclusion}. {one.cost}".strip().replace("\u00a0", " ") for one in found]
