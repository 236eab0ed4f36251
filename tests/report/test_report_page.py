import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.report import render_report
from limbeck.report.models import read_models
from limbeck.rows import model_id

MEGABYTE = 1_000_000
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a browser would make of the page: its elements, its text, and that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._skip = 0
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def inside(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="limbeck-results">(.*?)</script>', html, re.S)
    assert found is not None
    return json.loads(found.group(1))


def test_the_verdict_stands_on_top_with_its_numbers(example: dict[str, Any], html: str) -> None:
    teacher, student, baseline, _ = example["results"]["models"]
    heading = re.search(r"<h1>(.*?)</h1>", html, re.S)
    assert heading is not None
    words = " ".join(Page(heading.group(1)).text.split())
    assert words == (
        f"linear learnt from svm makes {student['errors']} errors in 797; the same model trained on labels "
        f"alone makes {baseline['errors']} (p < 0.001): distilling helps ."
    )
    gap = 100 * (student["accuracy"] - baseline["accuracy"]) / (teacher["accuracy"] - baseline["accuracy"])
    text = Page(html).text
    assert "Beside its teacher: 45 times fewer multiply-adds, 32 times smaller, 5.0 times faster." in text
    assert f"It recovers {gap:.0f}% of the gap" in text


def test_the_sections_come_in_their_order(html: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == [
        "All models",
        "Errors against cost",
        "Training",
        "Can they be believed?",
        "Where student and teacher part ways",
        "What the teacher finds alike",
        "The richest soft targets",
        "How to get it again",
    ]


def test_each_further_student_has_its_own_line_and_variants_have_none(example: dict[str, Any]) -> None:
    rows = example["results"]["models"]
    rows.append(rows[1] | {"name": "smaller", "errors": 41, "verdict": "no difference", "p_value": 0.4})
    text = Page(render_report(**example)).text
    assert text.count("learnt from svm makes") == 2
    assert (
        "smaller learnt from svm makes 41 errors in 797: there is no baseline to say whether distilling helped" in text
    )


def test_the_table_holds_every_row_and_nulls_are_dashes(example: dict[str, Any], html: str) -> None:
    table = re.search(r'<table id="models"[^>]*>(.*?)</table>', html, re.S)
    assert table is not None
    rows = re.findall(r"<tr class=.(?:teacher|student|baseline).*?</tr>", table.group(1), re.S)
    assert len(rows) == 4
    cells = [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<td.*?</td>", rows[0], re.S)]
    row = example["results"]["models"][0]
    assert cells[:2] == [f"{100 * row['accuracy']:.1f}", str(row["errors"])]
    assert cells[4:] == ["–", "–", "–", "–", "29.0 k", "117 kB", "29.0 k", "0.200", "21.5 k", "1 min 15 s"]
    assert "temperature 8" in rows[3]


def test_rows_of_nothing_but_nulls_are_shown(example: dict[str, Any]) -> None:
    fields = ["role", "name", "variant"]
    rows = example["results"]["models"]
    example["results"]["models"] = [
        {key: value if key in fields else None for key, value in row.items()} for row in rows
    ]
    example |= {"predictions": {}, "histories": {}}
    example["run"] |= {"versions": None, "parts": None, "precision": None, "command": None, "threads": None}
    html = render_report(**example)
    assert "<h2>All models</h2>" in html
    assert "its errors were not counted" in html
    for absent in (
        "Errors against cost",
        "Training</h2>",
        "Can they be believed?",
        "part ways",
        "finds alike",
    ):
        assert absent not in html
    Page(html)


def test_a_run_without_rows_is_still_a_page(example: dict[str, Any]) -> None:
    example["results"]["models"] = []
    example |= {"predictions": {}, "histories": {}}
    assert "No student in this run." in render_report(**example)


def test_metrics_by_name_become_columns(example: dict[str, Any]) -> None:
    example["results"]["models"][1]["metrics"] = {"errors_on_3": 7, "note": "text", "depth": float("nan")}
    text = Page(render_report(**example)).text
    assert "errors on 3" in text
    assert "depth" not in text
    assert "note" not in text.split("What the columns mean")[0]


def test_of_many_classes_left_out_no_more_are_columns_than_leave_room_for_the_rest(example: dict[str, Any]) -> None:
    many = {f"errors_on_{number}": number for number in range(40)}
    example["results"]["models"][1]["metrics"] = {**many, "bias_raised": 3.5}
    text = Page(render_report(**example)).text
    assert "bias raised" in text
    assert "errors on 0" in text
    assert "errors on 39" not in text


def test_the_same_numbers_are_inside_as_json(example: dict[str, Any], html: str) -> None:
    assert inside(html) == {"results": example["results"], "run": example["run"]}


def test_not_a_number_becomes_null_in_the_json(example: dict[str, Any]) -> None:
    example["results"]["models"][0]["nll"] = float("inf")
    example["results"]["models"][1]["ece"] = float("nan")
    models = inside(render_report(**example))["results"]["models"]
    assert models[0]["nll"] is None
    assert models[1]["ece"] is None


def test_hostile_names_stay_text(example: dict[str, Any], html: str) -> None:
    attack = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'&$x^$"
    honest = [tag for tag, _ in Page(html).elements]
    results, run = example["results"], example["run"]
    results["recipe"] = run["recipe"] = attack
    run["command"] = f"limbeck run {attack}"
    run["versions"] = results["versions"] = {attack: attack, "torch": "2", "numpy": "2"}
    run["parts"] = {attack: attack, "b": "c"}
    run["precision"] = {attack: attack, "c": "d"}
    rows = results["models"]
    rows[0]["name"] = rows[1]["teacher"] = rows[3]["teacher"] = attack
    rows[1]["transfer"] = attack
    rows[3]["variant"] = {attack: attack}
    for found in (example["predictions"], example["histories"]):
        found[model_id("teacher", attack, {})] = found.pop("teacher/svm")
    example["predictions"].pop("student/linear-temperature=8")
    example["classes"] = [attack, *example["classes"][1:]]
    html = render_report(**example)
    page = Page(html)
    assert [tag for tag, _ in page.elements] == honest
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert attack in page.text
    assert inside(html)["results"]["recipe"] == attack


def test_nothing_is_fetched(html: str) -> None:
    for _, attributes in Page(html).elements:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
        assert "url(" not in attributes.get("style", "").replace("url(#", "")
    assert "http" not in html.replace("http-equiv", "")
    assert "@import" not in html


def test_ids_are_unique_and_references_meet_them(html: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(html).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed_at = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', html))
    assert {a or b for a, b in pointed_at} <= set(ids)


def test_drawings_are_named_and_follow_the_theme(html: str) -> None:
    drawings = re.findall(r"<svg[^>]*role=\"img\".*?</svg>", html, re.S)
    assert len(drawings) == 2 + 1 + 3
    for drawing in drawings:
        assert re.search(r'aria-label="[^"]{20,}"', drawing)
        assert not re.search(r"#[0-9a-fA-F]{6}\b", drawing)
        assert "var(--" in drawing


def test_the_same_inputs_give_the_same_bytes(example: dict[str, Any], html: str) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.hashsalt": "other"}):
        assert render_report(**example) == html


def test_the_same_bytes_in_another_process(example: dict[str, Any], html: str, tmp_path: Any) -> None:
    import pickle

    (tmp_path / "example").write_bytes(pickle.dumps(example))
    code = (
        "import pickle, sys, pathlib, hashlib; from limbeck.report import render_report; "
        "example = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()); "
        "sys.stdout.buffer.write(render_report(**example).encode())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "example")]
    assert subprocess.run(command, capture_output=True, check=True).stdout == html.encode()


def test_matplotlib_settings_are_left_as_they_were(example: dict[str, Any]) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    render_report(**example)
    assert dict(matplotlib.rcParams) == before


def test_importing_the_report_does_not_import_matplotlib() -> None:
    code = "import sys, limbeck.report; assert not {'matplotlib', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_large_run_stays_below_a_megabyte(example: dict[str, Any]) -> None:
    draw = np.random.default_rng(0)
    rows, width = 400, 100
    logits = draw.normal(size=(62, rows, width)) * 2
    log_probs = (logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))).astype(np.float32)
    teacher, student, baseline, _ = example["results"]["models"]
    example["results"]["models"] = [teacher]
    example |= {"predictions": {"teacher/svm": log_probs[-1]}, "histories": {}}
    history = {
        "epochs": [{"epoch": e, "validation_accuracy": float(draw.random())} for e in range(1, 301)],
        "kept_epoch": 300,
    }
    for number in range(20):
        name = f"student number {number} with a long name"
        example["results"]["models"] += [
            student | {"name": name},
            baseline | {"name": name},
            student | {"name": name, "variant": {"temperature": 20}},
        ]
        for model, values in (
            (f"student/{name}-temperature=4", log_probs[3 * number]),
            (f"baseline/{name}", log_probs[3 * number + 1]),
            (f"student/{name}-temperature=20", log_probs[3 * number + 2]),
        ):
            example["predictions"][model] = values
            example["histories"][model] = history
    example["test_inputs"] = draw.integers(0, 256, (rows, 96, 128, 3), dtype=np.uint8)
    example["test_labels"] = draw.integers(0, width, rows)
    example["classes"] = [f"class {number}" for number in range(width)]
    html = render_report(**example)
    assert len(html.encode()) < MEGABYTE
    assert "Most alike: " in html
    assert 'class="likeness"' not in html
    Page(html)


def test_the_example_is_small(html: str) -> None:
    assert len(html.encode()) < MEGABYTE / 4


def test_unlabelled_test_rows_are_left_out_of_the_diagrams(example: dict[str, Any]) -> None:
    example["test_labels"][::2] = -1
    assert "unlabelled" in render_report(**example)
    example["test_labels"][:] = -1
    assert "Can they be believed?" not in render_report(**example)


def test_predictions_of_other_rows_are_refused(example: dict[str, Any]) -> None:
    example["predictions"]["teacher/svm"] = example["predictions"]["teacher/svm"][:-1]
    with pytest.raises(LimbeckError) as caught:
        render_report(**example)
    assert str(caught.value) == (
        "predictions of teacher/svm have the shape (796, 10), but the test set has 797 rows and 10 classes: "
        "run `limbeck evaluate` again"
    )


def test_inputs_that_are_no_pictures_become_a_small_table(example: dict[str, Any]) -> None:
    example["test_inputs"] = example["test_inputs"].reshape(797, 64).astype(np.float32)
    page = Page(render_report(**example))
    assert page.all("img") == []
    assert "Test row True class Teacher says Student says" in page.text


def test_the_predictions_of_a_row_are_found_by_its_whole_variant(example: dict[str, Any]) -> None:
    row = example["results"]["models"][1]
    example["results"]["models"] = [row | {"variant": {"without": [3, 5], "temperature": 4.0}}]
    for name, found in (("without=3+5", False), ("temperature=4,without=3+5", True)):
        models = read_models(example["results"], {f"student/linear-{name}": np.zeros((2, 3))}, {}, 2, 3)
        assert (models[0].log_probs is not None) == found
