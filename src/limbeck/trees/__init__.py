"""Soft decision trees to be read: as plain arrays, as text, as a drawing and a page, explained, and pruned."""

from limbeck.trees.arrays import Predict, TreeArrays
from limbeck.trees.explanation import Explanation, explain
from limbeck.trees.pruning import Pruned, changed, prune
from limbeck.trees.text import to_text

__all__ = ["Explanation", "Predict", "Pruned", "TreeArrays", "changed", "explain", "prune", "to_text"]
