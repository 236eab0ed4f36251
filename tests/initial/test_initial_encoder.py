"""`limbeck init` for texts: an encoder in half its layers, to run as it stands."""

import csv
import json

import pytest

from limbeck import write_recipe
from limbeck.errors import LimbeckError, UsageError
from limbeck.initial.encoder import Shape, TextSizes
from limbeck.initial.sizes import Sizes
from limbeck.recipe import load_recipe
from limbeck.road import Road
from tiny_texts import learnable_folder, written_texts

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory):
    """An encoder with a head for the classes, as somebody has it."""
    folder = tmp_path_factory.mktemp("mine") / "bert"
    return learnable_folder(folder, layers=4, classifier=2, names=["neg", "pos"])


def students(recipe):
    return [(one.name, one.model.layers, one.model.vocabulary) for one in recipe.student]


def other_texts(path, count):
    rows = [{"text": f"number {row}", "label": "pos" if row % 2 else "neg"} for row in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def problem(folder, name, **given):
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(LimbeckError) as error:
        write_recipe(folder / name, "label", **given)
    assert sorted(path.name for path in folder.iterdir()) == before
    return str(error.value).replace(f"{folder}/", "")


def test_a_recipe_lies_beside_the_texts_and_says_what_is_in_them(limbeck, tmp_path):
    written_texts(tmp_path / "mine.jsonl")
    code, shown, err = limbeck("init", tmp_path / "mine.jsonl", "--label", "label")
    path = tmp_path / "mine.toml"
    recipe = load_recipe(path)
    assert (code, err) == (0, "")
    assert shown.startswith(f"{path}: 600 rows, 1 column to learn from, 2 classes\nabout ")
    assert shown.endswith(f"on two cores: limbeck run {path}\n")
    assert (recipe.data.source, recipe.data.text, recipe.data.label) == ("mine.jsonl", ["text"], "label")
    assert [(one.name, one.model.from_) for one in recipe.teacher] == [("encoder", "minilm")]
    assert students(recipe) == [("half", [0, 2, 4], "all"), ("half-trimmed", [0, 2, 4], "transfer")]
    assert "# 600 texts of " in path.read_text("utf-8")


def test_it_runs_as_it_stands_and_its_teacher_teaches_again(limbeck, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written_texts(tmp_path / "mine.jsonl", count=300)
    assert limbeck("init", "mine.jsonl", "--label", "label")[0] == 0
    small = ["--set", f"teacher.encoder.model.from={learnable_folder(tmp_path / 'small', layers=6)}"]
    code, shown, err = limbeck("run", "mine.toml", *small, "--set", "teacher.encoder.train.learning_rate=2e-3")
    assert code == 0, err
    rows = [["student", "half"], ["baseline", "half"], ["student", "half-trimmed"], ["baseline", "half-trimmed"]]
    assert [line.split()[:2] for line in shown.splitlines()[2:7]] == [["teacher", "encoder"], *rows]

    taught = tmp_path / "runs" / "mine" / "models" / "teacher" / "encoder"
    found = write_recipe("mine.jsonl", "label", "again.toml", teacher=taught)
    recipe = load_recipe(found.path)
    assert [one.from_ for one in recipe.teacher] == [str(taught)]
    assert students(recipe) == [("half", [0, 2, 4], "all"), ("half-trimmed", [0, 2, 4], "transfer")]
    code, shown, err = limbeck("run", "again.toml", "--set", "student.*.train.epochs=1")
    assert code == 0, err
    assert [line.split()[:2] for line in shown.splitlines()[2:7]] == [["teacher", "given"], *rows]


def test_an_odd_number_of_layers_is_halved(tmp_path):
    written_texts(tmp_path / "mine.jsonl", count=60)
    for layers, half in ((1, 1), (3, 1), (5, 2)):
        folder = learnable_folder(tmp_path / f"of-{layers}", layers=layers, classifier=2, names=["neg", "pos"])
        found = write_recipe(tmp_path / "mine.jsonl", "label", tmp_path / f"{layers}.toml", teacher=folder)
        assert [one.model.layers for one in load_recipe(found.path).student] == [half, half]


def test_a_table_with_a_column_of_texts_and_pairs(tmp_path):
    lines = [json.loads(line) for line in written_texts(tmp_path / "mine.jsonl", count=60).read_text().splitlines()]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["first", "second", "label"])
        rows.writerows([one["text"], one["text"][::-1], one["label"]] for one in lines)
    single = write_recipe(tmp_path / "t.csv", "label", tmp_path / "single.toml", text="first")
    pairs = write_recipe(tmp_path / "t.csv", "label", tmp_path / "pairs.toml", text=["first", "second"])
    assert (single.inputs, pairs.inputs) == (1, 2)
    assert load_recipe(single.path).data.text == ["first"]
    assert load_recipe(pairs.path).data.text == ["first", "second"]


def test_a_teacher_of_which_there_are_answers_alone_leaves_its_students_to_begin_with_another(tmp_path):
    written_texts(tmp_path / "mine.jsonl", count=60)
    (tmp_path / "said.csv").write_text("id,label\n" + "".join(f"{row},pos\n" for row in range(60)))
    found = write_recipe(tmp_path / "mine.jsonl", "label", teacher=tmp_path / "said.csv")
    recipe = load_recipe(found.path)
    assert [(one.model.from_, one.model.layers) for one in recipe.student] == [("minilm", [0, 2, 4])] * 2
    assert "Texts without labels help" not in found.path.read_text("utf-8")
    found.path.unlink()
    assert problem(tmp_path, "mine.jsonl", teacher=tmp_path / "no.onnx") == (
        "teacher no.onnx does not exist: give a saved model's folder or file, or predictions"
    )


def test_what_to_know_of_a_teacher_is_said_before_it_teaches(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    written_texts(tmp_path / "data" / "mine.jsonl", count=60)
    other_texts(tmp_path / "data" / "test.jsonl", 20)
    nameless = learnable_folder(tmp_path / "nameless", layers=4, classifier=2).relative_to(tmp_path)
    found = write_recipe("data/mine.jsonl", "label", "data/one.toml", teacher=nameless)
    assert found.notes == (
        "nameless: its classes have no names, and are taken in the data's order, "
        'LABEL_0 for "neg", LABEL_1 for "pos": where that is wrong, mend id2label and label2id in its config.json',
        "test rows are a share of mine.jsonl: if nameless was fitted to these, numbers say too much of it and of all that "
        "begins with it: give others with --test FILE",
    )
    named = learnable_folder(tmp_path / "named", layers=4, classifier=2, names=["neg", "pos"])
    given = {"teacher": named.relative_to(tmp_path), "test": "data/test.jsonl"}
    found = write_recipe("data/mine.jsonl", "label", "data/two.toml", **given)
    assert found.notes == ()
    recipe = load_recipe(found.path)
    assert (recipe.data.test, recipe.teacher[0].from_) == ("file:test.jsonl", "../named")
    monkeypatch.chdir(tmp_path / "data")
    assert limbeck_run_is_planned("two.toml", tmp_path)


def limbeck_run_is_planned(recipe, folder):
    road = Road.open(recipe, folder / "runs" / "x")
    return (len(road.split.test), len(road.split.train)) == (20, 60 - len(road.split.validation))


def test_a_teacher_of_another_type_says_what_students_begin_with(tmp_path):
    import transformers

    written_texts(tmp_path / "mine.jsonl", count=60)
    folder = learnable_folder(tmp_path / "bert", layers=2, classifier=2, names=["neg", "pos"])
    config = transformers.ElectraConfig(
        vocab_size=201, hidden_size=32, embedding_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, id2label={0: "neg", 1: "pos"}, label2id={"neg": 0, "pos": 1},
    )  # fmt: skip
    transformers.ElectraForSequenceClassification(config).save_pretrained(folder)
    other_texts(tmp_path / "test.jsonl", 20)
    found = write_recipe(tmp_path / "mine.jsonl", "label", teacher=folder, test=tmp_path / "test.jsonl")
    assert found.notes == (f"{folder}: students cannot begin with its layers, and begin with MiniLM's",)
    assert [one.model.from_ for one in load_recipe(found.path).student] == ["minilm", "minilm"]


def test_names_of_columns_and_files_stay_within_their_line(tmp_path):
    lines = [json.loads(line) for line in written_texts(tmp_path / "mine.jsonl", count=60).read_text().splitlines()]
    (tmp_path / "#[[teacher]]\nx.jsonl").write_text(
        "".join(json.dumps({'te"\nxt': one["text"], "#]\nlabel": one["label"]}) + "\n" for one in lines)
    )
    found = write_recipe(tmp_path / "#[[teacher]]\nx.jsonl", "#]\nlabel", tmp_path / "a.toml", text='te"\nxt')
    data = load_recipe(found.path).data
    assert (data.source, data.text, data.label) == ("#[[teacher]]\nx.jsonl", ['te"\nxt'], "#]\nlabel")


def test_what_no_recipe_can_be_written_for_is_refused_in_one_line(tmp_path):
    (tmp_path / "t.txt").write_text("a text\n")
    assert (
        problem(tmp_path, "t.txt")
        == "t.txt is plain text, which has no labels: give a table or JSON lines that have both"
    )
    (tmp_path / "t.jsonl").write_text('{"review": "a text", "label": "a"}\n')
    assert problem(tmp_path, "t.jsonl") == (
        'line 1 of t.jsonl has no "text", expected a text there: it has "review", "label"; name another column with '
        "--text"
    )
    (tmp_path / "t.jsonl").write_text('{"text": "a text", "label": "a"}\n{"text": "b"}\n{"text": "c", "label": "b"}\n')
    assert problem(tmp_path, "t.jsonl") == (
        'label column "label" of t.jsonl has no value in 1 of 3 rows (the first is line 2), expected a '
        "class in each: fill them in, or leave these rows out"
    )
    (tmp_path / "t.jsonl").write_text('{"text": "a text", "label": "a"}\n{"text": "c", "label": "b"}\n')
    assert 'has the class "a" in 1 row (2 classes have so few), expected 5 or more' in problem(tmp_path, "t.jsonl")
    assert problem(tmp_path, "no.jsonl") == "no.jsonl does not exist, expected a file of texts: check the path"


def test_a_table_of_texts_alone_is_told_how_to_learn_from_them(tmp_path):
    rows = "".join(f"a text of several words that is number {row},{'ab'[row % 2]}\n" for row in range(200))
    (tmp_path / "t.csv").write_text(f"review,label\n{rows}")
    assert problem(tmp_path, "t.csv") == (
        "t.csv has no column to learn from but texts: for an encoder, which reads them, add --text review"
    )


@pytest.mark.parametrize(("columns", "found"), [(["a", "b", "c"], "a, b, c"), (["a", "a"], "a, a")])
def test_columns_that_are_no_pair_are_refused(tmp_path, columns, found):
    written_texts(tmp_path / "mine.jsonl", count=60)
    assert problem(tmp_path, "mine.jsonl", text=columns) == (
        f"--text: found {found}, expected a column, or two different ones for pairs"
    )


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.csv"])
def test_a_label_is_not_learnt_from_itself(tmp_path, name, refused):
    written_texts(tmp_path / "mine.jsonl", count=60)
    lines = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    (tmp_path / "mine.csv").write_text("text,label\n" + "".join(f"{one['text']},{one['label']}\n" for one in lines))
    said = 'column "label" is named by --text and by data.label, expected by one of them: take it out of the other'
    assert problem(tmp_path, name, text="label") == said
    assert problem(tmp_path, name, text=["text", "label"]) == said


def test_rows_without_a_text_are_counted(limbeck, tmp_path):
    written_texts(tmp_path / "mine.jsonl", count=60)
    with (tmp_path / "mine.jsonl").open("a") as file:
        file.write('{"text": "", "label": "pos"}\n')
    code, shown, _ = limbeck("init", tmp_path / "mine.jsonl", "--label", "label")
    assert code == 0
    assert shown.startswith("1 row has an empty text (line 61) and is left out\n")


def test_a_teacher_that_cannot_teach_these_texts_is_refused(tmp_path, fine_tuned):
    written_texts(tmp_path / "mine.jsonl", count=60, labels=("down", "up"))
    assert "down" in problem(tmp_path, "mine.jsonl", teacher=fine_tuned)
    headless = learnable_folder(tmp_path / "headless")
    assert "has no classifier for 2 classes" in problem(tmp_path, "mine.jsonl", teacher=headless)
    (tmp_path / "t.skops").write_text("no")
    assert problem(tmp_path, "mine.jsonl", teacher=tmp_path / "t.skops", trust=True) == (
        "trust is about the types in a .skops file, which reads no texts: leave trust out"
    )
    with pytest.raises(UsageError, match=r"^trust is about the types in a \.skops file: give one as the teacher$"):
        write_recipe(tmp_path / "mine.jsonl", "label", trust=True)


@pytest.mark.parametrize("count", [10, 999, 20_000, 1_000_000])
def test_sizes_are_in_bounds_for_texts_of_any_number(count):
    sizes = TextSizes(Sizes(count, 2), 30, Shape(), trained=True)
    assert 2 <= sizes.epochs <= 10
    assert sizes.minutes >= 1


def test_a_larger_teacher_and_more_texts_take_longer():
    def minutes(count, shape, trained=True):
        return TextSizes(Sizes(count, 2), 30, shape, trained).minutes

    assert minutes(5000, Shape()) < minutes(20_000, Shape()) < minutes(20_000, Shape(12, 768))
    assert minutes(20_000, Shape(), trained=False) < minutes(20_000, Shape())
