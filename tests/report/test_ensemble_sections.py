"""What the page says of an ensemble and of the parts of a transfer set."""

import re
from typing import Any

import numpy as np
import pytest
from test_report_page import Page

from limbeck.ensembles import member_disagreement
from limbeck.report import render_report
from limbeck.report.ensembles import find_ensembles, numbered_members, share_of_gain, together
from limbeck.report.models import read_models
from limbeck.report.split_votes import find_split_votes
from limbeck.report.sweeps import find_sweeps
from limbeck.report.table import columns, lines
from limbeck.report.transfer_parts import folded, known_parts, part_figures

OF_ENSEMBLES = [
    "The ensemble and its members",
    "What the teacher knows of the transfer set",
    "Where the members disagree",
]


def ensembles_of(example: dict[str, Any]) -> Any:
    models = read_models(example["results"], example["predictions"], {}, 797, 10)
    return find_ensembles(example["results"], models)


def test_a_run_without_ensemble_or_facts_has_none_of_their_sections(html: str) -> None:
    for heading in OF_ENSEMBLES:
        assert heading not in html
    assert "according to each" not in html


def test_the_sections_come_in_their_order(ensemble_example: dict[str, Any]) -> None:
    html = render_report(**ensemble_example)
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "All models",
        *OF_ENSEMBLES[:2],
        "Errors against cost",
        "Errors over settings",
        "Can they be believed?",
        "Where student and teacher part ways",
        OF_ENSEMBLES[2],
        "What the teacher finds alike",
        "The richest soft targets",
        "How to get it again",
    ]
    Page(html)


def test_the_ensemble_stands_beside_its_members(ensemble_example: dict[str, Any]) -> None:
    facts = ensemble_example["results"]["ensembles"]["teacher/ensemble"]
    page = Page(render_report(**ensemble_example))
    said = (
        f"ensemble is the mean of 10 models. They make {facts['lowest']} to {facts['highest']} errors each, "
        f"the ensemble {facts['errors']}."
    )
    assert said in page.text
    assert "ensemble, 2 members 2" in page.text
    labels = [svg["aria-label"] for svg in page.all("svg") if "aria-label" in svg]
    drawn = next(label for label in labels if "members" in label)
    assert f"members {facts['lowest']} to {facts['highest']}" in drawn
    assert "student mlp" in drawn


def test_what_a_student_keeps_is_a_share_of_the_gain_over_the_mean_member(ensemble_example: dict[str, Any]) -> None:
    described = ensemble_example["results"]["ensembles"]["teacher/ensemble"]
    described |= {"mean_errors": 171.0, "errors": 134}
    ensemble = ensembles_of(ensemble_example)[0]
    assert share_of_gain(148, ensemble) == pytest.approx(23 / 37)
    assert f"{100 * 23 / 37:.0f}% of the gain" not in render_report(**ensemble_example)
    ensemble_example["results"]["models"][2]["errors"] = 148
    assert "148: 62% of the gain" in render_report(**ensemble_example)
    ensemble_example["results"]["models"][2]["errors"] = 200
    assert "% of the gain" not in render_report(**ensemble_example)


def test_an_ensemble_that_gains_nothing_is_said_to(ensemble_example: dict[str, Any]) -> None:
    ensemble_example["results"]["ensembles"]["teacher/ensemble"]["errors"] = 400
    html = render_report(**ensemble_example)
    assert "It gains nothing over its members on the average." in Page(html).text
    assert "% of the gain" not in html


def test_weights_are_shown_where_they_differ_and_said_to_be_fitted(ensemble_example: dict[str, Any]) -> None:
    facts = ensemble_example["results"]["ensembles"]["teacher/ensemble"]
    facts["weights"] = [0.1] * 10
    assert "Weights" not in Page(render_report(**ensemble_example)).text
    fitted = {"rows": 200, "errors": 12, "errors_equal": 14}
    facts |= {"weights": [0.55] + [0.05] * 9, "fitted": fitted, "errors_equal_weights": 58}
    text = Page(render_report(**ensemble_example)).text.replace("\u00a0", " ")
    said = (
        "Weights fitted on 200 validation rows (12 errors there, 14 with equal weights): single 1 0.55, single 2 0.05,"
    )
    assert said in text
    assert "With equal weights it would make 58 errors here." in text


def test_students_of_some_members_alone_are_not_the_whole_ensembles(ensemble_example: dict[str, Any]) -> None:
    rows = ensemble_example["results"]["models"]
    rows.append(rows[2] | {"variant": {"members": 2}})
    of_ten, of_two = ensembles_of(ensemble_example)
    assert [model.variant for model in of_two.taught] == [{"members": 2}]
    assert {"members": 2} not in [model.variant for model in of_ten.taught]


