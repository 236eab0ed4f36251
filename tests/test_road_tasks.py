"""The road over several tasks: an encoder distilled without one, fine-tuned on each, and what is kept over all."""

import json
import random
import shutil
import tomllib

import pytest

from limbeck.artifacts import SUMS
from limbeck.data import shared_rows
from limbeck.dry_run import describe_plan
from limbeck.errors import LimbeckError
from limbeck.exporting.origin import origin_of
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.models.opening import open_model
from limbeck.progress import Silent
from limbeck.recipe import dump_recipe, parse_recipe
from limbeck.results.comparison import comparison_table
from limbeck.results.paired import paired_table
from limbeck.results.retention import retention_lines, task_rows
from limbeck.road import Road, run, run_split
from limbeck.terminal import tasks_tables, verdict_sentences

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow  # each run trains a dozen tiny encoders

RECIPE = """
title = "Two tasks"

[data]
source = "plain.txt"
validation = 40

[[general]]
name = "distilled"
model = { kind = "encoder", from = "bert", layers = 2, max_length = 32 }
head = { epochs = 1, batch_size = 32 }
train = { epochs = 2, batch_size = 16, accumulate = 2 }

[[task]]
name = "praise"
data = { source = "praise.jsonl", label = "label", test = 0.3, validation = 0.2 }

[[task]]
name = "things"
data = { source = "things.jsonl", label = "label", test = 0.25, validation = 0.2 }

[[teacher]]
name = "big"
model = { kind = "encoder", from = "bert" }
train = { epochs = 8, batch_size = 8 }

[[student]]
name = "distilled"
model = { kind = "encoder", from = "general.distilled" }
train = { epochs = 1, batch_size = 16 }

[[reference]]
name = "undistilled"
model = { kind = "encoder", from = "bert", layers = 2 }
train = { epochs = 1, batch_size = 16 }

[[claim]]
text = "the mean of both"
row = { name = "distilled" }
show = "accuracy"
average = ["row"]
"""
GOOD, BAD = ["good", "great", "best", "fine", "fun", "love", "like"], ["bad", "worst", "dull", "poor", "boring", "hate"]
THINGS = ["film", "movie", "story", "actor", "plot"]
NEUTRAL = [
    "a",
    "an",
    "the",
    "this",
    "that",
    "it",
    "is",
    "was",
    "and",
    "but",
    "not",
    "no",
    "very",
    "so",
    "too",
    "of",
    "in",
    "on",
    "at",
    "for",
    "with",
]
TASKS = {"praise": {"pos": GOOD, "neg": BAD}, "things": {"good": GOOD, "bad": BAD, "thing": THINGS}}
ROWS = ["teacher/big", "student/distilled", "baseline/distilled", "reference/undistilled"]


class Killed(BaseException):
    """What stands for the end of the process."""


class Until(Silent):
    """A progress that kills the run when a stage of this title begins, or in its middle."""

    def __init__(self, title, step=0):
        self.title, self.step, self.now = title, step, None

    def start(self, title, total):
        self.now = title
        if title == self.title and not self.step:
            raise Killed

    def at(self, step, note=""):
        if self.now == self.title and step >= self.step > 0:
            raise Killed


class Heard(Silent):
    """A progress that keeps its lines."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(scope="session")
def two_tasks(tmp_path_factory, tiny_encoder):
    """The path of the recipe, its texts and its teacher beside it."""
    folder = tmp_path_factory.mktemp("tasks")
    shutil.copytree(tiny_encoder, folder / "bert")
    drawn = random.Random(0)
    for name, groups in TASKS.items():
        rows = []
        for _ in range(200):
            label = drawn.choice(list(groups))
            words = drawn.choices(NEUTRAL, k=drawn.randint(1, 4)) + drawn.choices(groups[label], k=3)
            drawn.shuffle(words)
            rows.append(json.dumps({"text": " ".join(words), "label": label}))
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    words = [*GOOD, *BAD, *THINGS, *NEUTRAL]
    plain = [" ".join(drawn.choices(words, k=drawn.randint(3, 12))) for _ in range(200)]
    (folder / "plain.txt").write_text("\n".join(plain))
    (folder / "tasks.toml").write_text(RECIPE)
    return folder / "tasks.toml"


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """The folder of a random encoder of four layers that has no masked-LM head."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent / "encoders"))
    from small import tiny_folder

    return tiny_folder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def over_tasks(two_tasks, tmp_path_factory):
    """A finished run. Not to be changed."""
    out = tmp_path_factory.mktemp("over") / "tasks"
    run(two_tasks, out)
    return out


