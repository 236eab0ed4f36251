import json

import pytest

from limbeck.errors import LimbeckError
from limbeck.results.comparison import comparison_table, read_results


def row(role="student", name="2x16", *, errors=10, verdict=None, variant=None, **given):
    return {
        "role": role, "name": name, "variant": variant or {}, "errors": errors, "accuracy": 1 - errors / 1000,
        "nll": 0.5, "ece": 0.01, "agreement": None, "gap_recovered": None, "p_value": None, "latency_ms": 0.1234,
        "train_seconds": 7.3, "verdict": verdict, **given,
    }  # fmt: skip


@pytest.fixture
def results(tmp_path):
    """A function that writes a run's results and gives its folder."""

    def write(seed, *models, recipe="tiny", settings="3f9a", name="", **more):
        folder = tmp_path / f"{recipe}-{seed}{name}"
        folder.mkdir(exist_ok=True)
        (folder / "results.json").write_text(
            json.dumps({"recipe": recipe, "seed": seed, "settings": settings, "models": models, **more})
        )
        return folder

    return write


CLAIM = {"text": "Share", "show": "share of the gap", "paper": 0.86, "goal": None, "here": 0.5}
RESAMPLED = {"fraction": [0.1, 0.2], "resampled": [[0.1, 0.2], [0.15, 0.2], [0, 1]]}


def cells(line):
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_several_seeds_are_shown_by_median_and_spread(results):
    runs = [results(seed, row(errors=errors, verdict="helps" if seed else "no difference"))
            for seed, errors in enumerate((30, 10, 11))]  # fmt: skip
    table = comparison_table(runs, markdown=True).splitlines()
    assert "tiny, seeds 0, 1, 2" in "\n".join(table)
    head, _, body = (cells(line) for line in table if line.startswith("|"))
    found = dict(zip(head, body, strict=True))
    assert found["model"] == "2x16"
    assert found["errors"] == "11 (10 to 30)"
    assert found["accuracy"] == "98.90% (97.00% to 99.00%)"
    assert found["verdict"] == "1 × no difference, 2 × helps"
    assert "agreement" not in found  # nothing to show in any row


def test_seeds_that_have_no_value_are_counted(results):
    runs = [results(seed, row(gap_recovered=gap)) for seed, gap in enumerate((None, 0.5, None))]
    assert "| 50% in 1 of 3 |" in comparison_table(runs, markdown=True)
    runs = [results(seed, row(gap_recovered=gap), name="b") for seed, gap in enumerate((None, 0.5, 0.75))]
    assert "| 62% (50% to 75%) in 2 of 3 |" in comparison_table(runs, markdown=True)


def test_runs_on_other_data_are_not_compared(results):
    runs = [results(seed, row(), rows={"data": f"{min(seed, 1)}"}) for seed in range(3)]
    with pytest.raises(LimbeckError, match=r"tiny-1 was made with other rows or labels than .*tiny-0: compare runs on"):
        comparison_table(runs)
    assert comparison_table([runs[1], runs[2]])
    assert comparison_table([runs[1], results(7, row())])  # of an older version, which says nothing of it


def test_one_run_is_shown_as_it_is(results):
    table = comparison_table([results(4, row(verdict="helps", variant={"temperature": 4}))], markdown=True)
    assert "2x16 (temperature 4)" in table
    assert "| 10 |" in table
    assert "| helps |" in table
    assert " to " not in table


def test_seeds_that_chose_other_targets_have_the_same_rows(results):
    permuted = row(chosen={"distill.targets": "permuted"}, variant={"targets": "permuted", "temperature": 4})
    matching = row(chosen={"distill.targets": "teacher"}, variant={"temperature": 4})
    both = comparison_table([results(0, permuted), results(1, matching)])
    assert "2x16 (targets permuted, temperature 4) / 2x16 (temperature 4; chosen: targets teacher)" in both
    loss = row(chosen={"distill.loss": "logit_matching"}, variant={"loss": "logit_matching"})
    none = row(chosen={"distill.loss": "soft_targets"}, variant={"temperature": 4})
    assert comparison_table([results(0, loss), results(1, none)])


def test_a_value_that_some_seeds_lack_is_taken_from_the_others(results):
    runs = [results(seed, row(gap_recovered=gap)) for seed, gap in enumerate((None, 0.5, 0.7))]
    assert "60% (50% to 70%)" in comparison_table(runs)


def test_a_results_file_will_do_for_its_folder(results):
    folder = results(0, row())
    assert comparison_table([folder / "results.json"]) == comparison_table([folder])


