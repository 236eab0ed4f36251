"""The folder of one run: what may be in it, what is written there, and how an old run is set aside."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.artifacts import DamagedFileError, hold, read_json, read_tensors, set_aside, write_bytes, write_json
from limbeck.errors import LimbeckError
from limbeck.evaluation import model_id

RECIPE, RUN, RESULTS, LOCK = "recipe.toml", "run.json", "results.json", ".lock"
SEED = "# seed = "


@dataclass(frozen=True)
class RunFolder:
    """A run's own folder; artifacts and the cache lie beside it."""

    path: Path

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def prediction(self, model_id: str) -> Path:
        """A model's log-probabilities on the test rows."""
        return self.path / "predictions" / f"{model_id}.safetensors"

    def check(self, recipe: str, seed: int, fresh: bool) -> None:
        """Refuse a folder that holds something else, or another recipe's or seed's run.

        Raises:
            LimbeckError: saying what is there.
        """
        if self.path.exists() and not self.path.is_dir():
            raise LimbeckError(f"{self.path} is a file: give --out a folder")
        names = sorted(filter(_is_content, self.path.iterdir())) if self.path.is_dir() else []
        if not names:
            return
        found = self._recipe()
        if not self.is_run():
            raise LimbeckError(
                f'{self.path} holds something else than a run ("{names[0].name}"): give --out a folder that is new or '
                "empty"
            )
        if not fresh and found != self._text(recipe, seed):
            what = "another seed" if _body(found) == recipe else "another recipe (or other settings)"
            raise LimbeckError(
                f"{self.path} holds a run of {what}{_difference(_body(found), recipe)}: give --out another folder, or "
                "--fresh to set that run aside"
            )

    def is_run(self) -> bool:
        """Whether the folder is a run's, begun or finished: a recipe that says its seed lies in it."""
        return self._recipe().startswith(SEED)

    def _recipe(self) -> str:
        path = self.path / RECIPE
        return path.read_text(errors="replace") if path.is_file() else ""

    def begin(self, recipe: str, seed: int) -> None:
        """Write the recipe as resolved, unless it is there."""
        if not (self.path / RECIPE).exists():
            write_bytes(self.path / RECIPE, self._text(recipe, seed).encode())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run alone.

        Raises:
            LimbeckError: if another process works on it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with hold(self.path / LOCK, f"{self.path} is being worked on"):
                yield
        except PermissionError as error:
            raise LimbeckError(f"{error.filename} cannot be written to: give --out a folder of your own") from None

    def set_aside(self) -> Path:
        """Rename an old run to DIR.old-N.

        Raises:
            LimbeckError: if another process works on it.
        """
        with self.held():
            return set_aside(self.path, "old")

    def is_finished(self) -> bool:
        """Whether all that a run writes is there."""
        return self.report.exists() and (self.path / RUN).exists() and self.results() is not None

    def damages(self) -> list[DamagedFileError]:
        """Everything that is wrong with the files of the run itself, each file named; empty if they are whole."""
        found = []
        for path in (self.path / RUN, self.path / RESULTS):
            try:
                read_json(path)
            except FileNotFoundError:
                pass
            except DamagedFileError as damage:
                found.append(damage)
        rows = (self.results() or {"models": []})["models"]
        shown = {self.prediction(model_id(row["role"], row["name"], row["variant"])) for row in rows}
        for path in sorted(shown | set((self.path / "predictions").rglob("*.safetensors"))):
            try:
                read_tensors(path)
            except FileNotFoundError:
                found.append(DamagedFileError(path, "it is missing"))
            except DamagedFileError as damage:
                found.append(damage)
        return found

    def results(self) -> dict[str, Any] | None:
        """What results.json says; None if there is none or it cannot be read."""
        try:
            found = read_json(self.path / RESULTS)
        except (FileNotFoundError, LimbeckError):
            return None
        return found if isinstance(found, dict) and isinstance(found.get("models"), list) else None

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write results.json."""
        write_json(self.path / RESULTS, results)

    def run_json(self) -> dict[str, Any]:
        """What run.json says."""
        value = read_json(self.path / RUN)
        return value if isinstance(value, dict) else {}

    def link_models(self, folders: Mapping[str, Path]) -> None:
        """Name the models: relative links into artifacts, copies where links fail."""
        for name, folder in folders.items():
            link = self.path / "models" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_symlink():
                link.unlink()
            elif link.exists():
                continue
            try:
                link.symlink_to(os.path.relpath(folder.resolve(), link.parent.resolve()), target_is_directory=True)
            except OSError:
                shutil.copytree(folder, link)

    def _text(self, recipe: str, seed: int) -> str:
        return f"{SEED}{seed}\n{recipe}"


def _body(text: str) -> str:
    return text.split("\n", 1)[1] if text.startswith(SEED) else text


def _difference(found: str, wanted: str) -> str:
    for there, here in zip(found.splitlines(), wanted.splitlines(), strict=False):
        if there != here:
            return f" ({there.strip()} there, {here.strip()} here)"
    return ""


def _is_content(path: Path) -> bool:
    # A run killed as it began leaves its lock, and perhaps the half-written beginning of its recipe.
    return path.name != LOCK and not (path.name.startswith(".") and path.name.endswith(".tmp"))
