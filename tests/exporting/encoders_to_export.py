"""Small random encoders as limbeck saves them, and texts to ask them about."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "encoders"))

from small import TEXTS, tiny_folder

from limbeck.data.texts import packed
from limbeck.models import save_model
from limbeck.models.encoder_folder import open_encoder

CLASSES = ("neg", "<b>*pos*|")
LONG = "good " * 100  # more than the 64 tokens that they take
ASKED = (*TEXTS, LONG)


def rows(times=1):
    """Texts as rows, the last of each round longer than an encoder takes."""
    return packed(ASKED * times)


def saved(folder, kind="bert", layers=1):
    """An encoder of a type, and its folder, which is named after it."""
    encoder, _ = open_encoder(tiny_folder(folder, kind, layers=layers))
    encoder.network.config.id2label = dict(enumerate(CLASSES))
    encoder.network.config.label2id = {name: number for number, name in enumerate(CLASSES)}
    save_model(folder / f"saved-{kind}", encoder, CLASSES)
    return encoder, folder / f"saved-{kind}"


def texts_file(path, times=1):
    """The same texts in a file, labelled by turns."""
    lines = [{"text": text, "label": CLASSES[place % 2]} for place, text in enumerate(ASKED * times)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
