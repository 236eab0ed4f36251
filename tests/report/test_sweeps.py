import re
from typing import Any

from limbeck.report import render_report
from limbeck.report.models import Model
from limbeck.report.sweeps import by_levels, find_sweeps, over_epochs


def model(role: str, errors: int | None, name: str = "net", parameters: int = 100, **variant: Any) -> Model:
    row = {"role": role, "name": name, "variant": variant, "errors": errors, "parameters": parameters}
    return Model(row, main=False, log_probs=None, history=None)


def test_a_setting_in_which_three_rows_differ_makes_a_line_and_its_baseline_a_level() -> None:
    (sweep,) = find_sweeps(
        [
            model("student", 9, temperature=20, epochs=5),
            model("student", 5, temperature=1, epochs=5),
            model("student", 3, temperature=4, epochs=5),
            model("student", 2, temperature=4),
            model("baseline", 7, epochs=5),
            model("baseline", 6),
        ]
    )
    assert sweep.setting == "temperature"
    student, level = sweep.lines
    assert (student.role, student.label) == ("student", "net (epochs 5)")
    assert student.points == ((1, 5), (4, 3), (20, 9))
    assert (level.role, level.points) == ("baseline", ((1, 7), (20, 7)))


def test_what_a_student_is_taught_parts_it_from_no_baseline() -> None:
    students = [model("student", 9 - hard, temperature=t, hard=hard) for t in (2, 4) for hard in (0, 1, 2)]
    (sweep,) = find_sweeps([*students, model("baseline", 7)])
    assert [(line.role, line.label) for line in sweep.lines] == [
        ("student", "net (temperature 2)"),
        ("student", "net (temperature 4)"),
        ("baseline", "net"),
    ]


def test_long_lists_that_are_shortened_alike_make_lines_of_their_own() -> None:
    lists = [[*range(9), 10], [*range(9), 11]]
    (sweep,) = find_sweeps([model("student", t, temperature=t, without=left) for left in lists for t in (1, 2, 4)])
    assert [line.points for line in sweep.lines] == [((1, 1), (2, 2), (4, 4))] * 2


def test_lists_stand_for_the_number_of_parameters() -> None:
    widths = [model("reference", 9 - n, parameters=100 * n, widths=[n, n]) for n in (1, 2, 3)]
    (sweep,) = find_sweeps(widths)
    assert sweep.title == "Errors by parameters"
    assert sweep.lines[0].points == ((100, 8), (200, 7), (300, 6))


def test_what_was_chosen_on_validation_rows_parts_no_line() -> None:
    models = [model("student", 9 - n, parameters=100 * n, widths=[n, n], temperature=n) for n in (1, 2, 3)]
    assert find_sweeps(models) == []
    for each in models:
        each.row["chosen"] = {"distill.temperature": each.variant["temperature"]}
    (sweep,) = find_sweeps(models)
    assert [(line.label, line.points) for line in sweep.lines] == [("net", ((100, 8), (200, 7), (300, 6)))]


def test_a_line_is_called_by_what_tells_it_from_those_of_its_role() -> None:
    models = [
        model("student", 9, temperature=4, rows=0.03),
        model("student", 5, temperature=4, rows=0.03, views=299),
        model("baseline", 7, rows=0.03),
        model("baseline", 6, rows=0.03, views=299),
    ]
    curves = {f"{m.role}/net-" + ",".join(f"{k}={m.variant[k]}" for k in sorted(m.variant)): [[n, 9 - n] for n in (1, 2, 3)]
              for m in models}  # fmt: skip
    (sweep,) = over_epochs(models, curves)
    assert [sweep.label(line) for line in sweep.lines] == ["student", "views 299", "baseline", "views 299"]
    assert sweep.roles == {"student", "baseline"}
    longer = [model(role, n, widths=[n], parameters=n, **more)
              for role, more in (("student", {}), ("reference", {"epochs": 200})) for n in (1, 2, 3)]  # fmt: skip
    (sizes,) = find_sweeps(longer)
    assert [sizes.label(line) for line in sizes.lines] == ["student", "epochs 200"]
    others = [model("reference", n, name="small", widths=[n], parameters=n) for n in (1, 2, 3)]
    (both,) = find_sweeps([*others, *(model("reference", n, widths=[n], parameters=n) for n in (1, 2, 3))])
    assert [both.label(line) for line in both.lines] == ["small", "net"]


def test_two_points_rows_without_errors_and_words_make_no_line() -> None:
    assert find_sweeps([model("student", 5, temperature=1), model("student", 3, temperature=4)]) == []
    assert find_sweeps([model("reference", None, depth=n) for n in (1, 2, 3)]) == []
    assert find_sweeps([model("student", 5, targets=word) for word in "abc"]) == []


def test_errors_over_epochs_have_a_line_for_each_model_that_counted_them() -> None:
    models = [model("student", 5, temperature=1), model("baseline", 6)]
    (sweep,) = over_epochs(models, {"student/net-temperature=1": [[5, 9], [10, 7], [12, 5]], "baseline/net": [[12, 9]]})
    assert [(line.role, line.points) for line in sweep.lines] == [("student", ((5, 9), (10, 7), (12, 5)))]
    assert over_epochs(models, {}) == []


def test_the_page_draws_sweeps_and_names_hostile_lines_as_text(example: dict[str, Any]) -> None:
    rows = example["results"]["models"]
    for number in (1, 2, 3):
        rows.append({**rows[1], "name": "<b>$x^2$", "variant": {"temperature": number}, "errors": 10 * number})
    example["results"]["curves"] = {"baseline/linear": [[1, 50], [2, 40], [3, 30]]}
    page = render_report(**example)
    assert "<h2>Errors over settings</h2>" in page
    assert "Errors by temperature" in page
    assert "Errors by epoch" in page
    assert re.search(r"student [^<>]*10 at 1, 20 at 2, 30 at 3", page)
    assert "<b>$x^2$" not in page


def test_a_run_without_sweeps_has_no_such_section(html: str) -> None:
    assert "Errors over settings" not in html
    assert "Paper and here" not in html
    assert "Depth alone" not in html


def tree(role: str, levels: int, errors: int, name: str = "soft-tree", **variant: Any) -> Model:
    found = model(role, errors, f"{name}-{levels}", **variant)
    found.row["metrics"] = {"levels": levels, "leaves": 2**levels}
    return found


def test_trees_of_one_kind_are_a_line_over_their_levels_with_the_teacher_beside_them() -> None:
    levels = {4: 300, 6: 250, 8: 180}
    trees = [tree("student", n, errors, predict=way) for n, errors in levels.items() for way in ("path", "average")]
    pruned = tree("student", 8, 190, predict="path", pruned=0.001)
    alone = [tree("baseline", n, 400, "other") for n in (4, 6)]
    (sweep,) = by_levels([model("teacher", 50, "convnet"), *trees, pruned, *alone])
    assert [(line.role, line.label, line.points) for line in sweep.lines] == [
        ("student", "soft-tree, path", ((4, 300), (6, 250), (8, 180))),
        ("student", "soft-tree, average", ((4, 300), (6, 250), (8, 180))),
        ("teacher", "convnet", ((4, 50), (8, 50))),
    ]
    assert not by_levels([model("teacher", 50), *alone])
