import re

import pytest

import limbeck
from limbeck.dry_run import describe_plan, plan
from limbeck.errors import LimbeckError
from limbeck.road import Road

GRID = 'student.2x16.grid={"distill.temperature"=[2, 4]}'


def titles(road, until="report"):
    return [stage.title for stage in plan(road, until)]


def test_every_stage_is_named_in_its_order_with_rows_and_bytes(tiny, tmp_path):
    road = Road.open(tiny, tmp_path / "runs" / "tiny")
    planned = plan(road, "report")
    assert [stage.title for stage in planned] == [
        "teacher convnet",
        "knowledge of convnet, inputs",
        "knowledge of convnet, view 1",
        "knowledge of convnet, view 2",
        "student 2x16 (temperature 4)",
        "baseline 2x16",
    ]
    assert not any(stage.done for stage in planned)
    assert all(stage.rows == 1147 and stage.seconds > 0 for stage in planned)
    assert planned[1].bytes == 1147 * 10 * 2
    assert planned[4].bytes == 4 * (64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10 + 2)


def test_weights_kept_of_epochs_are_counted(tiny, tmp_path):
    kept = Road.open(
        tiny, tmp_path / "tiny", sets=["student.2x16.train.epochs=6", "student.2x16.train.snapshot_every=2"]
    )
    bytes_of = {stage.title: stage.bytes for stage in plan(kept, "report")}
    once = 4 * (64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10 + 2)
    assert bytes_of["student 2x16 (temperature 4)"] == bytes_of["baseline 2x16"] == once * (1 + 3)


@pytest.mark.parametrize(("until", "count"), [("teach", 1), ("extract", 4), ("distill", 6), ("evaluate", 6)])
def test_only_stages_as_far_as_asked_are_counted(tiny, tmp_path, until, count):
    text = describe_plan(Road.open(tiny, tmp_path / "tiny"), until)
    assert len(text.splitlines()) == 2 + count + 1
    assert f"{count} of {count} stages to do: {count * 1147:,} rows, about " in text


def test_nothing_is_written_and_the_folder_is_not_made(tiny, tmp_path):
    describe_plan(Road.open(tiny, tmp_path / "runs" / "tiny"), "report")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_is_not_to_do(tiny, tiny_run, contents):
    before = contents(tiny_run.parent)
    assert "nothing to do: all 6 stages are there" in describe_plan(Road.open(tiny, tiny_run), "report")
    text = describe_plan(Road.open(tiny, tiny_run.parent / "warm", sets=["student.*.distill.temperature=8"]), "report")
    assert "1 of 6 stages to do: 1,147 rows" in text
    assert re.search(r"^to do +student 2x16", text, re.MULTILINE)
    assert contents(tiny_run.parent) == before


def test_the_bytes_of_what_is_there_are_those_on_disk(tiny, finished):
    teacher, *_ = plan(Road.open(tiny, finished), "teach")
    (folder,) = (finished.parent / "artifacts" / "teacher").iterdir()
    assert teacher.bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_a_fresh_run_has_everything_to_do_and_sets_nothing_aside(tiny, tiny_run, contents):
    before = contents(tiny_run.parent)
    assert "6 of 6 stages to do" in describe_plan(Road.open(tiny, tiny_run, fresh=True), "report")
    assert contents(tiny_run.parent) == before


def test_a_damaged_teacher_is_not_mended(tiny, tiny_run, contents):
    (teacher,) = (tiny_run.parent / "artifacts" / "teacher").iterdir()
    (teacher / "model.safetensors").write_bytes(b"damaged")
    for folder in (tiny_run.parent / "artifacts" / "knowledge").iterdir():
        folder.rename(folder.with_name(f"{folder.name}.aside"))
    before = contents(tiny_run.parent)
    assert "3 of 6 stages to do" in describe_plan(Road.open(tiny, tiny_run), "report")
    assert contents(tiny_run.parent) == before


def test_a_grid_counts_every_trial(tiny, tmp_path):
    road = Road.open(tiny, tmp_path / "tiny", sets=[GRID])
    assert [title for title in titles(road) if title.startswith("student")] == [
        "student 2x16 (temperature 2)",
        "student 2x16 (temperature 4)",
    ]
    assert titles(road).count("baseline 2x16") == 1


def test_a_grid_with_a_refit_counts_both_teachers_and_what_is_trained_anew(tiny, tmp_path):
    road = Road.open(tiny, tmp_path / "tiny", sets=[GRID, "student.*.train.refit=true"])
    found = titles(road)
    assert found.count("teacher convnet") == 2
    assert found.count("knowledge of convnet, inputs") == 2
    assert [title.startswith("student") for title in found].count(True) == 3
    assert found.count("baseline 2x16") == 1  # it has nothing to choose, and is trained on all rows at once
    assert {stage.rows for stage in plan(road, "teach")} == {1347}


def test_once_a_grid_has_chosen_nothing_is_to_do(tiny, tmp_path):
    sets = [GRID, "student.*.train.refit=true", "teacher.*.train.epochs=1", "student.*.train.epochs=1"]
    out = tmp_path / "runs" / "tiny"
    limbeck.run(tiny, out, sets=sets)
    assert "nothing to do: all " in describe_plan(Road.open(tiny, out, sets=sets), "report")