def test_runs_of_different_recipes_are_refused(results):
    with pytest.raises(LimbeckError, match=r"runs of different recipes \(digits, tiny\): compare runs of one"):
        comparison_table([results(0, row()), results(0, row(), recipe="digits")])


def test_runs_with_different_rows_are_refused_by_the_first_that_differs(results):
    runs = [results(0, row()), results(1, row(name="2x30"))]
    with pytest.raises(LimbeckError, match=f"{runs[1]} has other rows than {runs[0]}"):
        comparison_table(runs)
    with pytest.raises(LimbeckError, match="their order"):
        comparison_table([results(0, row(), row("teacher")), results(1, row("teacher"), row())])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"models": []}',
        '{"recipe": 1, "seed": 2, "models": [3]}',
        "\xff",
        json.dumps({"recipe": "tiny", "seed": 0, "settings": "3f9a", "models": []}),
        json.dumps({"recipe": "tiny", "seed": 0, "settings": "3f9a", "models": [{**row(), "errors": "many"}]}),
        json.dumps({"recipe": "tiny", "seed": 0, "settings": "3f9a", "models": [{**row(), "chosen": [1]}]}),
        json.dumps({"recipe": "tiny", "seed": 0, "settings": "3f9a", "models": [row()], "claims": [{}]}),
        *(
            json.dumps(
                {"recipe": "tiny", "seed": 0, "settings": "3f9a", "models": [row()], "claims": [{**CLAIM, **odd}]}
            )
            for odd in (
                {"fraction": [0.1, 0.2]},
                {"resampled": [[0.1, 0.2]]},
                {**RESAMPLED, "resampled": []},
                {**RESAMPLED, "resampled": {}},
                {**RESAMPLED, "resampled": [[0.1, 0.2], [0.1]]},
                {**RESAMPLED, "resampled": [[0.1, "0.2"]]},
                {**RESAMPLED, "resampled": [[0.1, float("inf")]]},
                {**RESAMPLED, "resampled": [[0.1, 10**400]]},
                {**RESAMPLED, "fraction": [float("nan"), 0.2]},
                {**RESAMPLED, "fraction": [0.1, 0.2, 0.3]},
            )
        ),
    ],
)
def test_what_holds_no_results_is_refused_by_its_path(tmp_path, content):
    (tmp_path / "results.json").write_text(content, encoding="latin-1")
    with pytest.raises(LimbeckError, match=f"{tmp_path}/results.json does not hold a run's results"):
        comparison_table([tmp_path])


def test_a_run_without_results_is_asked_to_be_finished(tmp_path):
    with pytest.raises(LimbeckError, match=r"results\.json: no such file: finish the run first"):
        read_results(tmp_path)


def test_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / "results.json").mkdir()
    with pytest.raises(LimbeckError, match=r"results\.json is a folder: give a run's folder"):
        read_results(tmp_path)


def test_runs_with_other_settings_are_refused(results):
    runs = [results(0, row()), results(1, row(), settings="77ab")]
    with pytest.raises(LimbeckError, match=f"{runs[1]} was made with other settings than {runs[0]}"):
        comparison_table(runs)


def test_one_seed_twice_is_refused(results):
    runs = [results(0, row()), results(1, row()), results(1, row(), name="-again")]
    with pytest.raises(LimbeckError, match=f"{runs[2]} and {runs[1]} both have seed 1"):
        comparison_table(runs)


def test_what_each_seed_chose_is_shown(results):
    runs = [results(seed, row(chosen={"train.learning_rate": rate})) for seed, rate in ((0, 2e-3), (1, 4e-3))]
    assert "2x16 (chosen: learning_rate 0.002) / 2x16 (chosen: learning_rate 0.004)" in comparison_table(runs)


def test_a_claim_has_an_interval_where_every_run_kept_what_it_needs(results):
    new = [results(seed, row(), claims=[{**CLAIM, **RESAMPLED}]) for seed in (0, 1)]
    assert "| 50%, 95% over test rows: 0% to 75% |" in comparison_table(new[:1], markdown=True)
    assert "| 50% (50% to 50%); all seeds together 50%, 95% over test rows and seeds: 0% to 75% |" in comparison_table(
        new, markdown=True
    )
    old = results(2, row(), claims=[CLAIM])
    assert "| 50% (50% to 50%) |" in comparison_table([*new, old], markdown=True)
    assert "| 50% |" in comparison_table([old], markdown=True)
