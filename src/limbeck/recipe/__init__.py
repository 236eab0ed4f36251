"""Recipes: experiments as TOML, read, checked, changed and written, and their typed form."""

from limbeck.recipe.claim import Claim
from limbeck.recipe.data import Data
from limbeck.recipe.form import Recipe, Regression
from limbeck.recipe.overrides import apply_overrides, teacher_from
from limbeck.recipe.reading import (
    dump_recipe,
    first_difference,
    load_recipe,
    parse_recipe,
    read_recipe,
    recipe_name,
    settings_key,
)
from limbeck.recipe.settings import BoostedTrees, Convnet, Distill, Mlp, Model, SklearnTree, SoftTree, Train, ViewSpec
from limbeck.recipe.student import Reference, Student
from limbeck.recipe.teacher import GradientBoosting, LightGbm, RandomForest, Teacher
from limbeck.recipe.transfer import Select, Transfer, TransferViews

__all__ = [
    "BoostedTrees",
    "Claim",
    "Convnet",
    "Data",
    "Distill",
    "GradientBoosting",
    "LightGbm",
    "Mlp",
    "Model",
    "RandomForest",
    "Recipe",
    "Reference",
    "Regression",
    "Select",
    "SklearnTree",
    "SoftTree",
    "Student",
    "Teacher",
    "Train",
    "Transfer",
    "TransferViews",
    "ViewSpec",
    "apply_overrides",
    "dump_recipe",
    "first_difference",
    "load_recipe",
    "parse_recipe",
    "read_recipe",
    "recipe_name",
    "settings_key",
    "teacher_from",
]
