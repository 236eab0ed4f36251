"""The bundled recipes: experiments as TOML files, by name."""

from __future__ import annotations

from importlib.resources import files


def bundled_recipes() -> list[str]:
    """The names of the bundled recipes, in alphabetical order."""
    names = [entry.name for entry in files(__name__).iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def bundled_recipe(name: str) -> str:
    """The text of a bundled recipe, as TOML.

    Args:
        name: one of `bundled_recipes()`.
    """
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
