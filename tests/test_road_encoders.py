"""The whole road on small encoders that learn which of a text's words decide: trained here, given, cut and resumed."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import limbeck
from limbeck.artifacts import TIMES
from limbeck.inspection.verification import verify
from limbeck.models.encoder import Encoder
from limbeck.models.opening import open_model
from limbeck.progress import Lines, Silent
from limbeck.road import Road, run_split
from limbeck.training import predict_log_probs
from tiny_texts import learnable_folder, written_texts
from walks import artifacts

RECIPE = """
title = "Small encoders"

[data]
source = "rows.jsonl"
label = "label"
validation = 90
test = 0.25

[[teacher]]
name = "big"
model = { kind = "encoder", from = "base" }
train = { epochs = 3, batch_size = 16, learning_rate = 2e-3, warmup = 0.1, precision = "float32" }

[[transfer]]
name = "plain"

[[transfer]]
name = "more"
parts = ["train", "file:more.txt"]
views = { count = 1, rows = "words" }

[[student]]
name = "half"
model = { kind = "encoder", layers = 2 }
transfer = "plain"
train = { epochs = 1, batch_size = 16, learning_rate = 2e-3, warmup = 0.1, precision = "float32" }

[[student]]
name = "trimmed"
model = { kind = "encoder", layers = [0, 3], vocabulary = "transfer" }
transfer = "more"
train = { epochs = 2, batch_size = 16, learning_rate = 2e-3, warmup = 0.1, precision = "float32", accumulate = 2 }
baseline = false

[[student]]
name = "distilbert"
model = { kind = "encoder", layers = 2, architecture = "distilbert" }
transfer = "plain"
train = { epochs = 4, batch_size = 16, learning_rate = 2e-3, warmup = 0.1, precision = "float32" }
baseline = false

[[student]]
name = "states"
model = { kind = "encoder", layers = 2 }
transfer = "plain"
distill = { hidden = 1.0, relations = 0.5 }
train = { epochs = 1, batch_size = 16, learning_rate = 2e-3, warmup = 0.1, precision = "float32" }
baseline = false

[[student]]
name = "random"
model = { kind = "encoder", layers = 2, initial = "random" }
transfer = "plain"
train = { epochs = 6, batch_size = 16, learning_rate = 2e-3, warmup = 0.1, precision = "float32" }
baseline = false
"""
STUDENTS = ("half", "trimmed", "distilbert", "states", "random")
FEW = (
    'student=[{name="half", transfer="plain", baseline=false, \
model={kind="encoder", layers=2}, train={epochs=1, batch_size=16, learning_rate=2e-3, warmup=0.1, precision="float32"}}]',
)
LONG = (
    "teacher.big.train.batch_size=8",
    "teacher.big.train.epochs=2",
    'student=[{name="states", transfer="plain", baseline=false, model={kind="encoder", layers=2}, \
distill={hidden=1.0, relations=1.0}, train={epochs=1, batch_size=8, accumulate=2, learning_rate=2e-3, warmup=0.1}}]',
)
GIVEN = """
title = "A given encoder"

[data]
source = "rows.jsonl"
label = "label"
validation = 60
test = 0.25

[[teacher]]
name = "given"
from = "given"

