"""Models as ONNX files that were checked, in 8 bits where asked for, with a model card.

`export` writes and checks all of it; `export_onnx` makes the file alone.
"""

from limbeck.exporting.checking import Check
from limbeck.exporting.columns import feeds
from limbeck.exporting.exported import Exported, Int8, export, export_module
from limbeck.exporting.graph import export_onnx

__all__ = ["Check", "Exported", "Int8", "export", "export_module", "export_onnx", "feeds"]
