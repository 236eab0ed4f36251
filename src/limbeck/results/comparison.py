"""Runs or seeds of one recipe beside each other: the median and the spread of every row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from limbeck.errors import LimbeckError
from limbeck.report.claims import HEAD, claim_lines
from limbeck.results.retention import MEANING, retention_lines
from limbeck.rows import row_label
from limbeck.terminal import plain_table


class _Form(BaseModel):
    model_config = ConfigDict(strict=True)


class _Numbers(_Form):
    errors: float | None
    accuracy: float | None
    nll: float | None
    ece: float | None
    agreement: float | None
    gap_recovered: float | None
    p_value: float | None


# No times: those of several runs are of several moments; benchmarks/ has speed as ratios within one run.
COLUMNS = (*_Numbers.model_fields, "auc")


class _Row(_Numbers):
    role: str
    name: str
    variant: dict[str, Any]
    chosen: dict[str, Any] | None = None
    verdict: str | None


_Fraction = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)]


class _Claim(_Form):
    text: str
    show: str
    paper: float | str | None
    goal: str | None
    here: Any
    fraction: _Fraction | None = None
    resampled: Annotated[list[_Fraction], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _both(self) -> _Claim:
        if (self.fraction is None) != (self.resampled is None):
            raise ValueError("a fraction and its resampled values come together")
        return self


_Share = Annotated[float, Field(allow_inf_nan=False)]


class _Kept(_Form):
    role: str
    name: str
    variant: dict[str, Any]
    by_task: dict[str, _Share]
    macro: _Share
    share: _Share | None


class _Tasks(_Form):
    test_rows: dict[str, int] = Field(min_length=1)
    models: list[_Kept]


class _Results(_Form):
    """As much of results.json as a comparison needs."""

    recipe: str
    seed: int
    settings: str
    models: list[_Row] = Field(min_length=1)
    claims: list[_Claim] = []
    tasks: _Tasks | None = None


def read_results(path: Path) -> dict[str, Any]:
    """The results of a run's folder, or of a results.json file.

    Raises:
        LimbeckError: if there are none.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_bytes())
        _Results.model_validate(found)
    except FileNotFoundError:
        raise LimbeckError(f"{file}: no such file: finish the run first, or give a run's folder") from None
    except IsADirectoryError:
        raise LimbeckError(f"{file} is a folder: give a run's folder, or its results.json") from None
    except ValueError:  # not JSON in UTF-8, or of another form
        raise LimbeckError(f"{file} does not hold a run's results: give a run's folder") from None
    return dict(found)


def comparison_table(runs: Sequence[Path], *, markdown: bool = False) -> str:
    """A row for each model with the median over the runs and, of several, the lowest and highest; then the claims.

    Args:
        runs: folders of runs, or results.json files, of one recipe.
        markdown: as a Markdown table.

    Raises:
        LimbeckError: if they are of different recipes, settings or data, of one seed twice, or have different rows.
    """
    results = [read_results(path) for path in runs]
    recipes = {found["recipe"] for found in results}
    if len(recipes) > 1:
        raise LimbeckError(f"these are runs of different recipes ({', '.join(sorted(recipes))}): compare runs of one")
    for number, (path, found) in enumerate(zip(runs, results, strict=True)):
        if found["settings"] != results[0]["settings"]:
            raise LimbeckError(
                f"{path} was made with other settings than {runs[0]} (their recipe.toml differ): compare runs that "
                "differ in seed alone"
            )
        if None not in (digests := [one.get("rows") for one in (found, results[0])]) and digests[0] != digests[1]:
            raise LimbeckError(
                f"{path} was made with other rows or labels than {runs[0]}: compare runs on the same data"
            )
        seeds_before = [before["seed"] for before in results[:number]]
        if found["seed"] in seeds_before:
            twice = runs[seeds_before.index(found["seed"])]
            raise LimbeckError(f"{path} and {twice} both have seed {found['seed']}: compare runs of different seeds")
    rows = [[_row_id(row) for row in found["models"]] for found in results]
    for path, ids in zip(runs, rows, strict=True):
        if ids != rows[0]:
            odd = sorted(set(ids) ^ set(rows[0])) or ["their order"]
            raise LimbeckError(f"{path} has other rows than {runs[0]} ({odd[0]}): compare runs of one recipe")
    seeds = ", ".join(str(found["seed"]) for found in results)
    shown = [
        name for name in COLUMNS if any(_value(row, name) is not None for each in results for row in each["models"])
    ]
    head = ["role", "model", *(name.replace("_", " ") for name in shown), "verdict"]
    body = []
    for index, first in enumerate(results[0]["models"]):
        same = [found["models"][index] for found in results]
        verdicts = [row["verdict"] for row in same if row["verdict"]]
        cells = [_spread([_value(row, name) for row in same], name) for name in shown]
        counted = ", ".join(f"{verdicts.count(v)} × {v}" for v in dict.fromkeys(verdicts))
        body.append([first["role"], _label(same), *cells, counted if len(same) > 1 else "".join(verdicts)])
    of = "median (lowest to highest)" if len(results) > 1 else "one run"
    caption = (
        f"{results[0]['recipe']}, seeds {seeds}: {of}" if len(results) > 1 else f"{results[0]['recipe']}, seed {seeds}"
    )
    tables = [plain_table(head, body, markdown=markdown)]
    if of_tasks := [found for found in results if found.get("tasks")]:
        tables.append(f"{MEANING}\n\n{plain_table(*retention_lines(of_tasks), markdown=markdown)}")
    if claims := claim_lines([found.get("claims", []) for found in results]):
        tables.append(plain_table(HEAD, claims, markdown=markdown))
    return "\n\n".join([caption, *tables])


def _value(row: dict[str, Any], name: str) -> float | None:
    """A number of a row; the area under the curve is among those by name."""
    found: float | None = (row.get("metrics") or {}).get(name) if name == "auc" else row[name]
    return found


def _row_id(row: dict[str, Any]) -> str:
    # A setting chosen on validation rows may differ from seed to seed, and which keys its row has with it.
    chosen = {path.rpartition(".")[2] for path in row.get("chosen") or {}}
    hang_on = {"temperature", "loss", "targets"} if chosen & {"loss", "targets", "soft"} else set()
    return f"{row['role']} {row['name']} {sorted(set(row['variant']) - chosen - hang_on)}"


def _label(rows: Sequence[dict[str, Any]]) -> str:
    # A setting chosen on validation rows is shown with every value that some seed has.
    return " / ".join(dict.fromkeys(row_label(row) for row in rows))


def _spread(values: Sequence[float | None], name: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    of_all = "" if len(known) == len(values) else f" in {len(known)} of {len(values)}"
    if len(known) == 1:
        return f"{_number(known[0], name)}{of_all}"
    return f"{_number(median(known), name)} ({_number(min(known), name)} to {_number(max(known), name)}){of_all}"


def _number(value: float, name: str) -> str:
    if name in ("accuracy", "agreement"):
        return f"{value:.2%}"
    if name == "errors":
        return f"{value:g}"
    if name == "auc":
        return f"{value:.5f}"
    if name == "gap_recovered":
        return f"{value:.0%}"
    return f"{value:.3g}"
