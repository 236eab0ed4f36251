"""Data sets, their parts and splits, and views of images.

`load_dataset` gives a `Dataset`: a training part, and a test part where the source has one.
`Dataset.split` cuts the validation rows (and test rows) off. `view_pixels` draws altered views
of images; `ViewCache` keeps them on disk.
"""

from limbeck.data.dataset import Dataset, Split, some_rows
from limbeck.data.form import Column, Form, ImageForm, TableForm
from limbeck.data.part import Part, shared_rows
from limbeck.data.sources import load_dataset
from limbeck.data.view_cache import ViewCache
from limbeck.data.views import ViewSettings, view_pixels

__all__ = [
    "Column",
    "Dataset",
    "Form",
    "ImageForm",
    "Part",
    "Split",
    "TableForm",
    "ViewCache",
    "ViewSettings",
    "load_dataset",
    "shared_rows",
    "some_rows",
    "view_pixels",
]
