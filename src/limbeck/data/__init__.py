"""Data sets, their parts and splits, views of images, and synthetic rows of tables and of texts.

`load_dataset` gives a `Dataset`: a training part, and a test part where the source has one.
`Dataset.split` cuts the validation rows (and test rows) off. `view_pixels` draws altered views
of images; `synthetic_rows` makes rows like those of a table, or texts; `ViewCache` keeps on disk what is costly about
either.
`Reading` says how a table or images are read; `read_table_rows`, `to_frame` and `describe_table` are for tables.
"""

from limbeck.data.dataset import Dataset, Split, some_rows
from limbeck.data.fetching import fetch
from limbeck.data.form import Column, Form, ImageForm, TableForm, TextForm
from limbeck.data.neighbours import nearest_rows
from limbeck.data.part import Part, shared_rows
from limbeck.data.reading import Reading
from limbeck.data.sources import load_dataset
from limbeck.data.synthetic import SyntheticSettings, synthetic_rows
from limbeck.data.table import TableRows, describe_table, read_table_rows, to_frame
from limbeck.data.view_cache import ViewCache
from limbeck.data.views import ViewSettings, view_pixels

__all__ = [
    "Column",
    "Dataset",
    "Form",
    "ImageForm",
    "Part",
    "Reading",
    "Split",
    "SyntheticSettings",
    "TableForm",
    "TableRows",
    "TextForm",
    "ViewCache",
    "ViewSettings",
    "describe_table",
    "fetch",
    "load_dataset",
    "nearest_rows",
    "read_table_rows",
    "shared_rows",
    "some_rows",
    "synthetic_rows",
    "to_frame",
    "view_pixels",
]
