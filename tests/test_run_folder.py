import os
import subprocess
import sys
import tomllib

import pytest

from limbeck.errors import LimbeckError
from limbeck.files import write_tensors
from limbeck.recipe import apply_overrides, parse_recipe
from limbeck.run_folder import RunFolder


@pytest.fixture(scope="module")
def read(tiny):
    """A function: the small recipe, changed."""

    def recipe(*sets):
        return parse_recipe(apply_overrides(tomllib.loads(tiny.read_text()), sets), "tiny")

    return recipe


@pytest.fixture(scope="module")
def recipe(read):
    return read()


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "tiny")


@pytest.fixture
def begun(folder, recipe):
    """A run's folder as it is when the run has begun."""
    with folder.held():
        folder.begin(recipe, 3)
    return folder


def test_a_new_or_empty_folder_is_accepted(folder, recipe):
    folder.check(recipe, 3, False)
    assert not folder.path.exists()
    folder.path.mkdir(parents=True)
    folder.check(recipe, 3, False)


def test_the_same_recipe_and_seed_are_accepted_again(begun, recipe):
    begun.check(recipe, 3, False)
    assert begun.is_run()


def test_another_seed_is_refused_and_accepted_afresh(begun, recipe):
    with pytest.raises(
        LimbeckError, match=f"{begun.path} holds a run of another seed \\(3, not 4\\): give --out another folder"
    ):
        begun.check(recipe, 4, False)
    begun.check(recipe, 4, True)


def test_another_recipe_is_refused_with_the_first_difference(begun, read):
    for change, difference in (
        ("data.source=mnist", r'data\.source: "digits" there, "mnist" here'),
        ("student.2x16.train.epochs=9", r"student\.2x16\.train\.epochs: 4 there, 9 here"),
        ("data.test=0.5", r"data\.test: 0\.25 there, 0\.5 here"),
        ("transfer.views.select={without = [3]}", r"transfer\.views\.select: not there, \{"),
    ):
        with pytest.raises(LimbeckError, match=rf"another recipe, or other settings \({difference}"):
            begun.check(read(change), 3, False)


def test_a_run_from_before_a_setting_existed_goes_on(begun, recipe):
    path = begun.path / "recipe.toml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(("momentum", "schedule"))))
    begun.check(recipe, 3, False)


def test_a_run_whose_recipe_cannot_be_read_any_more_is_refused(begun, recipe):
    path = begun.path / "recipe.toml"
    path.write_text(path.read_text() + "[more]\n")
    with pytest.raises(LimbeckError, match="another recipe .*cannot be read"):
        begun.check(recipe, 3, False)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("name", ["thesis.tex", "recipe.toml", ".git"])
def test_a_folder_that_holds_something_else_is_refused_by_a_name_in_it(folder, recipe, fresh, name, contents):
    folder.path.mkdir(parents=True)
    (folder.path / name).write_text("title = 1")  # a recipe of one's own is no run
    before = contents(folder.path)
    with pytest.raises(LimbeckError, match=rf'holds something else than a run \("{name}"\): give --out a folder'):
        folder.check(recipe, 3, fresh)
    assert not folder.is_run()
    assert contents(folder.path) == before


def test_a_file_in_the_folder_s_place_is_refused(folder, recipe):
    folder.path.parent.mkdir()
    folder.path.write_text("a file")
    with pytest.raises(LimbeckError, match="is a file: give --out a folder"):
        folder.check(recipe, 3, False)


def test_a_run_killed_before_it_wrote_its_recipe_can_be_begun_again(folder, recipe):
    with folder.held():
        (folder.path / ".recipe.toml.1a2b3c4d.tmp").write_text("# seed ")
    folder.check(recipe, 3, False)


def test_a_recipe_is_written_once(begun, recipe, contents):
    before = contents(begun.path)
    begun.begin(recipe, 3)
    assert contents(begun.path) == before


def test_one_process_alone_works_in_it(begun):
    program = "import sys, pathlib; from limbeck.run_folder import RunFolder\nwith RunFolder(pathlib.Path(sys.argv[1])).held(): pass"
    with begun.held():
        other = subprocess.run([sys.executable, "-c", program, begun.path], capture_output=True, text=True)
    assert f"{begun.path} is being worked on by another process" in other.stderr
    with begun.held():
        pass


def test_its_siblings_are_the_other_runs_beside_it(begun, recipe):
    for name in ("other", "other.old-1", "artifacts", "notes"):
        (begun.path.parent / name).mkdir()
    for name in ("other", "other.old-1"):
        RunFolder(begun.path.parent / name).begin(recipe, 0)
    assert [folder.path.name for folder in begun.siblings()] == ["other"]


def test_an_old_run_is_set_aside_beside_its_place(begun):
    aside = begun.set_aside()
    assert aside == begun.path.with_name("tiny.old-1")
    assert RunFolder(aside).is_run()
    assert not begun.path.exists()


def test_models_are_named_by_relative_links(folder, tmp_path):
    model = tmp_path / "runs" / "artifacts" / "student" / "3f9a1c"
    model.mkdir(parents=True)
    (model / "model.json").write_text("{}")
    for _ in range(2):
        folder.link_models({"student/2x16-temperature=4": model})
    link = folder.path / "models" / "student" / "2x16-temperature=4"
    assert os.readlink(link) == "../../../artifacts/student/3f9a1c"
    assert (link / "model.json").read_text() == "{}"


def test_a_link_follows_a_model_that_was_made_anew(folder, tmp_path):
    for key in ("3f9a1c", "77ab02"):
        (tmp_path / "runs" / "artifacts" / "student" / key).mkdir(parents=True)
        folder.link_models({"student/x": tmp_path / "runs" / "artifacts" / "student" / key})
    assert os.readlink(folder.path / "models" / "student" / "x").endswith("77ab02")


def test_where_links_fail_models_are_copied(folder, tmp_path, monkeypatch):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text("{}")

    def fails(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr("pathlib.Path.symlink_to", fails)
    folder.link_models({"student/x": model})
    copied = folder.path / "models" / "student" / "x"
    assert not copied.is_symlink()
    assert (copied / "model.json").read_text() == "{}"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"recipe": "tiny"}', '{"models": 3}'])
def test_results_that_cannot_be_read_count_as_none(begun, content):
    assert begun.results() is None
    (begun.path / "results.json").write_text(content)
    assert begun.results() is None


def test_a_damaged_or_missing_prediction_or_a_missing_model_is_named(begun):
    row = {"role": "teacher", "name": "x", "variant": {}}
    begun.write_results({"models": [row, {**row, "name": "y"}]})
    for name in ("x", "z"):
        write_tensors(begun.prediction(f"teacher/{name}"), {}, {})
    begun.prediction("teacher/z").write_text("damaged")
    assert [damage.path.name for damage in begun.damages()] == ["x", "y.safetensors", "y"]
