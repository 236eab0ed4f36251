from __future__ import annotations

import copy
import datetime
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import UsageError
from limbeck.recipe import apply_overrides, load_recipe, parse_recipe, teacher_from

DATA = tomllib.loads("""
title = "Small"
data = { source = "digits" }
[[teacher]]
name = "v1"
model = { kind = "convnet" }
train = { epochs = 3 }
[[teacher]]
name = "v1.2"
model = { kind = "convnet" }
train = { epochs = 3 }
[[student]]
name = "2x128"
teacher = "v1"
model = { kind = "mlp", widths = [128, 128] }
train = { epochs = 5 }
[[student]]
name = "2x30"
teacher = "v1.2"
model = { kind = "mlp", widths = [30, 30] }
train = { epochs = 5 }
""")


def epochs(data: dict[str, Any], section: str) -> list[int]:
    return [part["train"]["epochs"] for part in data[section]]


def test_a_dotted_path_reaches_a_key_and_the_data_given_stays_as_it_was() -> None:
    given = copy.deepcopy(DATA)
    assert apply_overrides(given, ["data.source=idx:some folder"])["data"] == {"source": "idx:some folder"}
    assert apply_overrides(given, ["student.*.train.epochs=9"]) != DATA
    assert given == DATA


def test_a_part_is_addressed_by_name_and_all_of_them_by_a_star() -> None:
    assert epochs(apply_overrides(DATA, ["student.2x30.train.epochs=9"]), "student") == [5, 9]
    assert epochs(apply_overrides(DATA, ["student.*.train.epochs=9"]), "student") == [9, 9]


def test_a_name_may_hold_dots_and_the_longest_that_fits_is_meant() -> None:
    assert epochs(apply_overrides(DATA, ["teacher.v1.train.epochs=9"]), "teacher") == [9, 3]
    assert epochs(apply_overrides(DATA, ["teacher.v1.2.train.epochs=9"]), "teacher") == [3, 9]


def test_tables_on_the_way_are_made() -> None:
    students = apply_overrides(DATA, ["student.*.distill.temperature=2.5"])["student"]
    assert [student["distill"] for student in students] == [{"temperature": 2.5}] * 2
    assert students[0]["distill"] is not students[1]["distill"]


def test_settings_are_put_in_one_after_the_other() -> None:
    assert epochs(apply_overrides(DATA, ["student.*.train.epochs=9", "student.2x30.train.epochs=1"]), "student") == [
        9,
        1,
    ]


def test_the_transfer_set_of_a_recipe_without_one_can_be_set_too() -> None:
    data = apply_overrides(DATA, ["transfer.train.views={count=2, shift=1}"])
    assert parse_recipe(data, "").transfer[0].views.count == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("4.0", 4.0),
        ("1e-3", 1e-3),
        ("true", True),
        (" [1, 2]", [1, 2]),
        ("{a = 1}", {"a": 1}),
        ('"4"', "4"),
        ("digits", "digits"),
        ("idx:a=b", "idx:a=b"),
        ("C:\\new", "C:\\new"),
        ("", ""),
        ("True", "True"),
        ("2024-01-02", datetime.date(2024, 1, 2)),
        ("1\nother = 2", "1\nother = 2"),
        ("[" * 20000, "[" * 20000),
    ],
)
def test_a_value_is_toml_and_what_is_not_toml_is_a_string(text: str, value: object) -> None:
    assert apply_overrides({}, [f"key={text}"]) == {"key": value}


@pytest.mark.parametrize(
    "setting",
    [
        'student.2x30.grid={"distill.temperature" = [1, 2]}',
        "student.2x30.grid.distill.temperature=[1, 2]",
        'student.2x30.grid."distill.temperature"=[1, 2]',
    ],
)
def test_a_grid_is_set_as_a_whole_or_by_one_of_its_paths(setting: str) -> None:
    assert apply_overrides(DATA, [setting])["student"][1]["grid"] == {"distill.temperature": [1, 2]}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", '--set epochs: found no "=", expected KEY=VALUE, such as student.*.distill.temperature=4'),
        (
            "data..source=x",
            "--set data..source: found an empty key, expected KEY=VALUE, such as student.*.distill.temperature=4",
        ),
        ("=3", "--set =3: found an empty key, expected KEY=VALUE, such as student.*.distill.temperature=4"),
        (
            "student.2x31.train.epochs=1",
            '--set student.2x31.train.epochs: no student is named "2x31", did you mean "2x30"?',
        ),
        (
            "student.tiny.train.epochs=1",
            '--set student.tiny.train.epochs: no student is named "tiny", there are "2x128", "2x30"',
        ),
        (
            "transfer.views.select=1",
            '--set transfer.views.select: no transfer is named "views", there is "train"',
        ),
        (
            "student.2x30=1",
            "--set student.2x30: names a whole student, expected one of its keys: student.2x30.KEY=VALUE",
        ),
        (
            "student.*=1",
            "--set student.*: names a whole student, expected one of its keys: student.*.KEY=VALUE",
        ),
        ("title.x=1", '--set title.x: "title" is "Small", not a table, and has no key "x"'),
        (
            "student.*.train.epochs.x=1",
            '--set student.*.train.epochs.x: "epochs" is 5, not a table, and has no key "x"',
        ),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(setting: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        apply_overrides(DATA, [setting])
    assert str(error.value) == message


def test_a_star_over_no_parts_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        apply_overrides({}, ["student.*.baseline=false"])
    assert str(error.value) == '--set student.*.baseline: no student is named "*"'


def test_an_unknown_key_set_is_reported_when_the_recipe_is_checked() -> None:
    with pytest.raises(UsageError) as error:
        load_recipe("mnist", ["student.2x30.trian.epochs=3", "studnet.2x30.train.epochs=3"])
    assert str(error.value) == (
        'mnist: student.2x30.trian: unknown key, did you mean "train"?; studnet: unknown key, did you mean "student"?'
    )


@settings(deadline=None)
@given(st.text() | st.text(alphabet='student.2x30*gr"=[]1\n', min_size=3))
def test_whatever_is_set_the_answer_is_data_or_one_line(setting: str) -> None:
    for text in (setting, f"student.2x30.{setting}", f"student.{setting}=1"):
        message = ""
        try:
            assert isinstance(apply_overrides(DATA, [text]), dict)
        except UsageError as error:
            message = str(error)
        assert len(message.splitlines()) <= 1


def test_a_teacher_set_to_be_from_a_path_is_no_longer_trained() -> None:
    data = {"teacher": [{"name": "net", "model": {"kind": "mlp", "widths": [8]}, "train": {"epochs": 1}, "views": {}}]}
    changed = apply_overrides(data, ["teacher.net.from=predictions.csv"])
    assert changed["teacher"] == [{"name": "net", "from": "predictions.csv"}]


def test_the_teacher_that_a_file_stands_for_is_the_only_one_or_the_one_named() -> None:
    one = {"teacher": [{"name": "net"}]}
    two = {"teacher": [{"name": "net"}, {"name": "forest"}]}
    assert teacher_from(one, "p.csv") == 'teacher.net.from="p.csv"'
    assert teacher_from(two, "p.csv", "forest") == 'teacher.forest.from="p.csv"'
    with pytest.raises(
        UsageError, match=r"^--from p.csv: the recipe has the teachers net, forest: say whose with --teacher"
    ):
        teacher_from(two, "p.csv")
    with pytest.raises(UsageError, match='^--teacher forrest: no teacher is named "forrest", did you mean "forest"'):
        teacher_from(two, "p.csv", "forrest")
