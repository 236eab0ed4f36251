"""What tests of a walk along the road look at: what it said, and what it left in its folder."""

import json

import limbeck
from limbeck.artifacts import TIMES
from limbeck.progress import Lines, Silent

ROLES = ("reference", "teacher", "knowledge", "student", "baseline")


class Stops(Silent):
    """A progress that interrupts when a stage of this title begins."""

    def __init__(self, title):
        self.title = title

    def start(self, title, total):
        if title == self.title:
            raise KeyboardInterrupt


def said(recipe, out, **options):
    """Runs the recipe; gives what it said."""
    path = out.parent.parent / "said.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        limbeck.run(recipe, out, progress=Lines(file), **options)
    return path.read_text()


def made(heard):
    """The stages that were made, as a log names them."""
    return [line.partition(": done")[0] for line in heard.splitlines() if ": done" in line and line.startswith(ROLES)]


def results(run):
    return json.loads((run / "results.json").read_bytes())


def row(found, role, name, **variant):
    """The one row of the results with this role, name and variant."""
    (one,) = (one for one in found["models"] if (one["role"], one["name"], one["variant"]) == (role, name, variant))
    return one


def parts(run):
    return json.loads((run / "run.json").read_bytes())["parts"]


def artifact(run, name):
    """The folder of the artifact that is this part of the run."""
    return run.parent / "artifacts" / name.partition("/")[0] / parts(run)[name]


def artifacts(root):
    """Bytes of every artifact's files beside the runs in this folder, durations left out, by path."""
    return {name: data for name, (data, _) in dated_artifacts(root).items()}


def dated_artifacts(root):
    """The same, bytes and time of change."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted((root / "artifacts").rglob("*"))
        if path.is_file() and path.name != TIMES and ".locks" not in path.parts
    }


def folders(found):
    """The artifacts that files are of: KIND/KEY."""
    return {"/".join(name.split("/")[1:3]) for name in found}
