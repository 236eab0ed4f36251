"""Where encoders begin, and what is refused in one line before anything is made or written."""

import json
import re
import shutil

import pytest

import limbeck
from limbeck.errors import LimbeckError, UsageError
from limbeck.plan.model_stage import Start
from limbeck.plan.starting import folder_start, model_type, new_encoder, resolved
from limbeck.progress import Lines
from limbeck.recipe.settings import Encoder
from limbeck.road import Road
from tiny_texts import learnable_folder, written_texts

RECIPE = """
title = "Starts"

[data]
source = "rows.jsonl"
label = "label"
validation = 20
test = 0.25

[[teacher]]
name = "big"
model = { kind = "encoder", from = "base" }
train = { epochs = 1, batch_size = 32 }

[[transfer]]
name = "plain"

[[student]]
name = "half"
model = { kind = "encoder", layers = 2 }
train = { epochs = 1, batch_size = 32 }
baseline = false
"""
SHAPES = {"base": {}, "wide": {"width": 48}, "heads": {"heads": 4}, "roberta": {"kind": "roberta"}}
MLP = 'student=[{name="half", transfer="plain", model={kind="mlp", widths=[4]}, train={epochs=1}}]'
STATES = "student.half.distill={hidden=1.0, relations=1.0}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe with its data and some encoders. Not to be changed."""
    folder = tmp_path_factory.mktemp("starts")
    for name, shape in SHAPES.items():
        learnable_folder(folder / name, **shape)
    written_texts(folder / "rows.jsonl", 120)
    (folder / "numbers.csv").write_text("a,b,label\n" + "".join(f"{n % 7},{n},{'xy'[n % 2]}\n" for n in range(90)))
    (folder / "starts.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def problem(folder, tmp_path, refused):
    """What a run with some settings changed is refused with; nothing may be written."""

    def call(*sets, recipe=None):
        changes = [word for one in sets for word in ("--set", one)]
        code, line = refused("run", recipe or folder / "starts.toml", "--out", tmp_path / "runs" / "it", *changes)
        assert code in (1, 2)
        assert not (tmp_path / "runs").exists()
        return line

    return call


def opened(folder, *sets):
    """A run's stages, planned and checked: the teacher and the student."""
    road = Road.open(folder / "starts.toml", folder / "nowhere" / "run", sets=sets)
    (plan,) = road.planner.students()
    return road.planner.teachers()[0], plan.trials[0]


# ---------------------------------------------------------------- where it begins


def test_a_start_is_known_by_what_is_in_the_folder(folder, tmp_path):
    start = folder_start("base", folder)
    assert (start.layers, start.folder) == (4, folder / "base")
    shutil.copytree(folder / "base", tmp_path / "copy")
    assert folder_start(str(tmp_path / "copy"), None).key == start.key
    assert folder_start("wide", folder).key != start.key


@pytest.mark.parametrize(
    ("asked", "layers"), [(None, [0, 1, 2, 3]), (4, [0, 1, 2, 3]), (2, [0, 3]), (1, [0]), ([1, 2], [1, 2])]
)
def test_layers_are_known_by_number(asked, layers):
    model = resolved(Encoder(**{"from": "base", "layers": asked}), Start("key", 4), "student.half.model", smaller=False)
    assert model["layers"] == layers


@pytest.mark.parametrize(("of", "layers"), [(1, [0]), (3, [0, 2]), (6, [0, 2, 4]), (12, [0, 2, 4, 6, 8, 10])])
def test_a_student_takes_every_other_layer_by_default(of, layers):
    model = resolved(Encoder(), Start("key", of), "student.half.model", smaller=True)
    assert model["layers"] == layers
    assert "from_" not in model
    assert "from" not in model


def test_a_student_begins_with_its_teacher_or_with_what_it_names(folder):
    teacher, student = opened(folder)
    assert student.start.stage.identity.key == teacher.identity.key == student.identity.inputs["start"]
    _, other = opened(folder, 'student.half.model.from="wide"')
    assert (other.start.stage, other.start.folder) == (None, folder / "wide")


def test_the_type_of_a_start_is_that_of_what_it_came_from(folder):
    assert model_type(folder_start("roberta", folder)) == "roberta"
    _, student = opened(folder, 'teacher.big.model.architecture="distilbert"')
    assert model_type(student.start) == "distilbert"


# ---------------------------------------------------------------- folders and names


def test_a_folder_that_is_no_model(folder, problem):
    (folder / "empty").mkdir(exist_ok=True)
    assert problem('teacher.big.model.from="empty"') == (
        f"teacher.big.model.from: {folder / 'empty'} is no Hugging Face model: it has no config.json, expected the "
        "folder that save_pretrained wrote"
    )


def test_a_path_that_leads_nowhere(problem):
    assert problem('teacher.big.model.from="./no/where"') == (
        'teacher.big.model.from: encoder "./no/where" does not exist, expected a folder, "minilm" or a name on the '
        "Hugging Face hub: check the path"
    )


def test_a_name_on_the_hub_without_a_network(folder, tmp_path, limbeck, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    code, _, said = limbeck(
        "run", folder / "starts.toml", "--out", tmp_path / "runs" / "it", "--set", "teacher.big.model.from=nobody/none"
    )
    assert code == 1
    line = said.splitlines()[-1]
    assert line.startswith('limbeck: teacher.big.model.from: encoder "nobody/none" is no folder here, and HF_HUB_OFF')
    assert "give its folder as a path" in line
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


def test_a_tokenizer_of_another_model(folder, tmp_path, problem):
    shutil.copytree(folder / "base", tmp_path / "mixed")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / "roberta" / name, tmp_path / "mixed" / name)
    line = problem(f"teacher.big.model.from={json.dumps(str(tmp_path / 'mixed'))}")
    assert line.startswith("teacher.big.model: tokenizer and model do not belong together: ")


# ---------------------------------------------------------------- layers and limits


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("9", "found 9 layers to take, expected 1 to 4: the teacher has 4 layers"),
        ("[0, 7]", "found layer 7, expected numbers from 0 to 3: the model has 4 layers"),
        ("[2, 1]", "found [2, 1], expected how many layers (1 or more), or numbers of layers from 0 in rising order"),
        ("[1, 1]", "found [1, 1], expected how many layers (1 or more), or numbers of layers from 0 in rising order"),
        ("[]", "found [], expected how many layers (1 or more), or numbers of layers from 0 in rising order"),
    ],
)
def test_layers_that_there_are_not(layers, message, problem):
    assert message in problem(f"student.half.model.layers={layers}")