def test_rows_on_which_members_differ_most_come_first_with_their_votes(ensemble_example: dict[str, Any]) -> None:
    predictions = ensemble_example["predictions"]
    said = [predictions[f"reference/single-member={k}"] for k in range(1, 11)]
    chosen = np.stack([one.argmax(axis=1) for one in said])
    split = np.flatnonzero((chosen != chosen[0]).any(axis=0))
    first = split[member_disagreement(said)[split].argmax()]
    found = find_split_votes(
        ensembles_of(ensemble_example)[0],
        ensemble_example["test_labels"],
        ensemble_example["classes"],
        ensemble_example["test_inputs"],
    )
    assert found is not None
    assert (found.members, found.total, len(found.cases)) == (10, len(split), 18)
    case = found.cases[0]
    assert case.row == first
    assert {name: count for name, count, _ in case.said} == {
        str(c): int(n) for c, n in zip(*np.unique(chosen[:, first], return_counts=True), strict=True)
    }
    assert case.truth == str(ensemble_example["test_labels"][first])
    assert case.chosen == str(predictions["teacher/ensemble"][first].argmax())
    assert case.picture is not None


def test_votes_are_read_without_pictures(ensemble_example: dict[str, Any]) -> None:
    ensemble_example["test_inputs"] = ensemble_example["test_inputs"].astype(np.float32)
    text = Page(render_report(**ensemble_example)).text
    assert "Test row True class Members say Ensemble says" in text
    assert re.search(r"\d \u00d7\d", text.replace("\u00a0", " ").replace("  ", " "))


def test_members_without_predictions_have_no_votes(ensemble_example: dict[str, Any]) -> None:
    del ensemble_example["predictions"]["reference/single-member=4"]
    html = render_report(**ensemble_example)
    assert "The ensemble and its members" in html
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert "Where the members disagree" not in headings or "The 2 members of ensemble" in Page(html).text


def test_parts_are_described_and_the_far_ones_marked(ensemble_example: dict[str, Any]) -> None:
    html = render_report(**ensemble_example)
    text = Page(html).text
    assert "650 rows (31 kept), the teacher is" in text
    marked = re.findall(r'class="[^"]*\bfar\b[^"]*">([^<]*)', html)
    assert marked
    assert all(words.startswith("far from what it knows") for words in marked)
    assert "much like the validation rows" in text
    assert "surer than of validation rows" in text


def test_parts_without_validation_rows_have_no_yardstick(ensemble_example: dict[str, Any]) -> None:
    for facts in ensemble_example["results"]["parts"]:
        facts |= {"validation": None, "difference": None}
    html = render_report(**ensemble_example)
    assert "yardstick" not in re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    assert not re.search(r'class="[^"]*\bfar\b', html)


def test_a_part_of_two_transfer_sets_is_shown_once(ensemble_example: dict[str, Any]) -> None:
    parts = ensemble_example["results"]["parts"]
    parts.append(parts[1] | {"transfer": "all"})
    found = known_parts(ensemble_example["results"])
    assert [part.name for part in found] == ["labelled", "unlabelled", "file:scrambled.npz", "validation rows"]
    assert found[1].source == "train and all, by ensemble"


def test_classes_most_alike_are_said_of_the_ensemble_and_each_member(ensemble_example: dict[str, Any]) -> None:
    text = Page(render_report(**ensemble_example)).text
    listed = text[text.index("Most alike according to each") :]
    assert listed.index("ensemble") < listed.index("single 1") < listed.index("single 10")


def test_hostile_names_of_parts_are_text(ensemble_example: dict[str, Any]) -> None:
    ensemble_example["results"]["parts"][2]["part"] = "file:<img src=x onerror=alert(1)>"
    ensemble_example["results"]["models"][2]["name"] = "$\\frac<b>$"
    assert "<img src=x" not in render_report(**ensemble_example)


def test_the_page_is_the_same_each_time(ensemble_example: dict[str, Any]) -> None:
    assert render_report(**ensemble_example) == render_report(**ensemble_example)


def test_errors_over_members_end_at_all_of_them_and_begin_at_one(ensemble_example: dict[str, Any]) -> None:
    results, predictions = ensemble_example["results"], ensemble_example["predictions"]
    rows, described = results["models"], results["ensembles"]
    for count, errors in ((2, 70), (5, 61)):
        rows.append(rows[2] | {"variant": rows[2]["variant"] | {"members": count}, "errors": errors})
    models = read_models(results, predictions, {}, 797, 10)
    (sweep,) = find_sweeps(models, find_ensembles(results, models))
    lines = {line.role: line.points for line in sweep.lines}
    assert sweep.setting == "members"
    assert lines["student"] == ((2, 70), (5, 61), (10, rows[2]["errors"]))
    whole, of_two = described["teacher/ensemble"], described["teacher/ensemble-members=2"]
    assert lines["teacher"] == ((1, whole["mean_errors"]), (2, of_two["errors"]), (10, whole["errors"]))
    assert "Errors by members" in render_report(**ensemble_example)


