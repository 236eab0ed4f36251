"""The folder of one run: what may be in it, what is written there, and how an old run is set aside."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.artifacts import SUMS, ArtifactStore, damages, free_name, hold, write_sums
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, read_json, read_tensors, write_bytes, write_json
from limbeck.recipe import Recipe, dump_recipe, first_difference, parse_recipe, settings_key
from limbeck.rows import kinds_of, row_id

RECIPE, RUN, RESULTS, REPORT = "recipe.toml", "run.json", "results.json", "report.html"
LOCK, FRESH = ".lock", ".fresh"
ARTIFACTS = "artifacts"
SEED = "# seed = "


def place_of(model: Path) -> tuple[Path, str] | None:
    """The run in whose models/ROLE/ROW a model's folder lies, and ROLE/ROW; None if in none.

    It goes by the path as it was given: what models/ROLE/ROW links to is an artifact, which says nothing of the run.
    """
    path = Path(os.path.abspath(model))  # noqa: PTH100  # links are not followed
    if len(path.parents) < 3 or path.parents[1].name != "models":
        return None
    return path.parents[2], f"{path.parent.name}/{path.name}"


@dataclass(frozen=True)
class RunFolder:
    """A run's own folder; artifacts and the cache lie beside it."""

    path: Path

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / REPORT

    def page(self, task: str) -> Path:
        """The page of one of several tasks."""
        return self.path / f"report-{task}.html"

    def prediction(self, model_id: str) -> Path:
        """A model's log-probabilities on the test rows."""
        return self.path / "predictions" / f"{model_id}.safetensors"

    def check(self, recipe: Recipe, seed: int, fresh: bool) -> None:
        """Refuse a folder that holds something else, or another recipe's or seed's run.

        Raises:
            LimbeckError: saying what is there.
        """
        if self.path.exists() and not self.path.is_dir():
            raise LimbeckError(f"{self.path} is a file: give --out a folder")
        names = sorted(filter(_is_content, self.path.iterdir())) if self.path.is_dir() else []
        if not names:
            return
        if not self.is_run():
            raise LimbeckError(
                f'{self.path} holds something else than a run ("{names[0].name}"): give --out a folder that is new or '
                "empty"
            )
        if not fresh and (difference := self._difference(recipe, seed)) is not None:
            raise LimbeckError(
                f"{self.path} holds a run of {difference}: give --out another folder, or --fresh to set that run aside"
            )

    def is_run(self) -> bool:
        """Whether the folder is a run's, begun or finished: its recipe says a seed, or run.json is one."""
        return self._text().startswith(SEED) or "parts" in self.run_json()

    def _text(self) -> str:
        path = self.path / RECIPE
        return path.read_text(errors="replace") if path.is_file() else ""

    def _recipe(self) -> Recipe | None:
        """The recipe that lies here, as it is read today: a setting newer than the run has its default."""
        try:
            return parse_recipe(tomllib.loads(self._text()), str(self.path / RECIPE))
        except (ValueError, LimbeckError):
            return None

    def _difference(self, recipe: Recipe, seed: int) -> str | None:
        """What the run that is there is of, unless it is this recipe's and seed's."""
        found, run = self._recipe(), self.run_json()
        if found is None:
            same = (run.get("settings"), run.get("seed")) == (settings_key(recipe), seed)
            return None if same else f"another recipe ({self.path / RECIPE} cannot be read)"
        if (where := first_difference(found, recipe)) is not None:
            return f"another recipe, or other settings ({where})"
        first = self._text().partition("\n")[0]
        return None if first == f"{SEED}{seed}" else f"another seed ({first.removeprefix(SEED)}, not {seed})"

    def says(self, recipe: Recipe) -> bool:
        """Whether the recipe that lies here has these words, too: title, claims."""
        return self._recipe() == recipe

    def begin(self, recipe: Recipe, seed: int) -> None:
        """Write the recipe as resolved, unless it is there word for word."""
        if not self.says(recipe):
            self.reopen()
            write_bytes(self.path / RECIPE, f"{SEED}{seed}\n{dump_recipe(recipe)}".encode())

    def fresh_is_under_way(self, recipe: Recipe, seed: int) -> bool:
        """Whether a fresh run of this recipe and seed was begun here and not finished: --fresh then goes on with it."""
        return (self.path / FRESH).exists() and not self.is_sealed() and self._difference(recipe, seed) is None

    def begin_fresh(self) -> None:
        """Mark the run as a fresh one, until it is finished."""
        write_bytes(self.path / FRESH, b"")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run alone.

        Raises:
            LimbeckError: if another process works on it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / LOCK).open("a").close()
        except PermissionError as error:
            raise LimbeckError(f"{error.filename} cannot be written to: give --out a folder of your own") from None
        with hold(self.path / LOCK, f"{self.path} is being worked on"):
            yield

    def take_in(self, store: ArtifactStore, parts: Mapping[str, str]) -> None:
        """Move a run's artifacts from beside it into it, its models' links with them.

        Args:
            store: where they lie.
            parts: their keys by name, as run.json has them.

        Raises:
            LimbeckError: if another run beside it needs one of them; nothing is moved then.
        """
        keys = set(parts.values())
        for other in self.siblings():
            if shared := keys & set(other.run_json().get("parts", {}).values()):
                raise LimbeckError(
                    f"{self.path} cannot be set aside with its artifacts: {other.path} shares {min(shared)[:12]} with "
                    "it; give --out a folder elsewhere, or move that run away first"
                )
        own = self.path / ARTIFACTS
        for key in sorted(keys):
            store.move_out(key, own)
        places = {name: [own / kind / key for kind in kinds_of(name)] for name, key in parts.items()}
        moved = {
            name: next((place for place in found if place.is_dir()), found[0])
            for name, found in places.items()
            if kinds_of(name) != ("knowledge",)
        }
        shown = [name for name in moved if os.path.lexists(self.path / "models" / name)]
        self.link_models({name: moved[name] for name in shown if moved[name].is_dir()})

    def set_aside(self) -> Path:
        """Rename an old run, which the caller holds, to DIR.old-N."""
        aside = free_name(self.path, "old")
        self.path.rename(aside)
        return aside

    def siblings(self) -> list[RunFolder]:
        """The other runs that share this one's artifacts."""
        here = self.path.resolve()
        folders = (RunFolder(path) for path in sorted(here.parent.iterdir()) if path.is_dir() and path != here)
        return [folder for folder in folders if folder.is_run() and not _is_old(folder.path)]

    def is_sealed(self) -> bool:
        """Whether the run was finished; `damages` says whether it is still whole."""
        return (self.path / SUMS).exists()

    def is_finished(self) -> bool:
        """Whether all that a run writes is there and whole."""
        return self.is_sealed() and not self.damages()

    def reopen(self) -> None:
        """Say that the run's files are about to change: until `seal` it is unfinished."""
        (self.path / SUMS).unlink(missing_ok=True)

    def seal(self, pages: Sequence[str] = ()) -> None:
        """Say that the run is finished, with the digests of its files.

        Args:
            pages: beside the report, those of its tasks.
        """
        write_sums(self.path, (RECIPE, RUN, RESULTS, REPORT, *pages))
        (self.path / FRESH).unlink(missing_ok=True)

    def damages(self) -> list[DamagedFileError]:
        """Everything that is wrong with the files of the run itself, each file named; empty if they are whole."""
        found = damages(self.path) if self.is_sealed() else []
        named = {damage.path for damage in found}
        for path in (self.path / RUN, self.path / RESULTS):
            try:
                read_json(path)
            except FileNotFoundError:
                pass
            except DamagedFileError as damage:
                found += [] if path in named else [damage]
        rows = (self.results() or {"models": []})["models"]
        for name in [row_id(row) for row in rows if row.get("accuracy", 0) is not None]:
            path = self.prediction(name)
            try:
                read_tensors(path)
            except FileNotFoundError:
                found.append(DamagedFileError(path, "it is missing"))
            except DamagedFileError as damage:
                found.append(damage)
            link = self.path / "models" / name
            if not os.path.lexists(link):
                found.append(DamagedFileError(link, "it is missing"))
        return found

    def results(self) -> dict[str, Any] | None:
        """What results.json says; None if there is none or it cannot be read."""
        try:
            found = read_json(self.path / RESULTS)
            for row in found["models"]:
                row_id(row)
        except (FileNotFoundError, LimbeckError, KeyError, TypeError, AttributeError):
            return None
        return dict(found)

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write results.json."""
        write_json(self.path / RESULTS, results)

    def run_json(self) -> dict[str, Any]:
        """What run.json says; nothing if there is none or it cannot be read."""
        try:
            value = read_json(self.path / RUN)
        except (OSError, DamagedFileError):
            return {}
        forms = {"recipe": str, "settings": str, "seed": int, "command": str, "versions": dict, "parts": dict}
        return value if isinstance(value, dict) and all(isinstance(value.get(k), t) for k, t in forms.items()) else {}

    def ways_to(self, *places: Path) -> list[str]:
        """From this folder to others: they hold for as long as these move together."""
        ways = []
        for place in places:
            with contextlib.suppress(ValueError):  # another drive
                ways.append(os.path.relpath(place.resolve(), self.path.resolve()))
        return list(dict.fromkeys(ways))

    def places(self) -> list[Path]:
        """Where the run's recipe lay, and where it was called: its data are looked for there."""
        ways = self.run_json().get("folders")
        return [self.path / way for way in ways if isinstance(way, str)] if isinstance(ways, list) else []

    def link_models(self, folders: Mapping[str, Path]) -> None:
        """Name the models: relative links into artifacts, copies where links fail."""
        for name, folder in folders.items():
            link = self.path / "models" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_symlink():
                link.unlink()
            elif link.is_dir():  # a copy, perhaps of a model that was made again since
                shutil.rmtree(link)
            elif link.exists():
                link.unlink()
            try:
                link.symlink_to(os.path.relpath(folder.resolve(), link.parent.resolve()), target_is_directory=True)
            except OSError:
                shutil.copytree(folder, link) if folder.is_dir() else shutil.copy(folder, link)


def _is_content(path: Path) -> bool:
    # A run killed as it began leaves its lock, and perhaps the half-written beginning of its recipe.
    return path.name not in (LOCK, FRESH) and not (path.name.startswith(".") and path.name.endswith(".tmp"))


def _is_old(path: Path) -> bool:
    return re.fullmatch(r".+\.old-\d+", path.name) is not None