def results_of(out):
    return json.loads((out / "results.json").read_text())


def sums(out):
    """The digests of all artifacts beside a run, by kind and key."""
    found = {}
    for path in sorted((out.parent / "artifacts").glob(f"*/*/{SUMS}")):
        found[f"{path.parent.parent.name}/{path.parent.name}"] = path.read_text()
    return found


def test_every_model_is_measured_on_each_task_and_its_rows_say_which(over_tasks):
    rows = results_of(over_tasks)["models"]
    named = [(f"{row['role']}/{row['name']}", row["data"], row["variant"]["task"]) for row in rows]
    assert named == [(name, task, task) for task in TASKS for name in ROWS]
    split = {task: run_split(over_tasks, task).test for task in TASKS}
    assert len(split["praise"]) == 60
    assert len(split["things"]) == 50
    for row in rows:
        assert row["errors"] == round((1 - row["accuracy"]) * len(split[row["data"]]))
    assert verify(over_tasks) == []


def test_what_is_kept_is_the_mean_over_tasks_and_its_share_of_the_teachers(over_tasks):
    results = results_of(over_tasks)
    tasks = results["tasks"]
    assert tasks["test_rows"] == {"praise": 60, "things": 50}
    accuracy = {(row["role"], row["name"], row["data"]): row["accuracy"] for row in results["models"]}
    macro = {
        (model["role"], model["name"]): sum(accuracy[model["role"], model["name"], task] for task in TASKS) / 2
        for model in tasks["models"]
    }
    assert [f"{model['role']}/{model['name']}" for model in tasks["models"]] == ROWS
    for model in tasks["models"]:
        own = model["role"], model["name"]
        assert model["macro"] == pytest.approx(macro[own])
        assert model["share"] == pytest.approx(macro[own] / macro["teacher", "big"])
    (claim,) = results["claims"]
    assert claim["here"] == pytest.approx(macro["student", "distilled"])


def undistilled_cosine(recipe, tmp_path):
    """What the distilled encoder's layers score before they are."""
    from limbeck.encoders.finding import load_masked
    from limbeck.encoders.general import load_masked_encoder
    from limbeck.encoders.layers import chosen_layers, student_network
    from limbeck.encoders.masked import MaskedEncoder
    from limbeck.encoders.masked_scores import masked_scores

    teacher = load_masked_encoder(recipe.parent / "bert")
    layers = student_network(load_masked(recipe.parent / "bert", 0)[0], chosen_layers(2, 4))
    held_out = Road.open(recipe, tmp_path / "runs" / "x").texts[1]
    return masked_scores(MaskedEncoder(layers, teacher.tokens).eval(), held_out, teacher, max_length=32).cosine


def test_the_encoder_is_distilled_once_from_a_teacher_that_was_given_a_head(two_tasks, over_tasks, tmp_path):
    general = results_of(over_tasks)["general"]
    assert [(row["name"], row["variant"], row["layers"]) for row in general] == [
        ("distilled", {"masked-LM": "head"}, 4),
        ("distilled", {}, 2),
    ]
    head, student = (row["scores"] for row in general)
    assert head["texts"] == student["texts"] == 40
    assert head["cosine"] is None
    assert student["cosine"] > undistilled_cosine(two_tasks, tmp_path) + 0.01
    assert len(list((over_tasks.parent / "artifacts" / "general").iterdir())) == 2
    folder = over_tasks / "models" / "general" / "distilled"
    assert inspect(folder).kind == "general"
    assert inspect(folder).facts["held out"].startswith("40 texts: masked tokens right ")