def test_which_member_a_row_is_is_no_setting(ensemble_example: dict[str, Any]) -> None:
    assert "Errors by member</b>" not in render_report(**ensemble_example)


def with_mean_of_logits(example: dict[str, Any]) -> dict[str, Any]:
    """A second mean of the same members, which chooses another class for the row on which they differ most."""
    results, predictions = example["results"], example["predictions"]
    predictions["teacher/logits"] = predictions["teacher/ensemble"].copy()
    most = int(np.argmax(member_disagreement([predictions[f"reference/single-member={k}"] for k in range(1, 11)])))
    predictions["teacher/logits"][most] = predictions["teacher/logits"][most][::-1]
    results["models"].append(results["models"][0] | {"name": "logits"})
    results["ensembles"]["teacher/logits"] = results["ensembles"]["teacher/ensemble"] | {"mean": "logits"}
    return example


def test_means_of_the_same_members_stand_in_one_figure_and_disagree_in_one_section(
    ensemble_example: dict[str, Any],
) -> None:
    example = with_mean_of_logits(ensemble_example)
    (several,) = together(ensembles_of(example))
    assert [one.label for one in several.means] == ["ensemble", "logits"]
    assert [one.label for one in several.smaller] == ["ensemble, 2 members"]
    html = render_report(**example)
    text = Page(html).text.replace("\u00a0", " ")
    assert "ensemble and logits are means of the same 10 models." in text
    assert "(mean of logits)" in text
    assert html.count("<h2>Where the members disagree</h2>") == 1
    assert len(re.findall(r'aria-label="Errors in [^"]*members', html)) == 1
    listed = text[text.index("Most alike according to each") :]
    assert listed.index("ensemble") < listed.index("logits") < listed.index("single 1")
    assert listed.count("single 10") == 1


def test_another_mean_is_named_where_it_chooses_another_class(ensemble_example: dict[str, Any]) -> None:
    example = with_mean_of_logits(ensemble_example)
    (several,) = together(ensembles_of(example))
    found = find_split_votes(
        several.first, example["test_labels"], example["classes"], example["test_inputs"], several.means[1:]
    )
    assert found is not None
    chosen = example["predictions"]["teacher/logits"][found.cases[0].row].argmax()
    assert [case.otherwise[:1] for case in found.cases[:2]] == [
        (("logits", str(chosen), str(chosen) == found.cases[0].truth),),
        (),
    ]


def test_means_of_other_members_have_their_own_figures(ensemble_example: dict[str, Any]) -> None:
    example = with_mean_of_logits(ensemble_example)
    facts = example["results"]["ensembles"]["teacher/logits"]
    example["results"]["ensembles"]["teacher/logits"] = facts | {"rows": facts["rows"][::-1]}
    assert len(together(ensembles_of(example))) == 2


def test_students_far_from_members_are_named_at_the_edge_and_do_not_stretch_the_axis(
    ensemble_example: dict[str, Any],
) -> None:
    rows = ensemble_example["results"]["models"]
    rows[2]["errors"], rows[3]["errors"], rows[4]["errors"] = 55, 4870, 5430
    html = render_report(**ensemble_example)
    figure = next(svg for svg in re.findall(r"<svg[^>]*role.*?</svg>", html, re.S) if "members" in svg[:400])
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", figure)
    assert {"4,870", "5,430"} < set(texts)
    ticks = [int(text.replace(",", "")) for text in texts if re.fullmatch(r"[\d,]+", text)]
    assert sorted(ticks)[-3] < 300


def test_texts_of_the_figure_do_not_cover_each_other(ensemble_example: dict[str, Any]) -> None:
    results = ensemble_example["results"]
    results["ensembles"]["teacher/ensemble-members=2"]["errors"] = results["ensembles"]["teacher/ensemble"]["errors"]
    html = render_report(**ensemble_example)
    figure = next(svg for svg in re.findall(r"<svg[^>]*role.*?</svg>", html, re.S) if "members" in svg[:400])
    heights = {text: float(y) for y, text in re.findall(r'<text[^>]* y="([\d.]+)"[^>]*>([^<]*)</text>', figure)}
    own = str(results["ensembles"]["teacher/ensemble"]["errors"])
    assert heights["of 2"] - heights[own] > 15