def test_more_tokens_than_there_are_positions(problem):
    line = "student.half.model.max_length: found 100, expected at most the 64 positions that the model has"
    assert problem("student.half.model.max_length=100") == line
    assert problem("teacher.big.model.max_length=100").startswith("teacher.big.model.max_length: found 100, expected")


def test_a_roberta_becomes_no_distilbert(problem):
    assert problem('teacher.big.model.from="roberta"', 'student.half.model.architecture="distilbert"') == (
        'student.half.model.architecture: found "distilbert", which a model of type "roberta" cannot become, expected '
        '"same"'
    )


# ---------------------------------------------------------------- data and models that do not fit each other


@pytest.mark.parametrize(
    "model",
    ['{kind="mlp", widths=[4]}', '{kind="convnet"}', '{kind="soft-tree"}'],
)
def test_a_model_of_numbers_is_refused_for_texts(model, problem):
    kind = model.split('"')[1]
    line = f'found kind "{kind}", which takes numbers, and the data are texts: expected "encoder"'
    teacher = f'teacher=[{{name="big", model={model}, train={{epochs=1}}}}]'
    assert problem(teacher, MLP) == f"teacher.big.model: {line}"
    student = f'student=[{{name="half", transfer="plain", model={model}, train={{epochs=1}}}}]'
    assert problem(student) == f"student.half.model: {line}"


