"""The text of a first recipe: TOML with comments, in which no column's name leaves its line."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck.data.reading import Reading
from limbeck.initial.columns import ColumnUse
from limbeck.initial.sizes import Sizes
from limbeck.recipe.toml import toml_value

_PREDICTIONS = (".csv", ".parquet", ".npz")  # as a teacher, they answer no rows but their own
_MOST_COLUMNS = 200
_MOST_CLASSES = 50
_WIDTH = 118


@dataclass(frozen=True)
class GivenTeacher:
    """A teacher that exists.

    Attributes:
        path: a saved model's folder, an .onnx or .skops file, or a file of predictions.
        untrusted: types in a .skops file that skops does not know to be safe.
        trust: whether they may be loaded.
    """

    path: Path
    untrusted: tuple[str, ...] = ()
    trust: bool = False

    @property
    def can_be_asked(self) -> bool:
        """Whether it answers any row; predictions answer their own alone."""
        return self.path.is_dir() or self.path.suffix.lower() not in _PREDICTIONS


def recipe_text(
    path: Path,
    target: Path,
    uses: Sequence[ColumnUse],
    reading: Reading,
    counts: dict[str, int],
    sizes: Sizes,
    teacher: GivenTeacher | None,
) -> str:
    """The recipe, with a comment on every key that a person may want to change.

    Args:
        path: of the table.
        target: where the recipe will lie.
        uses: what each column is for.
        reading: the same, as the table was read.
        counts: each class and its rows.
        sizes: of teachers and students.
        teacher: one that exists, or None to fit some.
    """
    can_ask = teacher is None or teacher.can_be_asked
    title = f"{on_one_line(path.name)}: {on_one_line(reading.label or '')}, distilled"
    lines = [
        *wrapped(
            f"A recipe for {in_comment(path.name)}: it runs as it is, and is yours to change. docs/recipes.md has "
            "every key, docs/your-data.md the way from here."
        ),
        f"title = {toml_value(title)}",
        f"minutes = {sizes.minutes:g}  # about, on two cores; for people",
        "",
        *_columns(uses, sizes.rows),
        "#",
        *class_lines(counts),
        "[data]",
        *_data(source_of(path, target), uses, reading, sizes),
        "",
        *(_teachers(sizes) if teacher is None else given_lines(teacher, target)),
        "",
        *_transfer(sizes, can_ask),
        "",
        *_students(sizes, "mean" if teacher is None else "given", can_ask),
    ]
    return "\n".join(lines) + "\n"


def source_of(path: Path, target: Path) -> str:
    """The user's file as a recipe names it: relative to its own folder, where that can be."""
    try:
        source = os.path.relpath(path, target.parent)
    except ValueError:  # another drive
        return str(path.resolve())
    if source.startswith("~"):  # which stands for somebody's home
        return str(path.resolve())
    return f"./{source}" if ":" in source else source


def in_comment(name: str) -> str:
    """A name that stays within its line."""
    return toml_value(name)


def on_one_line(name: str) -> str:
    """A name without line breaks, for a title."""
    return " ".join(name.split()) or "table"


def wrapped(text: str) -> list[str]:
    """A comment, in lines of the usual width."""
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _columns(uses: Sequence[ColumnUse], rows: int) -> list[str]:
    lines = [f"# {rows:,} rows. Columns: what is in them, how many different values, how many missing."]
    shown = uses[:_MOST_COLUMNS]
    width = min(40, max(len(in_comment(one.name)) for one in shown))
    for one in shown:
        column, facts = one.column, []
        facts.append({"numeric": "numbers", "categorical": "texts", "unusable": "unusable"}[column.kind])
        if column.distinct:
            more = "more than 1,000" if column.distinct > 1000 else f"{column.distinct:,}"
            facts.append(f"{more} different")
        if column.missing:
            facts.append(f"{column.missing:,} missing")
        if one.use != "input":
            facts.append({"label": "the label", "id": "the id", "ignore": "ignored"}.get(one.use, "read as categories"))
        lines.append(f"#   {in_comment(one.name).ljust(width)}  {', '.join(facts)}")
    if len(uses) > len(shown):
        lines.append(f"#   and {len(uses) - len(shown):,} more")
    return lines


def class_lines(counts: dict[str, int]) -> list[str]:
    """A comment: each class and its rows."""
    some = [f"{in_comment(name)} {count:,}" for name, count in list(counts.items())[:_MOST_CLASSES]]
    more = f", and {len(counts) - len(some):,} more" if len(counts) > len(some) else ""
    return wrapped(f"{len(counts):,} classes, with their rows: {', '.join(some)}{more}")