def test_regressions_are_stages_too(tiny, tmp_path):
    depths = 'regression=[{ name = "linear", depths = [1, 2], learning_rates = [0.1], steps = 20 }]'
    found = titles(Road.open(tiny, tmp_path / "tiny", sets=[depths]))
    assert found[-2:] == ["regression linear, depth 1, l4 loss", "regression linear, depth 2, l4 loss"]


def test_a_given_teacher_is_there(tiny, finished, tmp_path):
    given = f'teacher=[{{name="convnet", from="{finished}/models/teacher/convnet"}}]'
    teacher, *rest = plan(Road.open(tiny, tmp_path / "tiny", sets=[given]), "report")
    assert teacher.done
    assert not any(stage.done for stage in rest)


def test_another_recipe_in_the_folder_is_refused_as_by_the_run_itself(tiny, finished):
    with pytest.raises(LimbeckError, match="holds a run of another recipe"):
        Road.open(tiny, finished, sets=["student.*.distill.temperature=8"])


# ---------------------------------------------------------------- estimators, their mean, and synthetic rows


def test_estimators_and_their_mean_are_stages(grapes, tmp_path):
    planned = plan(Road.open(grapes, tmp_path / "runs" / "grapes"), "report")
    assert [stage.title for stage in planned] == [
        "teacher forest",
        "teacher boosting",
        "teacher both",
        "knowledge of forest, inputs",
        "knowledge of boosting, inputs",
        "knowledge of forest, view 1",
        "knowledge of forest, view 2",
        "knowledge of boosting, view 1",
        "knowledge of boosting, view 2",
        "student plain (temperature 4)",
        "baseline plain",
        "student munge (rows munge, temperature 4)",
        "baseline munge",
    ]
    by_title = {stage.title: stage for stage in planned}
    assert all(by_title[f"teacher {name}"].seconds > 0 for name in ("forest", "boosting"))
    assert (by_title["teacher both"].seconds, by_title["teacher both"].bytes) == (0.0, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_estimator_is_reckoned_to_about_its_size(grapes, grapes_finished, tmp_path):
    planned = {stage.title: stage for stage in plan(Road.open(grapes, tmp_path / "grapes"), "teach")}
    for name in ("forest", "boosting"):
        folder = grapes_finished / "models" / "teacher" / name
        size = sum(file.stat().st_size for file in folder.iterdir() if file.suffix == ".skops")
        assert size / 3 < planned[f"teacher {name}"].bytes < size * 3


def test_ten_times_the_trees_take_longer_and_more_room(grapes, tmp_path):
    few, many = (
        plan(Road.open(grapes, tmp_path / "grapes", sets=[f"teacher.boosting.model.iterations={count}"]), "teach")[1]
        for count in (10, 100)
    )
    assert many.bytes == pytest.approx(10 * few.bytes, rel=0.01)
    assert many.seconds > few.seconds


def test_a_run_of_estimators_that_is_done_has_nothing_to_do(grapes, grapes_run, contents):
    before = contents(grapes_run.parent)
    text = describe_plan(Road.open(grapes, grapes_run), "report")
    assert text.endswith("nothing to do: all 13 stages are there")
    assert contents(grapes_run.parent) == before


def test_a_damaged_estimator_is_not_mended(grapes, grapes_run, contents):
    for path in (grapes_run / "models" / "teacher").glob("*/*.skops"):
        path.write_bytes(b"damaged")
    for folder in (grapes_run.parent / "artifacts" / "knowledge").iterdir():
        folder.rename(folder.with_name(f"{folder.name}.aside"))
    before = contents(grapes_run.parent)
    assert "6 of 13 stages to do" in describe_plan(Road.open(grapes, grapes_run), "report")
    assert contents(grapes_run.parent) == before


@pytest.mark.parametrize("name", ["forest", "both"])
def test_a_given_estimator_and_a_given_mean_are_there_and_measured(grapes, grapes_finished, tmp_path, name):
    given = f'teacher=[{{name="both", from="{grapes_finished}/models/teacher/{name}"}}]'
    planned = plan(Road.open(grapes, tmp_path / "runs" / "grapes", sets=[given]), "report")
    done = {stage.title for stage in planned if stage.done}
    assert "teacher both" in done
    recorded = [stage for stage in planned if stage.title.startswith("knowledge of")]
    assert recorded
    assert all(stage.seconds > 0 and not stage.done for stage in recorded)


def test_a_table_of_few_rows_is_not_measured(grapes, tmp_path):
    header, *rows = (grapes.parent / "grapes.csv").read_text().splitlines()
    few = [row for name in ("barolo", "grignolino", "barbera") for row in rows if row.endswith(name)][:20]
    few = [*few, *[row for row in rows if row.endswith(("grignolino", "barbera"))][:6]]
    (tmp_path / "grapes.csv").write_text("\n".join([header, *dict.fromkeys(few)]))
    (tmp_path / "grapes.toml").write_text(grapes.read_text().replace("validation = 30", "validation = 10"))
    assert "stages to do" in describe_plan(Road.open(tmp_path / "grapes.toml", tmp_path / "runs" / "grapes"), "teach")
