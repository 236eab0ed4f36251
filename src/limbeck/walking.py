"""The commands that walk the road: from what was typed to what is printed at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from limbeck.progress import Progress


def walk(
    recipe: str,
    until: str,
    *,
    out: Path | None,
    sets: Sequence[str] | None,
    seed: int,
    device: str,
    dry_run: bool,
    fresh: bool = False,
) -> None:
    """Walk the road as far as a stage, with progress on stderr, and print what came out, or what would be done.

    Args:
        recipe: a bundled recipe's name, or the path of a TOML file.
        until: the stage, as `limbeck.run` has it; the other arguments likewise.
        out: the run's folder.
        sets: changes to the recipe.
        seed: of the run.
        device: where networks are trained and asked.
        dry_run: say what would be done, and do nothing.
        fresh: set the old run aside.
    """
    from limbeck.recipe import load_recipe

    load_recipe(recipe, sets or [])  # a slip in the recipe shows before torch is loaded
    from limbeck.devices import using_device
    from limbeck.road import Road

    with using_device(device), _progress() as progress:
        road = Road.open(recipe, out, seed=seed, sets=sets or [], fresh=fresh, progress=progress)
        if dry_run:
            from limbeck.dry_run import describe_plan

            typer.echo(describe_plan(road, until))
            return
        results = road.walk(until)
    _show(results, road.folder.path, until, len(road.split.test))


def _show(results: dict[str, Any], path: Path, until: str, test_rows: int) -> None:
    if "models" not in results:
        typer.echo(f"done as far as {until}: {path}")
        return
    from limbeck.terminal import claims_table, results_table, tasks_tables, verdict_sentences

    typer.echo(results_table(results["models"]))
    for table in tasks_tables(results):
        typer.echo(f"\n{table}")
    if claims := results.get("claims"):
        typer.echo(f"\n{claims_table(claims)}\n")
    for sentence in verdict_sentences(results, test_rows):
        typer.echo(sentence)
    if (path / "report.html").exists():
        typer.echo(f"report: {path / 'report.html'}")


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    from limbeck.progress import Bar, Interruptible, Lines

    progress = Bar(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)
    try:
        with Interruptible(progress).heeding() as heeded:
            yield heeded
    finally:
        if isinstance(progress, Bar):
            progress.stop()