[[student]]
name = "half"
model = { kind = "encoder", layers = 2 }
train = { epochs = 1, batch_size = 16, learning_rate = 2e-3, warmup = 0.1 }
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder with the recipe, its data and the base of its teacher."""
    folder = tmp_path_factory.mktemp("texts")
    learnable_folder(folder / "base")
    written_texts(folder / "rows.jsonl")
    written_texts(folder / "more.txt", 150, seed=1)
    (folder / "small.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def done(texts, tmp_path_factory):
    """A finished run, and what it said. Not to be changed."""
    return run(texts / "small.toml", tmp_path_factory.mktemp("done") / "small")


@pytest.fixture(scope="module")
def fine_tuned(done):
    """The folder of a classifier that has learnt the task, as it would come from the library transformers."""
    out, _ = done
    folder = out.parent / "as-from-elsewhere"
    shutil.copytree(out / "models" / "teacher" / "big", folder)
    for name in ("model.json", "SHA256SUMS", "plan.json", "history.json", TIMES):
        (folder / name).unlink(missing_ok=True)
    return folder


def run(recipe, out, **options):
    log = out.parent / f"{out.name}.log"
    out.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        limbeck.run(recipe, out, progress=Lines(file), **options)
    return out, log.read_text()


def rows(out):
    return {(row["role"], row["name"]): row for row in json.loads((out / "results.json").read_text())["models"]}


def model_folder(out, name):
    (folder,) = (out / "models").glob(f"{name}-*temperature=4" if name.startswith("student") else name)
    return folder


def keys(recipe, *sets):
    """Every model's key, by its name in the results."""
    road = Road.open(recipe, recipe.parent / "nowhere" / "run", sets=sets)
    stages = [*road.planner.teachers(), *(one for plan in road.planner.students() for one in plan.made)]
    return {stage.id: stage.identity.key for stage in stages}


# ---------------------------------------------------------------- what comes of it


def test_every_sort_of_student_learns_from_the_teacher(done):
    found = rows(done[0])
    assert set(found) == {("teacher", "big"), ("baseline", "half"), *(("student", name) for name in STUDENTS)}
    accuracy = {key: row["accuracy"] for key, row in found.items()}
    assert accuracy["teacher", "big"] > 0.9
    for name in STUDENTS:
        assert accuracy["student", name] > 0.75, (name, accuracy["student", name])


def test_students_are_smaller_each_in_its_own_way(done):
    sizes = {name: row["parameters"] for (role, name), row in rows(done[0]).items() if role != "baseline"}
    assert sizes["half"] == sizes["states"] == sizes["random"] < sizes["big"]
    assert sizes["trimmed"] < sizes["half"]
    assert sizes["distilbert"] < sizes["half"]  # no token types
    costs = {name: row["multiply_adds"] for (role, name), row in rows(done[0]).items() if role != "baseline"}
    assert 1.8 < costs["big"] / costs["half"] < 2.2


def test_a_live_teacher_s_states_are_come_nearer_to(done):
    """Of two students that are otherwise alike, the one that is asked for its states has them nearer the teacher's."""
    out, _ = done
    inputs = run_split(out).test.inputs[:60]
    hidden = {}
    for name in ("teacher/big", "student/half", "student/states"):
        model, _ = open_model(model_folder(out, name))
        assert isinstance(model, Encoder)
        model.show_states()
        with torch.inference_mode():
            found = model(torch.from_numpy(inputs))
        hidden[name] = torch.nn.functional.normalize(found.hidden[found.mask], dim=-1)
    half, states = ((hidden[f"student/{name}"] * hidden["teacher/big"]).sum(-1).mean() for name in ("half", "states"))
    assert states > half + 0.05


WITHOUT_LIMBECK = """
import json, sys
sys.modules["limbeck"] = None  # so that importing it fails
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
tokenizer = AutoTokenizer.from_pretrained(folder)
with torch.inference_mode():
    probabilities = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.softmax(-1)
print(json.dumps([{model.config.id2label[k]: v for k, v in enumerate(one)} for one in probabilities.tolist()]))
"""


@pytest.mark.parametrize(
    "name", ["half", *(pytest.param(one, marks=pytest.mark.slow) for one in ("trimmed", "distilbert"))]
)
def test_transformers_alone_answers_as_limbeck_predict_does(name, done, tmp_path, limbeck):
    out, _ = done
    said = ["this film is great fun", "Dull; the worst plot ever, çé!", "good"]
    (tmp_path / "asked.txt").write_text("\n".join(said) + "\n")
    folder = model_folder(out, f"student/{name}")
    code, printed, _ = limbeck("predict", folder, tmp_path / "asked.txt")
    assert code == 0
    ours = [dict(cell.rsplit(" ", 1) for cell in line.split("\t")[1:]) for line in printed.splitlines()]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    there = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIMBECK, folder, json.dumps(said)], capture_output=True, text=True, env=offline
    )
    assert there.returncode == 0, there.stderr
    theirs = json.loads(there.stdout.splitlines()[-1])
    assert len(ours) == len(theirs) == 3
    for mine, other in zip(ours, theirs, strict=True):
        assert set(mine) == set(other) == {"neg", "pos"}
        # Limbeck prints four decimals, and may have answered in bfloat16.
        assert all(abs(float(mine[label]) - other[label]) < 0.02 for label in mine)
    assert theirs[0]["pos"] > 0.5 > theirs[1]["pos"]


