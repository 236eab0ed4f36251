"""Soft decision trees to be read: as plain arrays, as text, as a drawing and a page, explained, and pruned."""

from limbeck.trees.arrays import Predict, TreeArrays

__all__ = ["Predict", "TreeArrays"]
