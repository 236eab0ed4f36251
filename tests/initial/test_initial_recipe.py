"""`limbeck init`: what it finds in a table, what it writes, and that it runs as it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pandas
import pytest
import skops.io
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import RandomForestClassifier

from limbeck import load_dataset, write_recipe
from limbeck.errors import LimbeckError, UsageError
from limbeck.initial.columns import is_called_id
from limbeck.initial.sizes import Sizes
from limbeck.recipe import Recipe, load_recipe

WINE = load_wine(as_frame=True)


def wine() -> pandas.DataFrame:
    """Three measurements of 178 wines, and the cultivar."""
    table = WINE.data[["alcohol", "hue", "proline"]].copy()
    table["cultivar"] = WINE.target_names[WINE.target]
    return table


def written(folder: Path, table: pandas.DataFrame, label: str = "cultivar") -> tuple[Recipe, str]:
    """The recipe for a table, and its text."""
    table.to_csv(folder / "wine.csv", index=False)
    found = write_recipe(folder / "wine.csv", label)
    return load_recipe(found.path), found.path.read_text("utf-8")


def problem(folder: Path, content: str, label: str = "y") -> str:
    """What is said of a table; nothing may be written."""
    (folder / "t.csv").write_text(content, "utf-8")
    with pytest.raises(LimbeckError) as error:
        write_recipe(folder / "t.csv", label)
    assert [path.name for path in folder.iterdir()] == ["t.csv"]
    return str(error.value).replace(f"{folder}/", "")


def rows(*classes: str) -> str:
    """A table whose x rises and whose y has these classes."""
    return "x,y\n" + "".join(f"{number / 3},{name}\n" for number, name in enumerate(classes))


def test_a_recipe_lies_beside_its_table_and_says_what_is_in_it(limbeck, tmp_path: Path) -> None:
    wine().to_csv(tmp_path / "wine.csv", index=False)
    code, shown, err = limbeck("init", tmp_path / "wine.csv", "--label", "cultivar")
    path = tmp_path / "wine.toml"
    minutes = load_recipe(path).minutes
    assert (code, err) == (0, "")
    assert shown == (
        f"{path}: 178 rows, 3 columns to learn from, 3 classes\n"
        f"about {minutes:g} {'minute' if minutes == 1 else 'minutes'} on two cores: limbeck run {path}\n"
    )
    text = path.read_text("utf-8")
    assert '#   "alcohol"   numbers, 126 different\n' in text
    assert '#   "cultivar"  texts, 3 different, the label\n' in text
    assert '# 3 classes, with their rows: "class_0" 59, "class_1" 71, "class_2" 48\n' in text


def test_it_runs_as_it_stands(limbeck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, wine().iloc[::2])
    monkeypatch.chdir(tmp_path)
    sets = ["--set", "student.mlp.train.epochs=5", "--set", "teacher.forest.model.trees=20"]
    code, shown, err = limbeck("run", "wine.toml", *sets, "--set", "teacher.boosted.model.iterations=5")
    assert code == 0, err
    assert [line.split()[:2] for line in shown.splitlines()[2:10]] == [
        ["teacher", "forest"],
        ["teacher", "boosted"],
        ["teacher", "mean"],
        ["student", "mlp"],
        ["baseline", "mlp"],
        ["student", "mlp"],
        ["student", "tree"],
        ["baseline", "tree"],
    ]


def test_the_table_is_found_from_the_recipe_s_folder(limbeck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "recipes").mkdir()
    wine().to_csv(tmp_path / "data" / "wine.csv.gz", index=False)
    monkeypatch.chdir(tmp_path / "data")
    assert write_recipe("wine.csv.gz", "cultivar").path == Path("wine.toml")
    assert load_recipe("wine.toml").data.source == "wine.csv.gz"
    found = write_recipe("wine.csv.gz", "cultivar", tmp_path / "recipes" / "first.toml")
    assert load_recipe(found.path).data.source == "../data/wine.csv.gz"
    monkeypatch.chdir("/")
    code, shown, _ = limbeck("run", found.path, "--dry-run", "--out", tmp_path / "run")
    assert code == 0
    assert "teacher" in shown


@pytest.mark.parametrize(
    "name", ["a:b.csv", "idx:wine.csv", "~wine.csv", "wein ä 'x' \"y\".csv", "two\nlines.csv", "#.csv"]
)
def test_a_table_of_any_name_is_found(tmp_path: Path, name: str) -> None:
    wine().to_csv(tmp_path / name, index=False)
    found = write_recipe(tmp_path / name, "cultivar")
    data = load_recipe(found.path).data
    assert len(load_dataset(data.source, data.reading(), beside=tmp_path).train) == 178


def test_ids_are_told_from_numbers(tmp_path: Path) -> None:
    table = wine()
    table.insert(0, "wineId", range(500, 500 + len(table)))
    table.insert(0, "Unnamed: 0", range(len(table)))
    table["customer_id"] = [7 * number for number in range(len(table))]
    table["shop_id"] = [number % 4 for number in range(len(table))]
    table["session id"] = [number // 2 for number in range(len(table))]
    table["cents"] = [13 * number for number in range(len(table))]  # each once, but a quantity
    recipe, text = written(tmp_path, table)
    assert recipe.data.id == "wineId"
    assert recipe.data.ignore == ["Unnamed: 0", "customer_id", "session id"]
    assert recipe.data.categorical == ["shop_id"]
    assert 'id = "wineId"  # has whole numbers, each once, and is called an id; predictions' in text
    assert '    "Unnamed: 0",  # counts the rows\n' in text
    assert '    "customer_id",  # is a second id\n' in text
    assert '    "session id",  # is called an id: its numbers are names, and too many to be categories\n' in text
    assert '    "shop_id",  # is called an id: its few numbers are names\n' in text


@pytest.mark.parametrize("name", ["id", "ID", "user_id", "user-id", "userId", "user ID", "UUID", "row.id"])
def test_names_of_ids(name: str) -> None:
    assert is_called_id(name)


@pytest.mark.parametrize("name", ["paid", "acid", "humid", "grid", "idle", "ids", "valid", "PAID", "Said"])
def test_names_that_only_end_like_ids(name: str) -> None:
    assert not is_called_id(name)


def test_columns_that_say_nothing_are_left_out_and_it_is_said_why(tmp_path: Path) -> None:
    table = wine()
    table["country"] = "Italy"
    table["note"] = [f"bottle {number}" for number in range(len(table))]
    table["empty"] = ""
    recipe, text = written(tmp_path, table)
    assert recipe.data.ignore == ["country", "note", "empty"]
    assert '    "country",  # has the same value in every row\n' in text
    assert '    "note",  # has 178 different texts in 178 rows\n' in text
    assert '    "empty",  # has no value in any row\n' in text


def test_missing_values_are_counted(tmp_path: Path) -> None:
    table = wine()
    table.loc[:9, "hue"] = None
    assert '#   "hue"       numbers, 78 different, 10 missing\n' in written(tmp_path, table)[1]


def test_names_of_columns_and_classes_stay_within_their_line(tmp_path: Path) -> None:
    names = ['say "hue"', "two\nlines", "#]\r\n[[teacher]]", "back\\slash", "größe\u2028x", "=\x1b[0m"]
    table = wine()
    for number, name in enumerate(names):
        table[name] = [f"{number}{row % 3}" for row in range(len(table))]
    table["same\n[data]"] = 1
    table['culti"\nvar'] = table.pop("cultivar").str.replace("_", '"\n_')
    recipe, text = written(tmp_path, table, 'culti"\nvar')
    assert recipe.data.label == 'culti"\nvar'
    assert recipe.data.ignore == ["same\n[data]"]
    assert len(text.splitlines()) == text.count("\n")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)
    dataset = load_dataset(recipe.data.source, recipe.data.reading(), beside=tmp_path)
    assert dataset.classes == ('class"\n_0', 'class"\n_1', 'class"\n_2')
    assert dataset.train.form is not None
    assert set(names) < set(dataset.train.form.names)


def test_a_recipe_that_is_there_is_not_overwritten(refused, tmp_path: Path) -> None:
    wine().to_csv(tmp_path / "wine.csv", index=False)
    (tmp_path / "wine.toml").write_text("mine")
    assert refused("init", tmp_path / "wine.csv", "--label", "cultivar") == (
        2,
        f"{tmp_path / 'wine.toml'} is there already, and is not overwritten: delete it, or give --out another name",
    )
    assert (tmp_path / "wine.toml").read_text() == "mine"


def test_what_is_no_place_for_a_recipe_is_refused(tmp_path: Path) -> None:
    wine().to_csv(tmp_path / "wine.csv", index=False)
    for out, message in (
        ("recipe.txt", f'out = "{tmp_path}/recipe.txt": expected a file that ends in .toml'),
        ("no/a.toml", f"out = {tmp_path}/no/a.toml: there is no folder {tmp_path}/no: make it first"),
    ):
        with pytest.raises(UsageError) as error:
            write_recipe(tmp_path / "wine.csv", "cultivar", tmp_path / out)
        assert str(error.value) == message


def test_bad_tables_are_refused_in_the_reader_s_words(refused, tmp_path: Path) -> None:
    assert refused("init", tmp_path / "no.csv", "--label", "y") == (
        2,
        f"table {tmp_path / 'no.csv'} does not exist, expected a file: check the path",
    )
    assert problem(tmp_path, "x,y\n1,a\n2,b,3\n") == (
        "line 3 of t.csv has 3 fields, expected 2 as in its header: mend the line (a field with commas in it stands in "
        "double quotes)"
    )
    assert problem(tmp_path, rows(*"ab" * 9), "Y ") == (
        'data.label names the column "Y ", but t.csv has none of that name, did you mean "y"?'
    )
    assert problem(tmp_path, rows(*"a" * 9)) == (
        'label column "y" of t.csv has "a" in every row, expected at least two classes: name another column as '
        "data.label"
    )
    assert problem(tmp_path, rows(*(f"{number}.5" for number in range(30)))) == (
        'label column "y" of t.csv has numbers such as "0.5", expected classes (whole numbers or texts): limbeck learns '
        "classes and no quantities; cut it into classes, or name another column as data.label"
    )


def test_classes_of_too_few_rows_and_rows_without_a_class_are_refused(tmp_path: Path) -> None:
    assert problem(tmp_path, rows(*"aaaaabbbbbccd")) == (
        'label column "y" of t.csv has the class "d" in 1 row (2 classes have so few), expected 5 or more of each, to '
        "train, to choose and to test on: leave these rows out, put classes together, or find more"
    )
    assert problem(tmp_path, rows(*"aaaaabbbbb", "", "b", "")) == (
        'label column "y" of t.csv has no value in 2 of 13 rows (the first is row 10, counted from 0), expected a class '
        "in each: fill them in, or leave these rows out"
    )


def test_what_is_no_table_by_its_name_is_refused(tmp_path: Path) -> None:
    for name in ("t.xlsx", "t.toml"):  # by default a recipe would lie where the second one does
        (tmp_path / name).write_text("x")
        with pytest.raises(UsageError) as error:
            write_recipe(tmp_path / name, "y")
        assert str(error.value) == (
            f"{tmp_path / name} is no table and no texts: its name does not end in .csv, .csv.gz, .tsv, .tsv.gz, "
            ".parquet, .jsonl, .ndjson, .jsonl.gz, .ndjson.gz"
        )


@pytest.mark.parametrize("count", [10, 178, 999, 5000, 20_000, 53_940, 500_000, 10_000_000])
@pytest.mark.parametrize("classes", [2, 26, 1000])
def test_sizes_are_in_bounds_for_tables_of_any_size(count: int, classes: int) -> None:
    sizes = Sizes(count, classes)
    assert 1 <= sizes.views <= 20
    assert 10 <= sizes.epochs <= 300
    assert 20 <= sizes.iterations <= 100
    assert sizes.minutes >= 0.5
    assert sizes.can_munge == (count < 200_000)


def test_a_larger_table_takes_longer() -> None:
    minutes = [Sizes(count, 5).minutes for count in (200, 5000, 50_000, 500_000)]
    assert minutes == sorted(minutes)
    assert len(set(minutes)) == 4


def test_a_teacher_that_exists_takes_the_place_of_those_to_be_fitted(tmp_path: Path) -> None:
    table = wine()
    table.to_csv(tmp_path / "wine.csv", index=False)
    labels = table.pop("cultivar")
    skops.io.dump(RandomForestClassifier(5, random_state=0).fit(table, labels), tmp_path / "forest.skops")
    refusing = write_recipe(tmp_path / "wine.csv", "cultivar", tmp_path / "a.toml", teacher=tmp_path / "forest.skops")
    trusting = write_recipe(
        tmp_path / "wine.csv", "cultivar", tmp_path / "b.toml", teacher=tmp_path / "forest.skops", trust=True
    )
    (a,), (b,) = (load_recipe(one.path).teacher for one in (refusing, trusting))
    assert (a.name, a.from_, a.trust) == ("given", str(tmp_path / "forest.skops"), None)
    assert b.trust == ["sklearn.tree._tree.Tree"]
    assert '# trust = ["sklearn.tree._tree.Tree"]  # types' in refusing.path.read_text("utf-8")


def test_a_teacher_of_which_there_are_predictions_alone_is_not_asked_about_synthetic_rows(tmp_path: Path) -> None:
    wine().to_csv(tmp_path / "wine.csv", index=False)
    (tmp_path / "said.csv").write_text("id,label\n" + "".join(f"{row},class_0\n" for row in range(178)))
    found = write_recipe(tmp_path / "wine.csv", "cultivar", teacher=tmp_path / "said.csv")
    recipe = load_recipe(found.path)
    assert [one.name for one in recipe.transfer] == ["rows"]
    assert [(one.name, one.transfer) for one in recipe.student] == [("mlp", "rows"), ("tree", "rows")]


def test_a_teacher_s_file_is_looked_at_before_a_recipe_is_written(tmp_path: Path) -> None:
    wine().to_csv(tmp_path / "wine.csv", index=False)
    (tmp_path / "other.csv").write_text("id,p_x,p_y\n0,0.5,0.5\n")
    (tmp_path / "few.csv").write_text("id,label\n" + "".join(f"{row},class_0\n" for row in range(1000, 1178)))
    (tmp_path / "no.onnx").write_text("no")
    (tmp_path / "no.txt").write_text("no")
    for name, message in (
        ("other.csv", "class_0"),
        ("few.csv", "few.csv has no row for "),
        ("no.onnx", "no.onnx cannot be read as an ONNX model"),
        (
            "no.txt",
            "no.txt ends in .txt, expected the folder of a saved model, an .onnx or .skops file, or predictions",
        ),
    ):
        with pytest.raises(LimbeckError) as error:
            write_recipe(tmp_path / "wine.csv", "cultivar", teacher=tmp_path / name)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "wine.toml").exists()


def test_a_teacher_that_cannot_be_is_refused(tmp_path: Path) -> None:
    table = load_breast_cancer(as_frame=True).frame
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "bad.skops").write_text("no")
    (tmp_path / "t.onnx").write_text("no")
    for teacher, trust, message in (
        (
            "no.skops",
            False,
            f"teacher {tmp_path}/no.skops does not exist: give a saved model's folder or file, or predictions",
        ),
        (
            "bad.skops",
            False,
            f"{tmp_path}/bad.skops is no skops file: expected a fitted estimator as skops.io.dump writes it",
        ),
        ("t.onnx", True, f"trust is about the types in a .skops file, and {tmp_path}/t.onnx is none: leave trust out"),
    ):
        with pytest.raises(LimbeckError) as error:
            write_recipe(tmp_path / "t.csv", "target", teacher=tmp_path / teacher, trust=trust)
        assert str(error.value) == message
    with pytest.raises(UsageError, match=r"^trust is about the types in a \.skops file: give one as the teacher$"):
        write_recipe(tmp_path / "t.csv", "target", trust=True)
    assert not (tmp_path / "t.toml").exists()


def test_the_template_is_such_a_recipe(tmp_path: Path) -> None:
    template = load_recipe("your-own")
    mine = tomllib.loads(written(tmp_path, wine())[1])
    for section in ("teacher", "transfer", "student"):
        there = [(part.name, getattr(part, "transfer", None)) for part in getattr(template, section)]
        assert there == [(part["name"], part.get("transfer")) for part in mine[section]]
