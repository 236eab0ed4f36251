"""The knowledge store: teachers' outputs, recorded once, checked, and handed to students as targets."""

from limbeck.knowledge.checks import check_agreement, check_knowledge, spot_check
from limbeck.knowledge.combination import combined
from limbeck.knowledge.extraction import extract, repair
from limbeck.knowledge.store import Knowledge, Recording
from limbeck.knowledge.targets import (
    CombinedTargets,
    LabelTargets,
    LiveTargets,
    RowWeights,
    StoredTargets,
    Targets,
    TargetSource,
    mean_confidence,
    permuted,
    smoothed_labels,
)

__all__ = [
    "CombinedTargets",
    "Knowledge",
    "LabelTargets",
    "LiveTargets",
    "Recording",
    "RowWeights",
    "StoredTargets",
    "TargetSource",
    "Targets",
    "check_agreement",
    "check_knowledge",
    "combined",
    "extract",
    "mean_confidence",
    "permuted",
    "repair",
    "smoothed_labels",
    "spot_check",
]
