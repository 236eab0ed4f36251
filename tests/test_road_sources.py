"""What a run says of its data, and refuses, before or as soon as it can be known."""

import numpy as np
import pytest
from PIL import Image

from limbeck.data import load_dataset
from limbeck.errors import LimbeckError
from limbeck.road import run

RECIPE = """
title = "Small pictures"

[data]
source = "images:pictures"
skip_damaged = true
validation = 0.2
test = 0.25

[[teacher]]
name = "net"
model = { kind = "mlp", widths = [8] }
train = { epochs = 5, learning_rate = 1e-2 }

[[student]]
name = "mlp"
model = { kind = "mlp", widths = [4] }
train = { epochs = 2 }
"""


class Said:
    """A progress that remembers its lines."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)

    def start(self, title, total):
        pass

    def at(self, done, note=""):
        pass

    def end(self, note=""):
        pass


def pictures(folder, classes):
    draw = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / "pictures" / name).mkdir(parents=True)
        for count in range(20):
            pixels = (draw.integers(0, 60, (8, 8)) + 120 * number).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{count:02}.png")
    (folder / "pictures.toml").write_text(RECIPE)
    return folder / "pictures.toml"


def test_damaged_images_that_were_skipped_are_named(tmp_path):
    recipe = pictures(tmp_path, ["cat", "dog"])
    (tmp_path / "pictures" / "cat" / "03.png").write_bytes(b"no image")
    said = Said()
    run(recipe, tmp_path / "runs" / "x", until="teach", progress=said)
    assert "1 damaged image left out: cat/03.png" in said.lines


def test_one_class_is_refused_before_anything_is_made(tmp_path):
    recipe = pictures(tmp_path, ["cat"])
    with pytest.raises(LimbeckError) as error:
        run(recipe, tmp_path / "runs" / "x")
    expected = "images:pictures has one class, cat: a teacher and its students tell at least two classes apart"
    assert str(error.value) == expected
    assert not (tmp_path / "runs").exists()


def test_predictions_with_exchanged_classes_are_refused_by_extraction(tmp_path):
    train = load_dataset("digits").split(validation=200, test=0.25).train
    probabilities = np.full((len(train), 10), 0.01)
    exchanged = np.array([1, 0, *range(2, 10)])[train.labels]
    probabilities[np.arange(len(train)), exchanged] = 0.91
    np.savez(tmp_path / "p.npz", ids=train.ids, probabilities=probabilities)
    sets = [f"teacher.*.from={tmp_path / 'p.npz'}", "transfer.views.views.count=0"]
    with pytest.raises(LimbeckError, match=r"100\.0% if its classes are renamed \(0→1, 1→0\)"):
        run("digits", tmp_path / "runs" / "x", sets=sets, until="extract")