def test_the_distilled_folder_is_a_masked_language_model_that_transformers_reads(two_tasks, over_tasks):
    import transformers

    folder = (over_tasks / "models" / "general" / "distilled").resolve()
    model, found = transformers.AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"]
    assert model.config.num_hidden_layers == 2
    with pytest.raises(LimbeckError, match="tells no classes apart: fine-tune it first"):
        open_model(folder)
    table = without("general")
    table["teacher"] = [{"name": "big", "from": str(folder)}]
    table["student"][0]["model"]["from"] = str(folder)
    table.pop("data")
    (two_tasks.parent / "given.toml").write_text(dump_recipe(parse_recipe(table, "given.toml")))
    with pytest.raises(LimbeckError, match="tells no classes apart: fine-tune it first"):
        Road.open(two_tasks.parent / "given.toml", over_tasks.parent / "given")


def test_the_card_says_where_a_model_begins_and_what_it_learnt_from(over_tasks, tmp_path):
    from limbeck.exporting import export_huggingface

    (student,) = (over_tasks / "models" / "student").glob("distilled-*task=praise*")
    text = export_huggingface(student, tmp_path / "praise").card.read_text()
    assert "- began with: bert, distilled on plain text first, its layers 0, 1\n" in text
    rows = len(run_split(over_tasks, "praise").train)
    assert f"- what its teacher said was learnt of: {rows} rows of train\n" in text
    (baseline,) = (over_tasks / "models" / "reference").glob("undistilled-*task=praise*")
    text = export_huggingface(baseline, tmp_path / "baseline").card.read_text()
    assert "- began with: bert, its layers 0, 3\n" in text
    assert "was learnt of" not in text


def test_fine_tuning_begins_with_the_distilled_weights(two_tasks, over_tasks):
    import torch

    road = Road.open(two_tasks, over_tasks)
    (reference,) = (plan.trials[0] for plan in road.courses[0].planner.students())
    begun = road.workshop.new_model(reference)
    masked = road.workshop.model(road.generals[0])
    name = "encoder.layer.1.output.dense.weight"
    ours, theirs = begun.network.bert.get_parameter(name), masked.network.bert.get_parameter(name)
    assert torch.equal(ours, theirs)
    teacher = road.workshop.new_model(road.courses[0].planner.teachers()[0])
    assert not torch.equal(ours, teacher.network.bert.get_parameter("encoder.layer.3.output.dense.weight"))


