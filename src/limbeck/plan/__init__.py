"""From a recipe to stages: what has to be made, each with its key, before anything is made."""
