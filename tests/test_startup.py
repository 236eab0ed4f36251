"""Heavy libraries are loaded when they are needed, not before."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "matplotlib", "sklearn", "scipy", "pandas", "jinja2")


def loaded_by(code):
    """The heavy libraries in sys.modules after this code, in a process of its own."""
    script = f"import json, sys\n{code}\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def test_importing_limbeck_loads_nothing_heavy():
    assert loaded_by("import limbeck\ndir(limbeck), limbeck.__version__, limbeck.LimbeckError") == []


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["recipes"]])
def test_a_command_that_computes_nothing_loads_nothing_heavy(arguments):
    code = f"""
from limbeck.cli import main
sys.argv = ["limbeck", *{arguments!r}]
try:
    main()
except SystemExit as exit:
    assert not exit.code, exit.code"""
    assert loaded_by(code) == []


def test_torch_is_loaded_by_the_first_name_that_needs_it():
    assert "torch" in loaded_by("import limbeck\nlimbeck.Objective")


def test_trees_are_asked_without_anything_heavy_and_drawn_without_torch():
    assert loaded_by("import limbeck.trees\ndir(limbeck.trees), limbeck.trees.TreeArrays") == []
    assert "torch" not in loaded_by("import limbeck.trees\nlimbeck.trees.draw, limbeck.trees.render_page")