@pytest.mark.parametrize(
    "until",
    [
        Until("masked-LM head"),
        Until("general distilled", step=16),
        Until("reference undistilled (task praise)"),
    ],
    ids=["before the head", "in general distillation", "between tasks"],
)
def test_a_run_that_was_cut_off_comes_to_the_same_artifacts(two_tasks, over_tasks, tmp_path, monkeypatch, until):
    monkeypatch.setattr("limbeck.training.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("limbeck.training.CHECKPOINT_PAUSE", 0)
    out = tmp_path / "runs" / "tasks"
    with pytest.raises(Killed):
        run(two_tasks, out, until="distill", progress=until)
    begun = sorted(path.parent.parent.name for path in out.parent.glob("artifacts/*/*.part/checkpoint.safetensors"))
    assert begun == (["general"] if until.step else [])
    run(two_tasks, out, until="distill")
    assert sums(out) == sums(over_tasks)
    assert verify(out) == []


def test_a_finished_run_is_left_and_damage_in_general_distillation_is_mended(two_tasks, over_tasks, tmp_path):
    shutil.copytree(over_tasks.parent, tmp_path / "runs", symlinks=True)
    out, heard = tmp_path / "runs" / "tasks", Heard()
    before = sums(out)
    run(two_tasks, out, progress=heard)
    assert heard.lines == [f"nothing to do: {out} is complete"]
    folder = (out / "models" / "general" / "distilled").resolve()
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")
    assert [damage.path.name for damage in verify(out)] == ["model.safetensors"]
    run(two_tasks, out, progress=heard)
    assert "1 damaged artifact made again" in heard.lines
    assert sums(out) == before | {key: text for key, text in sums(out).items() if ".damaged-" in key}
    assert verify(out) == []


def test_a_fresh_run_takes_the_encoders_distilled_without_a_task_with_it(two_tasks, over_tasks, tmp_path):
    shutil.copytree(over_tasks.parent, tmp_path / "runs", symlinks=True)
    out = tmp_path / "runs" / "tasks"
    Road.open(two_tasks, out, fresh=True).walk("teach")
    aside = tmp_path / "runs" / "tasks.old-1"
    assert len(list((aside / "artifacts" / "general").iterdir())) == 2
    assert verify(aside) == []
    assert not (tmp_path / "runs" / "artifacts" / "general").exists() or not list(
        (tmp_path / "runs" / "artifacts" / "general").iterdir()
    )


def test_a_dry_run_counts_the_stages_of_all_tasks(two_tasks, over_tasks, tmp_path):
    assert "nothing to do: all 12 stages are there" in describe_plan(Road.open(two_tasks, over_tasks), "report")
    text = describe_plan(Road.open(two_tasks, tmp_path / "runs" / "new"), "report")
    assert "12 of 12 stages to do" in text
    for title in ("general distilled (masked-LM head)", "general distilled ", "baseline distilled (task things)"):
        assert title in text
    assert not (tmp_path / "runs").exists()
    assert "general" not in describe_plan(Road.open(two_tasks, tmp_path / "runs" / "new"), "extract")


def test_the_pages_lead_to_each_task(over_tasks):
    page = (over_tasks / "report.html").read_text()
    assert 'href="report-praise.html"' in page
    assert 'href="report-things.html"' in page
    assert "What is kept" in page
    assert "the mean of both" in page
    praise = (over_tasks / "report-praise.html").read_text()
    assert "task praise" in praise
    assert "task things" not in praise
    (over_tasks / "report-things.html").read_text()


def test_the_end_of_a_run_and_compare_say_what_is_kept(over_tasks):
    results = results_of(over_tasks)
    general, kept = tasks_tables(results)
    assert "distilled (masked-LM head)" in general
    assert kept.startswith("macro: the mean of the accuracies on all tasks; kept: ")
    sentences = verdict_sentences(results, 0)
    assert [sentence.partition(":")[0] for sentence in sentences] == list(TASKS)
    assert "errors in 60" in sentences[0].replace("error in", "errors in")
    assert "in 50" in sentences[1]
    assert "macro: the mean of the accuracies" in comparison_table([over_tasks])
    assert any(title.startswith("macro") for title in inspect(over_tasks).tables)


def test_several_seeds_show_the_median_and_the_spread_of_what_is_kept():
    def one(macro):
        model = {"role": "student", "name": "s", "variant": {}, "by_task": {"a": macro}, "macro": macro, "share": macro}
        return {"models": [{"data": "a"}], "tasks": {"test_rows": {"a": 10}, "models": [model]}}

    head, lines = retention_lines([one(0.5), one(0.7), one(0.6)])
    assert head == ["role", "model", "macro", "kept", "a"]
    assert lines == [["student", "s", *["60.00% (50.00% to 70.00%)"] * 3]]


def test_tasks_are_shown_in_the_order_of_the_recipe():
    model = {"role": "student", "name": "s", "variant": {}, "by_task": {"a": 0.5, "b": 1}, "macro": 0.75, "share": 1}
    tasks = {"test_rows": {"a": 10, "b": 20}, "models": [model]}  # by the alphabet, as a results.json is written
    results = {"models": [{"data": "b"}, {"data": "a"}], "tasks": tasks}
    assert task_rows(results) == {"b": 20, "a": 10}
    assert list(task_rows(results)) == ["b", "a"]
    head, lines = retention_lines([results])
    assert head[-2:] == ["b", "a"]
    assert lines[0][-2:] == ["100.00%", "50.00%"]


def test_the_rows_of_a_task_are_asked_for_by_name(over_tasks):
    with pytest.raises(LimbeckError, match=r"is a run over several tasks \(praise, things\)"):
        run_split(over_tasks)
    with pytest.raises(LimbeckError, match='no task is named "thing", did you mean "things"'):
        run_split(over_tasks, "thing")


def test_a_model_is_asked_about_its_own_task_s_test_rows(over_tasks, limbeck, refused):
    models = over_tasks / "models"
    for task, rows in (("praise", 60), ("things", 50)):
        code, out, _ = limbeck("predict", models / "teacher" / f"big-task={task}", over_tasks)
        assert (code, len(out.splitlines())) == (0, rows)
        wanted = next(
            row for row in results_of(over_tasks)["models"] if row["role"] == "teacher" and row["data"] == task
        )
        code, out, _ = limbeck("evaluate", models / "teacher" / f"big-task={task}", over_tasks)
        assert f"{wanted['accuracy']:.2%}" in out
    elsewhere = (models / "teacher" / "big-task=praise").resolve()
    code, line = refused("predict", elsewhere, over_tasks)
    assert code == 1
    assert "is a run over several tasks (praise, things), each with test rows of its own" in line


def test_students_are_paired_with_their_baselines_task_by_task(over_tasks):
    lines = paired_table([over_tasks]).splitlines()[2:]
    assert [line.partition("  ")[0] for line in lines] == [f"distilled (task {task}, temperature 4)" for task in TASKS]


def test_a_model_of_a_task_comes_from_that_task_s_rows(over_tasks):
    found = origin_of(over_tasks / "models" / "student" / "distilled-task=things,temperature=4")
    assert found.source == "things.jsonl"
    assert len(found.split.test) == 50
    assert {row["data"] for row in found.rows} == {"things"}


def without(section):
    """The recipe without the parts of one section."""
    table = tomllib.loads(RECIPE)
    table.pop(section)
    return table


def test_general_distillation_of_texts_that_have_labels_needs_no_tasks(two_tasks, tmp_path):
    table = {
        **without("task"),
        "data": {"source": str(two_tasks.parent / "praise.jsonl"), "label": "label", "test": 0.3},
    }
    table["general"][0]["model"]["from"] = table["teacher"][0]["model"]["from"] = str(two_tasks.parent / "bert")
    table["reference"][0]["model"]["from"] = str(two_tasks.parent / "bert")
    road = Road.open(parse_recipe(table, "mine.toml"), tmp_path / "runs" / "plain")
    (general,) = road.generals
    assert general.rows.train is road.split.train
    assert general.general.held_out is road.split.validation
    assert road.courses[0].task is None


@pytest.mark.parametrize(
    ("distill", "initial", "given"),
    [
        ({}, "layers", True),
        ({"soft": 0}, "layers", True),
        ({"hard": 0}, "layers", True),
        ({}, "random", True),
        ({"soft": 0}, "random", False),
        ({"soft": 0, "hard": 0}, "layers", False),
    ],
)
def test_a_head_is_trained_where_it_is_asked_or_begun_with(two_tasks, tmp_path, distill, initial, given):
    sets = [f"general.distilled.distill.{name}={weight}" for name, weight in distill.items()]
    sets += [f'general.distilled.model.initial="{initial}"']
    (stage,) = Road.open(two_tasks, tmp_path / "runs" / "heads", sets=sets).generals
    assert (stage.general.head is not None) == given


def test_general_distillation_takes_some_of_the_texts_and_fewer_are_among_more(two_tasks, tmp_path):
    def texts(rows, seed=0):
        sets = [f"general.distilled.rows={rows}", f"data.split_seed={seed}"]
        (general,) = Road.open(two_tasks, tmp_path / "runs" / "some", sets=sets).generals
        return set(general.rows.train.ids.tolist()), general

    few, stage = texts(30)
    assert len(few) == 30
    assert few < texts("0.5")[0]
    assert len(texts("0.5")[0]) == 80  # of 200, less 40 that are measured on
    assert few != texts(30, seed=1)[0]
    assert stage.identity.key != texts(31)[1].identity.key
    assert stage.general.head.rows.train is stage.rows.train
    with pytest.raises(
        LimbeckError, match=r"^general\.distilled\.rows: found 161, but there are 160 texts: ask for fewer$"
    ):
        texts(161)
    with pytest.raises(LimbeckError, match=r"general\.distilled\.rows"):
        texts(0)


def test_tasks_without_general_distillation_need_no_texts():
    table = without("data")
    table.pop("general")
    table["student"][0]["model"] = {"kind": "encoder", "layers": 2}
    recipe = parse_recipe(table, "mine.toml")
    assert parse_recipe(tomllib.loads(dump_recipe(recipe)), "mine.toml") == recipe
    with pytest.raises(LimbeckError, match="data: missing"):
        parse_recipe(without("data"), "mine.toml")


def test_texts_that_nothing_reads_are_refused():
    table = without("general")
    table["student"][0]["model"] = {"kind": "encoder", "layers": 2}
    with pytest.raises(LimbeckError, match=r"data: with tasks these are texts for general distillation, and there is"):
        parse_recipe(table, "mine.toml")


def test_texts_that_are_held_out_of_a_task_are_left_out_of_general_distillation(two_tasks, tmp_path):
    heard = Heard()
    road = Road.open(two_tasks, tmp_path / "runs" / "own", sets=["data.source=praise.jsonl"], progress=heard)
    assert not any(len(shared_rows(road.texts[0], part)) for part in (road.split.test, road.split.validation))
    assert 60 <= len(road.texts[0]) < 160
    assert f"{160 - len(road.texts[0])} of the 160 texts of praise.jsonl are validation or test rows" in heard.lines[-1]


def test_where_no_text_would_be_left_it_is_said(two_tasks, tmp_path):
    rows = (two_tasks.parent / "praise.jsonl").read_text().splitlines()
    split = Road.open(two_tasks, tmp_path / "runs" / "x").split
    held = [rows[number] for number in split.test.ids]
    (two_tasks.parent / "held.jsonl").write_text("\n".join(held))
    with pytest.raises(
        LimbeckError, match=r"data.source = held.jsonl: all of its \d+ rows are validation or test rows"
    ):
        Road.open(two_tasks, tmp_path / "runs" / "x", sets=["data.source=held.jsonl", "data.validation=1"])


def test_an_encoder_of_a_sweep_over_what_it_begins_from_has_that_in_its_name():
    table = tomllib.loads(RECIPE)
    table["reference"][0] |= {"sweep": {"model.from": ["general.distilled", "bert"]}}
    names = [row.id for row in parse_recipe(table, "mine.toml").rows() if row.role == "reference"]
    assert names[:2] == [
        "reference/undistilled-from=general.distilled,task=praise",
        "reference/undistilled-from=bert,task=praise",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("task.praise.data.source=plain.txt", "task.praise.data: data.label does not apply"),
        ("data.source=digits", "general.distilled: it is distilled on texts"),
        ("data.validation=200", "data.validation: 200 of 200 texts would be held out"),
        ("general.distilled.model.layers=9", "general.distilled.model.layers: found 9 layers to take"),
        (
            "general.distilled.model.max_length=99",
            "general.distilled.model.max_length: found 99, expected at most the 64",
        ),
        ("general.distilled.model.from=nowhere", 'general.distilled.model.from: encoder "nowhere"'),
        ("student.distilled.model.layers=3", "student.distilled.model.layers: found 3 layers"),
        ("student.distilled.model.from=general.distiled", 'no general is named "distiled", did you mean "distilled"?'),
    ],
)
def test_what_does_not_fit_is_said_in_a_line_before_anything_is_made(two_tasks, tmp_path, change, said):
    with pytest.raises(LimbeckError) as raised:
        Road.open(two_tasks, tmp_path / "runs" / "wrong", sets=[change])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists()
