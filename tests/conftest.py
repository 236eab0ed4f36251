"""What the tests of several rooms share: the bundled digits, a small recipe, and one finished run of it."""

import os
import shutil
import sys

import pytest

# As the command does, before anything loads torch.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
# Several at once, as `make test` runs them, share the cores: two threads each on two cores are slower than one each.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // int(workers))))


@pytest.fixture(scope="session", autouse=True)
def without_gpus():
    """Tests are of what the processor computes, wherever they run; those of a GPU ask for `on_gpu`."""
    from limbeck import devices

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "gpu_count", lambda: 0)
        yield


TINY = """
title = "Tiny"

[data]
source = "digits"
validation = 200
test = 0.25

[[teacher]]
name = "convnet"
model = { kind = "convnet", widths = [8, 8, 16], hidden = 16 }
views = { rotate = 8, shift = 1 }
train = { epochs = 3, batch_size = 64, learning_rate = 1e-2 }

[[transfer]]
name = "views"
views = { count = 2, rotate = 10, shift = 0.5 }

[[student]]
name = "2x16"
model = { kind = "mlp", widths = [16, 16], dropout = 0.1 }
train = { epochs = 4, batch_size = 64, learning_rate = 5e-3 }
"""


@pytest.fixture(scope="session")
def digits():
    """All rows of the bundled digits."""
    from limbeck.data import load_dataset

    return load_dataset("digits").train


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The path of a recipe that takes two seconds."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """A finished run of the small recipe. Not to be changed: `tiny_run` is a copy."""
    from limbeck.road import run

    out = tmp_path_factory.mktemp("finished") / "tiny"
    run(tiny, out)
    return out


@pytest.fixture
def tiny_run(finished, tmp_path):
    """A copy of the finished run, its artifacts and cache beside it."""
    shutil.copytree(finished.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "tiny"


@pytest.fixture
def limbeck(capsys, monkeypatch):
    """The command, called in this process: gives exit code, stdout and stderr."""
    from limbeck.cli import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["limbeck", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return ended.value.code, written.out, written.err

    return call


@pytest.fixture
def refused(limbeck):
    """A command that must fail: gives its exit code and its message, which must be the only line on stderr."""

    def call(*arguments):
        code, _, err = limbeck(*arguments)
        (line,) = err.splitlines()
        assert line.startswith("limbeck: ")
        return code, line.removeprefix("limbeck: ")

    return call


@pytest.fixture(scope="session")
def contents():
    """A function: every file under a folder with its bytes and time of change, links as where they point."""

    def read(folder):
        found = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_symlink():
                found[name] = str(path.readlink())
            elif path.is_file():
                found[name] = path.read_bytes(), path.stat().st_mtime_ns
        return found

    return read


GRAPES = """
title = "Grapes"

[data]
source = "grapes.csv"
label = "grape"
id = "bottle"
validation = 30
test = 0.3

[[teacher]]
name = "forest"
model = { kind = "random-forest", trees = 30 }

[[teacher]]
name = "boosting"
model = { kind = "gradient-boosting", iterations = 10, leaves = 4, min_samples_leaf = 5 }
folds = 2

[[teacher]]
name = "both"
of = ["forest", "boosting"]

[[transfer]]
name = "plain"

[[transfer]]
name = "munge"
views = { count = 2, rows = "munge" }

[[student]]
name = "plain"
teacher = "both"
transfer = "plain"
model = { kind = "mlp", widths = [16] }
train = { epochs = 15, batch_size = 16, learning_rate = 1e-2 }

[[student]]
name = "munge"
teacher = "both"
transfer = "munge"
model = { kind = "mlp", widths = [16] }
train = { epochs = 5, batch_size = 16, learning_rate = 1e-2 }
"""


def grape_rows():
    """A small table of wines: header, and rows of texts, with a column of categories and a missing value."""
    import numpy as np
    from sklearn.datasets import load_wine

    wines, labels = load_wine(return_X_y=True)
    shift = np.random.default_rng(0).integers(0, 2, len(labels))
    header = ["bottle", "alcohol", "acid", "ash", "magnesium", "colour", "grape"]
    rows = [
        [str(1000 + row), f"{one[0]:g}", f"{one[1]:g}", f"{one[2]:g}" if row else "", f"{one[4]:g}",
         ("red", "white", "rose")[(label + moved) % 3], ("barolo", "grignolino", "barbera")[label]]
        for row, (one, label, moved) in enumerate(zip(wines, labels, shift, strict=True))
    ]  # fmt: skip
    return header, rows


@pytest.fixture(scope="session")
def grapes(tmp_path_factory):
    """The path of a recipe for a small table: a forest, gradient boosting in two folds, and their mean as teachers."""
    folder = tmp_path_factory.mktemp("grapes")
    header, rows = grape_rows()
    (folder / "grapes.csv").write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    (folder / "grapes.toml").write_text(GRAPES)
    return folder / "grapes.toml"


@pytest.fixture(scope="session")
def grapes_finished(grapes, tmp_path_factory):
    """A finished run of that recipe. Not to be changed: `grapes_run` is a copy."""
    from limbeck.road import run

    out = tmp_path_factory.mktemp("finished_grapes") / "grapes"
    run(grapes, out)
    return out


@pytest.fixture
def grapes_run(grapes_finished, tmp_path):
    """A copy of the finished run, its artifacts and cache beside it."""
    shutil.copytree(grapes_finished.parent, tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "grapes"
