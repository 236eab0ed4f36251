"""A recipe against its data: parts, classes, rows and views that are not there are refused before anything is made."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.data import Part, TextForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.plan.row_sets import RowSets
from limbeck.plan.trained_stage import view_settings
from limbeck.recipe import Recipe, Student, Transfer, TransferViews, ViewSpec
from limbeck.recipe.claim import class_problems
from limbeck.recipe.errors import shown


def check_recipe(recipe: Recipe, rows: RowSets) -> None:
    """Refuse a recipe that asks for what its data do not have.

    Raises:
        LimbeckError: saying which key asks for what.
    """
    for transfer in recipe.transfer:
        _check_parts(transfer, rows)
        _check_select(transfer, rows)
        _check_confidence(transfer, rows)
        _check_views(f"transfer.{transfer.name}", transfer.views, rows.split.train)
    for student in recipe.student:
        _check_hard(student, recipe, rows)
    for teacher in recipe.teacher:
        if teacher.views is not None:
            _check_views(f"teacher.{teacher.name}", teacher.views, rows.split.train)

    def class_names(classes: Sequence[int | str]) -> list[str]:
        train = rows.split.train
        return [train.classes[number] for number in train.class_numbers(classes)]

    for problem in class_problems(recipe.claim, recipe.rows(), class_names):
        raise UsageError(problem)


def _check_hard(student: Student, recipe: Recipe, rows: RowSets) -> None:
    """Refuse a hard term where no row has a label."""
    transfer = next(part for part in recipe.transfer if part.name == student.transfer)
    hard = any(trial.distill.hard for part in student.swept() for trial in part.trials())
    if hard and not (rows.transfer_set(transfer, False).rows.train.labels >= 0).any():
        raise UsageError(
            f"student.{student.name}.distill.hard: no row of {shown(transfer.name)} has a label, expected 0, or a part "
            "with labels beside"
        )


def _check_parts(transfer: Transfer, rows: RowSets) -> None:
    """Refuse parts that are not there."""
    try:
        rows.transfer_set(transfer.model_copy(update={"select": None}), False)
    except LimbeckError as error:
        raise type(error)(f"transfer.{transfer.name}.parts: {error}") from None


def _check_select(transfer: Transfer, rows: RowSets) -> None:
    """Refuse classes that there are not, and rows that there are not enough of."""
    select = transfer.select
    if select is None:
        return
    try:
        found = rows.transfer_set(transfer, False).rows
        for given in (select.without, select.only):
            if len(set(found.train.class_numbers(given))) < len(given):
                raise UsageError(f"found {shown(given)}, expected every class once")
        for part in (found.train, found.validation):
            if len(part):
                part.selected(without=select.without, only=select.only)
    except UsageError as error:
        raise UsageError(f"transfer.{transfer.name}.select: {error}") from None


def _check_confidence(transfer: Transfer, rows: RowSets) -> None:
    """Refuse a filter by confidence that would leave nothing out."""
    if transfer.confidence is not None and (rows.transfer_set(transfer, False).rows.train.labels >= 0).all():
        raise UsageError(
            f"transfer.{transfer.name}.confidence: all of its rows have labels, expected it with others: it is about "
            "rows without"
        )


def _check_views(where: str, views: ViewSpec, train: Part) -> None:
    """Refuse synthetic rows of images, images' views of tables and of texts, and what alters the other one of these."""
    count, rows, instead = 1, None, "none"
    if isinstance(views, TransferViews):
        count, rows, instead = views.count, views.rows, 'synthetic rows, such as rows = "munge"'
    shape = train.inputs.shape
    if isinstance(train.form, TextForm):
        fitting = 'rows = "words"' if isinstance(views, TransferViews) else "none"
        if rows not in (None, "words"):
            raise UsageError(f'{where}.views: rows = "{rows}" is for tables, found texts, expected {fitting}')
        if count and view_settings(views) is not None:
            raise UsageError(f"{where}.views: views are of images, found texts, expected {fitting}")
        return
    if rows == "words":
        fitting = 'rows = "munge"' if len(shape) == 2 else "views of images, such as rotate"
        raise UsageError(
            f'{where}.views: rows = "words" is for texts, found inputs of shape {shape[1:]}, expected {fitting}'
        )
    if rows is not None and len(shape) != 2:
        raise UsageError(
            f'{where}.views: rows = "{rows}" is for tables, found inputs of shape {shape[1:]}, expected views of '
            "images, such as rotate"
        )
    if count and len(shape) == 2 and view_settings(views) is not None:
        raise UsageError(f"{where}.views: views are of images, found a table of {shape[1]} columns, expected {instead}")