def test_estimators_are_refused_for_texts(problem):
    line = 'found kind "random-forest", which takes numbers, and the data are texts: expected "encoder"'
    assert problem('teacher=[{name="big", model={kind="random-forest"}}]', MLP) == f"teacher.big.model: {line}"


@pytest.mark.parametrize("source", ['"digits"', '"numbers.csv"'])
def test_an_encoder_is_refused_for_what_is_no_text(source, problem):
    label = [] if "digits" not in source else ["data={source='digits', test=0.25}"]
    assert problem(*(label or [f"data.source={source}"])) == (
        "teacher.big.model: an encoder reads texts, and the data are none: name their column with data.text, or take a "
        'model of another kind, such as "mlp"'
    )


def test_texts_have_no_views_of_images(problem):
    line = problem('transfer=[{name="plain", views={count=2, rotate=10}}]')
    assert line == 'transfer.plain.views: views are of images, found texts, expected rows = "words"'
    assert "views = " not in problem("teacher.big.views={rotate=10}")


def test_a_student_needs_an_encoder_to_begin_with(folder, tmp_path, problem):
    ids = range(120)
    path = tmp_path / "said.csv"
    path.write_text("id,neg,pos\n" + "".join(f"{one},0.4,0.6\n" for one in ids))
    given = f'teacher=[{{name="big", from={json.dumps(str(path))}}}]'
    assert problem(given) == (
        "student.half.model.from: missing, and teacher big is no encoder whose layers it could take: give a folder, a "
        'name on the hub, or "minilm"'
    )
    from_base = 'student.half.model.from="base"'
    teacher, student = opened(folder, given, from_base)
    assert (teacher.given.kind, student.start.folder) == ("predictions", folder / "base")
    assert problem(given, from_base, STATES) == (
        'student.half.distill.hidden: teacher "big" is no encoder, expected one: only those have states'
    )


# ---------------------------------------------------------------- states


def test_states_of_several_teachers(problem):
    assert problem("teacher.big.members=2", 'student.half.model.from="base"', STATES) == (
        'student.half.distill.hidden: teacher "big" is the mean of several, expected one encoder'
    )


def test_states_of_an_encoder_of_another_shape(folder, problem):
    hidden, relations = "student.half.distill.hidden=1.0", "student.half.distill.relations=1.0"
    assert problem('student.half.model.from="wide"', hidden) == (
        'student.half.distill.hidden: hidden_size is 48 in the student and 32 in teacher "big", expected the same: leave '
        "model.from out, and it begins with its teacher"
    )
    assert problem('student.half.model.from="heads"', relations) == (
        'student.half.distill.relations: num_attention_heads is 4 in the student and 2 in teacher "big", expected the '
        "same: leave model.from out, and it begins with its teacher"
    )
    for other, distance in (("wide", relations), ("heads", hidden)):
        opened(folder, f'student.half.model.from="{other}"', distance)


def test_states_of_other_pieces_of_text(problem):
    pieces = (
        'student.half.distill.hidden: the student cuts texts into other pieces than teacher "big", expected the same: '
        "leave model.from out, and it begins with its teacher"
    )
    assert problem('student.half.model.from="roberta"', STATES) == pieces
    assert problem('student.half.model.from="base"', 'teacher.big.model.vocabulary="transfer"', STATES) == pieces


def test_states_of_synthetic_texts_that_a_cut_vocabulary_may_lack(folder, problem):
    words, cut = "transfer.plain.views={count=1, rows='words'}", 'student.half.model.vocabulary="transfer"'
    assert problem(words, cut, STATES) == (
        "student.half.distill.hidden: synthetic texts may be cut into other pieces than those that the student's "
        'vocabulary keeps, expected the same: take vocabulary = "all", or a transfer set without rows = "words"'
    )
    for two in ((words, cut), (words, STATES), (cut, STATES)):
        opened(folder, *two)