@pytest.mark.slow
def test_texts_that_are_cut_are_counted_where_a_model_is_asked(done, limbeck):
    long = " ".join(["good"] * 200)
    code, out, said = limbeck("predict", model_folder(done[0], "student/half"), long)
    assert code == 0
    assert "1 of 1 texts are longer than 64 tokens: cut there" in out + said


@pytest.mark.slow
def test_an_encoder_is_no_tree_to_be_explained(done, refused):
    code, line = refused("explain", model_folder(done[0], "student/half"), "a good film")
    assert code == 1
    assert 'is a model of kind "encoder": only a soft decision tree' in line


@pytest.mark.slow
def test_the_same_call_again_has_nothing_to_do(texts, done):
    out, _ = done
    before = artifacts(out.parent)
    _, said = run(texts / "small.toml", out)
    assert said == f"nothing to do: {out} is complete\n"
    assert artifacts(out.parent) == before
    assert verify(out) == []


@pytest.mark.slow
def test_permuting_the_test_labels_changes_no_model(texts, done, tmp_path):
    road = Road.open(texts / "small.toml", tmp_path / "runs" / "small", sets=FEW)
    split = road.split
    shuffled = np.random.default_rng(0).permutation(split.test.labels)
    other = replace(split, test=replace(split.test, labels=shuffled))
    results = replace(road, split=other).walk()
    assert all(row["accuracy"] < 0.65 for row in results["models"])
    made, whole = artifacts(tmp_path / "runs"), artifacts(done[0].parent)
    assert len([name for name in made if name.endswith("model.safetensors")]) == 2
    assert {name: whole.get(name) for name in made} == made


class Stops(Silent):
    """Interrupts a stage when it says for the second time how far it is: in the middle of an epoch."""

    def __init__(self, title):
        self.title, self.here, self.times = title, False, 0

    def start(self, title, total):
        self.here = title.startswith(self.title)

    def at(self, done, note=""):
        self.times += self.here
        if self.times == 2:
            raise KeyboardInterrupt


