"""How large the parts of a first recipe are, by the number of rows and classes: minutes on two cores, no GPU."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.recipe.settings import FILE
from limbeck.recipe.toml import toml_value

_ROWS_TO_LABEL = 100_000  # synthetic ones, about, that a teacher labels in seconds
_ROWS_TO_SHOW = 1_500_000  # that a student sees in all epochs together
_MOST_TO_MUNGE = 150_000  # MUNGE compares every pair of rows: two minutes


@dataclass(frozen=True)
class Sizes:
    """Sizes that suit a table.

    Attributes:
        rows: of the table.
        classes: of its label.
        test_file: of the test rows, where these have a file of their own.
    """

    rows: int
    classes: int
    test_file: str | None = None

    @property
    def test(self) -> float | None:
        """The share of rows to test on, as data.test has it; None where they are others."""
        return None if self.test_file is not None else self._tested

    def cut_lines(self) -> list[str]:
        """The keys of `[data]` that cut the rows, with comments."""
        test = (
            f"test = {self.test}  # share of all rows that is looked at once, at the end"
            if self.test_file is None
            else f"test = {toml_value(FILE + self.test_file)}  # rows that are looked at once, at the end"
        )
        choices = f"validation = {self.validation}  # share of the rows not tested on: every choice is made on them"
        return [choices, test]

    @property
    def _tested(self) -> float:
        """The share of rows to test on: of few rows more, or no difference can be told."""
        return 0.3 if self.rows < 1000 else 0.2 if self.rows < 200_000 else 0.1

    @property
    def validation(self) -> float:
        """The share of what is left to choose on."""
        return 0.2 if self.rows < 1000 else 0.15 if self.rows < 20_000 else 0.1

    @property
    def training(self) -> float:
        """About how many rows are left to train on."""
        return self.rows * (1 - (self.test or 0)) * (1 - self.validation)

    @property
    def trees(self) -> int:
        """Of the forest."""
        return 200 if self.training < 5000 else 100

    @property
    def forest_leaf(self) -> int:
        """Least rows in a leaf of the forest, which is otherwise a hundred megabytes of many rows."""
        return 1 if self.training < 5000 else 3

    @property
    def iterations(self) -> int:
        """Of gradient boosting, each with a tree for every class."""
        return max(20, min(100, 1000 // self.classes))

    @property
    def boosted_leaf(self) -> int:
        """Least rows in a leaf of gradient boosting: with 20 of few rows there is nothing to split."""
        return 5 if self.training < 1000 else 20

    @property
    def can_munge(self) -> bool:
        """Whether every row can be compared with every other."""
        return self.training < _MOST_TO_MUNGE

    @property
    def views(self) -> int:
        """Synthetic rows for each row."""
        return int(max(1, min(20, round(_ROWS_TO_LABEL / self.training))))

    @property
    def widths(self) -> list[int]:
        """Of the student."""
        return [64, 64] if self.training < 5000 else [128, 128]

    @property
    def epochs(self) -> int:
        """Of the student."""
        return int(max(10, min(300, round(_ROWS_TO_SHOW / self.training, -1))))

    @property
    def batch(self) -> int:
        """Rows in a step."""
        return 64 if self.training < 5000 else 128 if self.training < 20_000 else 256

    @property
    def tree_leaf(self) -> int:
        """Least rows in a leaf of the tree that is read."""
        return 5 if self.training < 5000 else 20

    @property
    def minutes(self) -> float:
        """About, on two cores: half of it the boosted trees, which are fitted and asked class by class."""
        boosting = self.rows * self.iterations * self.classes / 11_000_000
        networks = min(1.0, 0.2 + self.rows / 20_000)
        found = 0.3 + boosting + networks + 0.5 * (self.rows / 50_000)
        return max(0.5, round(found * 2) / 2)