def test_states_of_texts_cut_elsewhere(folder, problem):
    assert problem("student.half.model.max_length=16", STATES) == (
        'student.half.model.max_length: its texts are cut to 16 tokens and those of teacher "big" to 64, expected the '
        "same number with distill.hidden"
    )
    opened(folder, "student.half.model.max_length=16", "teacher.big.model.max_length=16", STATES)
    opened(folder, "teacher.big.model.max_length=16", STATES)


@pytest.mark.parametrize(
    "sets",
    [
        [],
        ['student.half.model.vocabulary="transfer"'],
        ['teacher.big.model.vocabulary="transfer"'],
        ['student.half.model.architecture="distilbert"'],
        ['student.half.model.initial="random"'],
        ['student.half.model.from="base"'],
    ],
)
def test_states_of_a_student_like_its_teacher_are_compared(sets, folder):
    assert opened(folder, STATES, *sets)[1].objective.uses_states


# ---------------------------------------------------------------- texts


def test_texts_too_long_are_cut_and_said_and_an_empty_one_is_left_out(folder, tmp_path):
    recipe = tmp_path / "starts.toml"
    recipe.write_text(RECIPE.replace('"base"', json.dumps(str(folder / "base"))))
    lines = (folder / "rows.jsonl").read_text().splitlines()
    lines += [json.dumps({"text": "good " * (90 + number), "label": "pos"}) for number in range(9)]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, '{"text": " ", "label": "neg"}']) + "\n")
    with (tmp_path / "log").open("w") as log:
        limbeck.run(recipe, tmp_path / "runs" / "it", until="teach", progress=Lines(log))
    said = (tmp_path / "log").read_text()
    assert "1 row has an empty text (line 130) and is left out" in said
    found = re.search(
        r"^teacher big: ([1-9]) of [0-9]+ training texts( and .*)? are longer than 64 tokens: cut", said, re.M
    )
    assert found is not None, said


def test_a_model_is_asked_about_nothing(folder, tmp_path, refused):
    learnable_folder(tmp_path / "model", layers=1, classifier=2)
    (tmp_path / "other.csv").write_text("review,x\nfine,1\n")
    (tmp_path / "empty.txt").write_text("")
    for inputs in (tmp_path / "other.csv", tmp_path / "empty.txt", tmp_path / "none.txt", " "):
        code, line = refused("predict", tmp_path / "model", inputs)
        assert code in (1, 2), inputs
        assert line


def test_errors_of_starts_are_of_the_two_sorts_that_commands_catch():
    assert issubclass(UsageError, LimbeckError)


def test_a_vocabulary_cut_to_pairs_reads_both_texts_of_each_as_before(folder, tmp_path):
    for name in SHAPES:
        shutil.copytree(folder / name, tmp_path / name)
    lines = [
        json.dumps(
            {"one": f"good film {n % 9}", "two": f"{'boring' if n % 2 else 'great'} scene", "label": "xy"[n % 2]}
        )
        for n in range(60)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "starts.toml").write_text(RECIPE)
    sets = ("data.source=pairs.jsonl", 'data.text=["one", "two"]', 'student.half.model.vocabulary="transfer"')
    teacher, student = opened(tmp_path, *sets)
    whole, cut = new_encoder(teacher, opened), new_encoder(student, lambda stage: new_encoder(stage, opened))
    assert cut.tokens.vocabulary_size < whole.tokens.vocabulary_size
    rows = teacher.rows.train.inputs
    before, after = whole.tokens.encode(rows, pairs=True), cut.tokens.encode(rows, pairs=True)
    read = [
        [encoder.tokens.tokenizer.id_to_token(number) for number in row.tolist()]
        for encoder, batch in ((whole, before), (cut, after))
        for row in batch.ids
    ]
    assert read[: len(rows)] == read[len(rows) :]


def test_a_column_cannot_be_both_texts_of_a_pair(problem):
    assert problem('data.text=["text", "text"]').endswith(
        'data.text: found "text" twice, expected a pair of two columns'
    )