@pytest.fixture
def checkpoints(monkeypatch):
    """A checkpoint at every opportunity."""
    monkeypatch.setattr("limbeck.training.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr("limbeck.training.CHECKPOINT_PAUSE", 0)


@pytest.mark.slow
@pytest.mark.usefixtures("checkpoints")
def test_a_run_that_is_cut_off_in_training_goes_on_to_the_same_bytes(texts, tmp_path):
    whole, _ = run(texts / "small.toml", tmp_path / "whole" / "small", sets=LONG)
    out = tmp_path / "cut" / "small"
    for title in ("teacher big", "student states"):
        with pytest.raises(KeyboardInterrupt):
            limbeck.run(texts / "small.toml", out, sets=LONG, progress=Stops(title))
        assert list(out.parent.glob("artifacts/*/*.part/checkpoint*"))
    run(texts / "small.toml", out, sets=LONG)
    assert artifacts(out.parent) == artifacts(whole.parent)
    assert verify(out) == []


# ---------------------------------------------------------------- other bases, and teachers that exist


@pytest.mark.slow
def test_weights_kept_over_the_epochs_are_counted_on_the_test_rows(texts, tmp_path):
    results, _ = run(texts / "small.toml", tmp_path / "small", sets=(*FEW, "teacher.big.train.snapshot_every=1"))
    results = json.loads((tmp_path / "small" / "results.json").read_text())
    (teacher,) = (row for row in results["models"] if row["role"] == "teacher")
    curve = results["curves"]["teacher/big"]
    assert [epoch for epoch, _ in curve] == list(range(1, len(curve) + 1))
    assert curve[-1][1] - teacher["metrics"]["errors_above_fewest"] == min(errors for _, errors in curve)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_other_kinds_are_taught_and_halved(kind, texts, tmp_path):
    learnable_folder(tmp_path / kind, kind, layers=2)
    base = f"teacher.big.model.from={json.dumps(str(tmp_path / kind))}"
    student = 'student=[{name="half", transfer="plain", baseline=false, distill={hidden=0.5}, model={kind="encoder", \
layers=1, vocabulary="transfer"}, train={epochs=3, batch_size=16, learning_rate=2e-3, warmup=0.1}}]'
    sets = [base, "teacher.big.train.epochs=4", "teacher.big.train.batch_size=16", student]
    out, _ = run(texts / "small.toml", tmp_path / "runs" / "small", sets=sets)
    found = rows(out)
    assert found["teacher", "big"]["accuracy"] > 0.8
    assert found["student", "half"]["accuracy"] > 0.7
    assert found["student", "half"]["parameters"] < found["teacher", "big"]["parameters"]
    config = json.loads((model_folder(out, "student/half") / "config.json").read_text())
    assert (config["model_type"], config["id2label"]) == (kind, {"0": "neg", "1": "pos"})


def given_recipe(texts, tmp_path, folder):
    """A recipe whose teacher is that folder, beside it."""
    shutil.copy(texts / "rows.jsonl", tmp_path / "rows.jsonl")
    if folder is not None:
        shutil.copytree(folder, tmp_path / "given")
    (tmp_path / "given.toml").write_text(GIVEN)
    return tmp_path / "given.toml"


def renamed(folder, names):
    """The model of a folder with these names of its classes, whose answers stay where they are."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["id2label"] = {str(number): name for number, name in enumerate(names)}
    config["label2id"] = {name: number for number, name in enumerate(names)}
    path.write_text(json.dumps(config))


def test_a_classifier_that_exists_teaches_as_it_is(texts, fine_tuned, tmp_path):
    recipe = given_recipe(texts, tmp_path, fine_tuned)
    out, said = run(recipe, tmp_path / "runs" / "given")
    assert "teacher given: done" not in said
    found = rows(out)
    assert found["teacher", "given"]["accuracy"] > 0.9
    assert found["student", "half"]["accuracy"] > 0.75
    assert run(recipe, out)[1] == f"nothing to do: {out} is complete\n"


def test_classes_of_a_given_teacher_are_known_by_name_or_else_in_order(texts, fine_tuned, tmp_path):
    from safetensors.numpy import load_file, save_file

    recipe = given_recipe(texts, tmp_path, fine_tuned)

    def answers():
        road = Road.open(recipe, tmp_path / "nowhere" / "run")
        (stage,) = road.planner.teachers()
        return stage.identity.key, predict_log_probs(stage.given, road.split.test.inputs)

    key, plain = answers()
    renamed(tmp_path / "given", ["LABEL_0", "LABEL_1"])
    nameless, said = answers()
    np.testing.assert_array_equal(said, plain)
    assert nameless != key
    weights = load_file(tmp_path / "given" / "model.safetensors")
    swapped = {name: one[::-1].copy() if name.startswith("classifier") else one for name, one in weights.items()}
    save_file(swapped, tmp_path / "given" / "model.safetensors", metadata={"format": "pt"})
    renamed(tmp_path / "given", ["pos", "neg"])
    np.testing.assert_allclose(answers()[1], plain, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["sad", "happy"],
            'its classes are "sad", "happy", and the data\'s are "neg", "pos": name the data\'s labels ',
        ),
        (["neg", "pos", "so-so"], 'its classes are "neg", "pos", "so-so", and the data\'s are "neg", "pos": name the '),
        (["LABEL_0", "LABEL_1", "LABEL_2"], 'it tells 3 classes apart, and the data have 2 ("neg", "pos"): take a '),
    ],
)
def test_a_teacher_of_other_classes_is_refused(names, message, texts, tmp_path, refused):
    folder = learnable_folder(tmp_path / "three", classifier=len(names), names=names)
    recipe = given_recipe(texts, tmp_path, folder)
    code, line = refused("run", recipe, "--out", tmp_path / "runs" / "given")
    assert code == 1
    assert line.startswith(f"teacher.given.from: {tmp_path / 'given'}: {message}")
    assert not (tmp_path / "runs").exists()


def test_a_base_without_a_classifier_is_no_teacher_yet(texts, tmp_path, refused):
    recipe = given_recipe(texts, tmp_path, texts / "base")
    _, line = refused("run", recipe, "--out", tmp_path / "runs" / "given")
    assert "has no classifier for 2 classes: it has to be fine-tuned first" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_members_of_encoders_teach_as_their_mean(texts, tmp_path):
    sets = [
        'teacher=[{name="both", members=2, bootstrap=true, model={kind="encoder", from="base", layers=1}, \
train={epochs=3, batch_size=16, learning_rate=2e-3, warmup=0.1}}]',
        'student=[{name="one", transfer="plain", baseline=false, model={kind="encoder", from="base", layers=1}, \
train={epochs=3, batch_size=16, learning_rate=2e-3, warmup=0.1}}]',
    ]
    out, _ = run(texts / "small.toml", tmp_path / "runs" / "small", sets=sets)
    assert rows(out)["student", "one"]["accuracy"] > 0.75


# ---------------------------------------------------------------- keys


def test_layers_by_count_and_by_number_are_one_artifact(texts):
    plain = keys(texts / "small.toml")["student/half-temperature=4"]
    assert keys(texts / "small.toml", "student.half.model.layers=[0, 3]")["student/half-temperature=4"] == plain
    assert keys(texts / "small.toml", "student.half.model.layers=[0, 2]")["student/half-temperature=4"] != plain


def test_where_a_base_lies_is_in_no_key_and_what_it_is_in_all(texts, tmp_path):
    from safetensors.numpy import load_file, save_file

    plain = keys(texts / "small.toml")
    shutil.copytree(texts / "base", tmp_path / "elsewhere")
    elsewhere = f"teacher.big.model.from={json.dumps(str(tmp_path / 'elsewhere'))}"
    assert keys(texts / "small.toml", elsewhere) == plain
    path = tmp_path / "elsewhere" / "model.safetensors"
    weights = load_file(path)
    weights["embeddings.word_embeddings.weight"][7, 7] += 1e-3
    save_file(weights, path, metadata={"format": "pt"})
    changed = keys(texts / "small.toml", elsewhere)
    assert not set(changed.values()) & set(plain.values())


def test_a_student_of_its_teachers_layers_hangs_on_how_that_was_trained(texts):
    plain = keys(texts / "small.toml")
    other = keys(texts / "small.toml", "teacher.big.train.epochs=5")
    assert {name for name in plain if plain[name] == other[name]} == set()


def test_settings_of_encoders_are_in_the_keys_of_encoders_alone(tiny):
    road = Road.open(tiny, tiny.parent / "nowhere" / "run")
    stages = [*road.planner.teachers(), *(one for plan in road.planner.students() for one in plan.made)]
    for stage in stages:
        written = json.dumps(stage.identity.as_json())
        assert not [word for word in ("start", "states", "relations", "accumulate") if f'"{word}"' in written]


def test_the_texts_that_a_vocabulary_is_cut_to_are_in_the_key(texts):
    def key(*sets):
        return next(
            key for name, key in keys(texts / "small.toml", *sets).items() if name.startswith("student/trimmed")
        )

    assert key("student.trimmed.model.vocabulary=all") != key()
    assert key("student.trimmed.transfer=more") == key()
    assert key("student.trimmed.transfer=plain") != key()