def test_members_are_one_line_of_the_table_with_their_mean_and_range(ensemble_example: dict[str, Any]) -> None:
    models = read_models(ensemble_example["results"], {}, {}, 797, 10)
    (members,) = numbered_members(find_ensembles(ensemble_example["results"], models))
    facts = ensemble_example["results"]["ensembles"]["teacher/ensemble"]
    found = columns(models, 797)
    line = lines(models, found, [members])[-1]
    cell = line.cells[[column.key for column in found].index("errors")]
    assert line.settings.startswith("10 members")
    assert cell.value == pytest.approx(facts["mean_errors"])
    assert cell.beneath == f"({facts['lowest']} to {facts['highest']})"
    html = render_report(**ensemble_example)
    tables = re.findall(r'<table[^>]*class="models">(.*?)</table>', html, re.S)
    assert [table.count('<th scope="row"') for table in tables] == [6, 10]
    assert html.count('"variant":{"member":') == 10


def test_models_of_several_names_are_not_folded(ensemble_example: dict[str, Any]) -> None:
    results = ensemble_example["results"]
    names = []
    for number, row in enumerate(row for row in results["models"] if row["role"] == "reference"):
        row |= {"name": f"net-{number}", "variant": {}}
        names.append(f"reference/net-{number}")
    results["ensembles"]["teacher/ensemble"]["rows"] = names
    del results["ensembles"]["teacher/ensemble-members=2"]
    assert numbered_members(find_ensembles(results, read_models(results, {}, {}, 797, 10))) == []


def test_fewer_rows_of_a_part_and_further_teachers_have_no_drawing(ensemble_example: dict[str, Any]) -> None:
    results = ensemble_example["results"]
    labelled, unlabelled, scrambled = results["parts"]
    results["parts"] += [
        unlabelled | {"transfer": "some", "rows": 100},
        *(part | {"teacher": "teacher/ensemble-members=2"} for part in (labelled, unlabelled, scrambled)),
    ]
    parts = known_parts(results)
    assert [(part.name, part.facts["rows"]) for part, _ in part_figures(parts)] == [
        ("labelled", 150),
        ("unlabelled", 650),
        ("file:scrambled.npz", 650),
    ]
    shown, further = folded(parts)
    assert (len(shown), len(further)) == (5, 4)
    assert {part.source for part in further} == {"train, by ensemble, 2 members", "by ensemble, 2 members"}
    text = Page(render_report(**ensemble_example)).text
    assert "For other teachers: ensemble, 2 members (1 part far from what it knows)" in text
    assert folded(parts[:6]) == (parts[:6], [])


def test_parts_that_differ_in_last_digits_are_one(ensemble_example: dict[str, Any]) -> None:
    parts = ensemble_example["results"]["parts"]
    parts.append(parts[0] | {"transfer": "labelled", "confidence": parts[0]["confidence"] * (1 + 1e-14)})
    found = known_parts(ensemble_example["results"])
    assert [part.source for part in found if part.name == "labelled"] == ["train and labelled, by ensemble"]


def test_errors_over_rows_end_at_all_rows_of_the_transfer_set_beside_the_ensemble(
    ensemble_example: dict[str, Any],
) -> None:
    results = ensemble_example["results"]
    rows = results["models"]
    for count, errors in ((200, 70), (500, 61)):
        rows.append(rows[2] | {"variant": rows[2]["variant"] | {"rows": count}, "errors": errors, "transfer": "few"})
    models = read_models(results, {}, {}, 797, 10)
    found = find_sweeps(models, find_ensembles(results, models), results["parts"])
    sweep = next(sweep for sweep in found if sweep.setting == "rows")
    every = sum(part["rows"] for part in results["parts"])
    points = {line.role: line.points for line in sweep.lines}
    assert points["student"] == ((200, 70), (500, 61), (every, rows[2]["errors"]))
    assert points["teacher"] == ((200, rows[0]["errors"]), (every, rows[0]["errors"]))
    assert [sweep.label(line) for line in sweep.lines if line.role == "student"] == ["mlp"]


def test_shares_of_rows_end_at_no_number_of_rows(ensemble_example: dict[str, Any]) -> None:
    results = ensemble_example["results"]
    rows = results["models"]
    rows += [rows[2] | {"variant": rows[2]["variant"] | {"rows": share}} for share in (0.03, 0.1, 0.5)]
    models = read_models(results, {}, {}, 797, 10)
    found = find_sweeps(models, find_ensembles(results, models), results["parts"])
    sweep = next(sweep for sweep in found if sweep.setting == "rows")
    (student,) = (line for line in sweep.lines if line.role == "student")
    assert [value for value, _ in student.points] == [0.03, 0.1, 0.5]