def _data(source: str, uses: Sequence[ColumnUse], reading: Reading, sizes: Sizes) -> list[str]:
    lines = [
        f"source = {toml_value(source)}  # looked for beside this file first",
        f"label = {toml_value(reading.label)}  # the column of classes",
    ]
    if reading.id is not None:
        (one,) = (one for one in uses if one.use == "id")
        lines.append(f"id = {toml_value(reading.id)}  # {one.reason}; predictions from elsewhere refer to it")
    else:
        lines.append('# id = "…"  # a column of whole numbers, each once; without it rows are numbered from 0')
    ignored = [one for one in uses if one.use == "ignore"]
    if ignored:
        lines.append("ignore = [  # left out")
        lines += [f"    {toml_value(one.name)},  # {_in_line(one.reason or '')}" for one in ignored]
        lines.append("]")
    else:
        lines.append('# ignore = ["…"]  # columns to leave out: whatever is not known when the model is asked')
    named = [one for one in uses if one.use == "categorical"]
    if named:
        lines.append("categorical = [  # columns of numbers to read as categories")
        lines += [f"    {toml_value(one.name)},  # {_in_line(one.reason or '')}" for one in named]
        lines.append("]")
    else:
        lines.append('# categorical = ["…"]  # columns of numbers that are names, such as postcodes')
    return [
        *lines,
        *sizes.cut_lines(),
    ]


def _in_line(reason: str) -> str:
    return toml_value(reason)[1:-1].replace('\\"', '"')


def _teachers(sizes: Sizes) -> list[str]:
    return [
        *wrapped(
            "Teachers, as large as they like. A forest and boosted trees remember their rows, so each is fitted folds "
            "times, and a row is labelled by the one that has not seen it."
        ),
        "[[teacher]]",
        'name = "forest"',
        f'model = {{ kind = "random-forest", trees = {sizes.trees}, min_samples_leaf = {sizes.forest_leaf} }}',
        "folds = 3  # more are better teachers, and take longer",
        "",
        "[[teacher]]",
        'name = "boosted"',
        f'model = {{ kind = "gradient-boosting", iterations = {sizes.iterations}, '
        f"min_samples_leaf = {sizes.boosted_leaf} }}  # so many trees for each class",
        "folds = 3",
        "",
        "[[teacher]]",
        'name = "mean"',
        'of = ["forest", "boosted"]  # the mean of their probabilities, mostly better than either',
    ]


def given_lines(teacher: GivenTeacher, target: Path) -> list[str]:
    """The teacher that exists, for a recipe that lies at `target`."""
    moves = teacher.path.exists() and not teacher.path.is_absolute()  # the name of one on a hub does not
    where = source_of(teacher.path, target) if moves else str(teacher.path)
    lines = [
        *wrapped(
            "The teacher that you have. What is measured of it is only true of rows that it was not fitted to: leave "
            "the test rows out there, too."
        ),
        "[[teacher]]",
        'name = "given"',
        f"from = {toml_value(where)}  # looked for beside this file first",
    ]
    if teacher.untrusted:
        why = "  # types in the file that skops does not know to be safe, and that may be loaded"
        trust = f"trust = {toml_value(list(teacher.untrusted))}"
        lines.append(f"{trust}{why}" if teacher.trust else f"# {trust}{why}, if you trust whoever made it")
    return lines


def _transfer(sizes: Sizes, can_ask: bool) -> list[str]:
    lines = [
        "# What the teacher is asked about, and students learn from.",
        "[[transfer]]",
        'name = "rows"  # the training rows as they are',
    ]
    if can_ask:
        rows, how = ("munge", "towards its nearest neighbour (MUNGE)") if sizes.can_munge else ("spunge", "by columns")
        why = "" if sizes.can_munge else "; MUNGE would compare too many pairs of rows"
        lines += [
            "",
            "[[transfer]]",
            'name = "more-rows"  # these and synthetic ones, which the teacher labels',
            f'views = {{ count = {sizes.views}, rows = "{rows}", swap = 0.2 }}  # so many for each, altered {how}{why}',
        ]
    return lines


def _students(sizes: Sizes, teacher: str, can_ask: bool) -> list[str]:
    def network(transfer: str, why: str) -> list[str]:
        return [
            "[[student]]",
            'name = "mlp"',
            f'teacher = "{teacher}"',
            f'transfer = "{transfer}"{why}',
            f'model = {{ kind = "mlp", widths = {sizes.widths} }}  # hidden layers; narrower is smaller and faster',
            'grid = { "distill.temperature" = [1, 2, 4] }  # ever softer targets; the best on the validation rows',
            "distill = { hard = 1 }  # the weight of the labels, beside 1 for the teacher",
            f"train = {{ epochs = {sizes.epochs}, batch_size = {sizes.batch}, learning_rate = 3e-3 }}",
            "",
        ]

    best = "more-rows" if can_ask else "rows"
    return [
        "# Students, each beside the same model trained on the labels alone (its baseline).",
        *network(best, ""),
        *(network("rows", "  # the same without synthetic rows: what are they worth?") if can_ask else []),
        '# One tree, to be read. kind = "soft-tree" (with train) is one for `limbeck explain`: docs/trees.md.',
        "[[student]]",
        'name = "tree"',
        f'teacher = "{teacher}"',
        f'transfer = "{best}"',
        f'model = {{ kind = "sklearn-tree", max_depth = 5, min_samples_leaf = {sizes.tree_leaf} }}  # 5 questions',
        "distill = { temperature = 1 }  # the teacher's probabilities as they are",
    ]
