from limbeck.terminal import plain_table, results_table


def test_columns_are_as_wide_as_their_widest_cell():
    assert plain_table(["role", "model", "errors"], [["student", "a", "7"], ["x", "longer", "1,234"]]) == (
        "role     model   errors\n-------  ------  ------\nstudent  a            7\nx        longer   1,234"
    )


def test_markdown_escapes_what_would_end_a_cell():
    table = plain_table(["a", "b", "c"], [["x|y", "", "1"]], markdown=True).splitlines()
    assert table == ["| a | b | c |", "| --- | --- | ---: |", "| x\\|y |  | 1 |"]


def test_what_does_not_apply_is_a_dash():
    names = ("errors", "accuracy", "ece", "agreement", "parameters", "multiply_adds", "latency_ms",
             "examples_per_second", "gap_recovered", "p_value", "verdict")  # fmt: skip
    row = {"role": "teacher", "name": "convnet", "variant": {}, **dict.fromkeys(names)}
    line = results_table([row]).splitlines()[-1].split()
    assert line == ["teacher", "convnet", *["–"] * 11]
    shown = results_table([{**row, "errors": 1234, "accuracy": 0.98765, "p_value": 0.0123, "verdict": "helps"}])
    for text in ("1,234", "98.77%", "0.012", "helps"):
        assert text in shown.splitlines()[-1]
