"""Test rows that are texts, on the page."""

import copy

import numpy as np
import pytest

from limbeck.data import TextForm
from limbeck.data.texts import packed
from limbeck.report import render_report
from limbeck.report.texts import SHOWN, WHOLE, text_of

LONG = "word " * 1000
MARKED = "<script>alert(\"x\")</script> & 'more'"


def test_a_long_text_is_cut_at_a_word_and_kept_whole_beside():
    shown = text_of(packed([LONG, "short\n one"]), TextForm())
    assert shown(0).short.endswith("word…")
    assert len(shown(0).short) <= SHOWN
    assert len(shown(0).whole) <= WHOLE
    assert (shown(1).short, shown(1).whole) == ("short one", "short one")


def test_one_endless_word_is_cut_within():
    assert text_of(packed(["x" * 500]), TextForm())(0).short == "x" * (SHOWN - 1) + "…"


def test_the_halves_of_a_pair_are_told_apart():
    assert text_of(packed(["one"], ["two"]), TextForm(("a", "b")))(0).short == "one | two"


def test_other_inputs_are_no_texts():
    assert text_of(np.zeros((3, 8), np.uint8), None)(0) is None


@pytest.mark.parametrize("which", ["example", "ensemble_example"])
def test_the_page_shows_texts_escaped_and_no_pictures(which, request):
    example = copy.copy(request.getfixturevalue(which))
    count = len(example["test_labels"])
    example["test_inputs"] = packed([f"{MARKED} {number} {LONG if number % 2 else ''}" for number in range(count)])
    page = render_report(**example, form=TextForm())
    assert "<script>alert" not in page
    assert page.count('<td class="text" title="&lt;script&gt;alert(') > 5
    assert '<th scope="col">Text</th>' in page
    assert "data:image/png" not in page
    without = render_report(**example)
    assert 'class="text"' not in without
    assert "data:image/png" not in without
