"""The documentation against the code: every key of a recipe, and tables that a command printed."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from limbeck.recipe import (
    BoostedTrees,
    Claim,
    Convnet,
    Data,
    Distill,
    GradientBoosting,
    LightGbm,
    Mlp,
    RandomForest,
    Recipe,
    Reference,
    Regression,
    Select,
    SklearnTree,
    SoftTree,
    Student,
    Teacher,
    Train,
    Transfer,
    TransferViews,
    load_recipe,
    parse_recipe,
    settings_key,
)
from limbeck.recipe.errors import keys_of
from limbeck.recipe.general import General, GeneralDistill, Mask
from limbeck.recipe.settings import Encoder
from limbeck.recipe.task import Task
from limbeck.recipe.toml import toml_value
from limbeck.recipe.transfer import Confidence
from limbeck.results.comparison import comparison_table, read_results
from limbeck.rows import row_label

ROOT = Path(__file__).parent.parent
TABLES: dict[str, type[BaseModel]] = {
    "Recipe": Recipe,
    "data": Data,
    "general": General,
    "general.distill": GeneralDistill,
    "general.mask": Mask,
    "task": Task,
    "teacher": Teacher,
    "mlp": Mlp,
    "convnet": Convnet,
    "soft-tree": SoftTree,
    "sklearn-tree": SklearnTree,
    "boosted-trees": BoostedTrees,
    "encoder": Encoder,
    "random-forest": RandomForest,
    "gradient-boosting": GradientBoosting,
    "lightgbm": LightGbm,
    "train": Train,
    "transfer": Transfer,
    "confidence": Confidence,
    "select": Select,
    "views": TransferViews,
    "student": Student,
    "distill": Distill,
    "reference": Reference,
    "regression": Regression,
    "claim": Claim,
}


def documented(heading: str) -> dict[str, str]:
    """The keys under a heading of docs/recipes.md, each with what its row gives as the default."""
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    (section,) = re.findall(rf"^##+ {heading}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", section, re.MULTILINE))


@pytest.mark.parametrize(("heading", "table"), TABLES.items())
def test_every_key_of_a_recipe_is_documented_with_its_default(heading: str, table: type[BaseModel]) -> None:
    rows = documented(heading)
    assert set(rows) == set(keys_of(table))
    for key, field in keys_of(table).items():
        if rows[key] == "needed":
            assert field.is_required() or key == "kind"
        elif isinstance(field.default, int | float | str | list):
            assert rows[key] == f"`{toml_value(field.default)}`", key


SECTIONS: dict[str, Any] = {
    "title": "x",
    "data": {"source": "digits", "test": 0.25},
    "teacher": [{"name": "t", "model": {"kind": "convnet"}, "train": {"epochs": 1}}],
    "student": [{"name": "s", "model": {"kind": "convnet"}, "train": {"epochs": 1}}],
}
EXAMPLES = re.findall(
    r"^```toml\n(\[.*?)^```$", (ROOT / "docs" / "recipes.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda example: " ".join(re.findall(r"(?<=^name = ).*", example, re.M))
)
def test_an_example_of_whole_sections_is_a_recipe_with_the_sections_that_it_leaves_out(example: str) -> None:
    given = tomllib.loads(example)
    transfer = {"transfer": given["transfer"][0]["name"]} if "transfer" in given else {}
    student = [{**SECTIONS["student"][0], **transfer}]
    parse_recipe({**SECTIONS, "student": student, **given}, "example.toml")


@pytest.mark.parametrize("folder", sorted((ROOT / "docs" / "results").glob("*/")), ids=lambda path: path.name)
def test_the_tables_of_results_are_those_that_the_command_prints(folder: Path) -> None:
    table = comparison_table(sorted(folder.glob("seed-*.json")), markdown=True)
    assert table in (ROOT / "docs" / "results.md").read_text("utf-8"), "run `make results`"


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]), ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_table_of_the_demo_in_the_readme_is_that_of_seed_0() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    (table,) = re.findall(r"<!-- demo-table -->\n(.*?)<!-- /demo-table -->", text, re.DOTALL)
    head, _, *lines = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.strip().splitlines())
    rows = read_results(ROOT / "docs" / "results" / "mnist" / "seed-0.json")["models"]
    assert len(lines) == len(rows)
    for cells, row in zip(lines, rows, strict=True):
        shown = dict(zip(head, cells, strict=True))
        assert (shown["role"], shown["model"], shown["verdict"]) == (row["role"], row_label(row), row["verdict"] or "–")
        for name, key, form in (
            ("errors", "errors", ",d"),
            ("accuracy", "accuracy", ".2%"),
            ("parameters", "parameters", ",d"),
            ("multiply-adds", "multiply_adds", ",d"),
            ("gap kept", "gap_recovered", ".0%"),
            ("p", "p_value", ".2g"),
        ):
            assert shown[name] == ("–" if row[key] is None else format(row[key], form)), name


def test_the_readme_says_of_three_seeds_what_their_results_say() -> None:
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    found = [read_results(path)["models"] for path in sorted((ROOT / "docs" / "results" / "mnist").glob("seed-*.json"))]
    assert len(found) == 3
    student, baseline = (sorted(models[row]["errors"] for models in found) for row in (1, 2))
    assert (
        f"over three, the 2x128 student has made {student[1]} errors ({student[0]} to {student[2]}) and its baseline "
        f"{baseline[1]} ({baseline[0]} to {baseline[2]})"
    ) in text


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "results").glob("*/seed-*.json")), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_results_are_of_the_recipes_as_they_are(path: Path) -> None:
    found = read_results(path)
    if path.parent.name == found["recipe"]:  # others are of a recipe that was changed, as docs/results.md says
        assert found["settings"] == settings_key(load_recipe(found["recipe"]))
