import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from limbeck.artifacts import write_sums
from limbeck.at_once.estimators import fit_estimator
from limbeck.data import Part
from limbeck.data.form import Column, TableForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError, sha256_hex
from limbeck.models import Estimator, load_estimator, load_estimator_model, save_estimator, save_estimator_model

skops = pytest.importorskip("skops.io")

WINES = ("barolo", "grignolino", "barbera")
SMALL = {
    "random-forest": {"trees": 60, "max_depth": 4},
    "gradient-boosting": {"iterations": 5},
    "lightgbm": {"iterations": 5},
}
TREE = "sklearn.tree._tree.Tree"


def wine_part():
    """Wine, with gaps, and a column of categories."""
    inputs, labels = load_wine(return_X_y=True)
    inputs = inputs.astype(np.float32)
    inputs[:, 3] = np.arange(len(inputs)) % 4
    inputs[::7, 5] = np.nan
    columns = [Column(f"c{number}") for number in range(13)]
    columns[3] = Column("c3", ("n", "e", "s", "w"))
    columns[5] = Column("c5", missing=True)
    return Part("wine", inputs, labels.astype(np.int64), np.arange(len(labels)), WINES, TableForm(tuple(columns)))


@pytest.fixture(scope="module")
def wine():
    return wine_part()


@pytest.fixture(scope="module", params=sorted(SMALL))
def fitted(request, wine):
    return fit_estimator(request.param, SMALL[request.param], wine, 0).model


@pytest.fixture
def folder(fitted, tmp_path):
    save_estimator_model(tmp_path / "model", fitted, WINES, {"identity": {"kind": "teacher"}})
    return tmp_path / "model"


@pytest.fixture
def pipeline(wine):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(np.nan_to_num(wine.inputs), wine.labels)


def member(folder):
    return next(path for path in folder.iterdir() if path.suffix in (".skops", ".txt"))


def test_a_model_loaded_is_the_model_saved(fitted, folder, wine):
    loaded, classes = load_estimator_model(folder)
    assert classes == WINES
    assert (loaded.kind, loaded.settings, loaded.form) == (fitted.kind, fitted.settings, wine.form)
    assert loaded.input_shape == (13,)
    assert loaded.parameter_count == fitted.parameter_count > 0
    assert not loaded.training
    np.testing.assert_array_equal(loaded.log_probs(wine.inputs), fitted.log_probs(wine.inputs))
    assert json.loads((folder / "model.json").read_text())["identity"] == {"kind": "teacher"}


def test_what_was_loaded_is_saved_with_the_same_bytes(folder, tmp_path):
    save_estimator_model(tmp_path / "again", load_estimator_model(folder)[0], WINES)
    assert member(tmp_path / "again").read_bytes() == member(folder).read_bytes()


def test_members_lie_in_files_of_their_own(wine, tmp_path):
    model = fit_estimator("random-forest", {"trees": 3}, wine, 0, folds=3).model
    save_estimator_model(tmp_path, model, WINES)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "member-0.skops",
        "member-1.skops",
        "member-2.skops",
        "model.json",
    ]
    np.testing.assert_array_equal(
        load_estimator_model(tmp_path)[0].log_probs(wine.inputs), model.log_probs(wine.inputs)
    )


def test_the_same_fit_gives_the_same_bytes_in_two_processes_with_other_thread_counts(tmp_path):
    script = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_estimator_file import SMALL, WINES, wine_part
from limbeck.at_once.estimators import fit_estimator
from limbeck.models import save_estimator_model
for kind in SMALL:
    model = fit_estimator(kind, SMALL[kind], wine_part(), 0, threads=int(sys.argv[3])).model
    save_estimator_model(Path(sys.argv[2]) / kind, model, WINES)
"""
    for out, threads, hashes in (("one", 1, "1"), ("two", 2, "2")):
        arguments = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path / out), str(threads)]
        subprocess.run(arguments, check=True, env={**os.environ, "PYTHONHASHSEED": hashes})
    for kind in SMALL:
        for path in (tmp_path / "one" / kind).iterdir():
            assert path.read_bytes() == (tmp_path / "two" / kind / path.name).read_bytes(), path


def test_a_skops_file_holds_no_time_and_no_address(pipeline, tmp_path):
    save_estimator(tmp_path / "a.skops", pipeline)
    with zipfile.ZipFile(tmp_path / "a.skops") as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        names = file.namelist()
        assert names == [f"{number:06d}.npy" for number in range(len(names) - 1)] + ["schema.json"]
        assert str(id(pipeline)) not in file.read("schema.json").decode()


def test_an_estimator_of_one_s_own_goes_through_a_file(pipeline, wine, tmp_path):
    save_estimator(tmp_path / "a.skops", pipeline)
    inputs = np.nan_to_num(wine.inputs)
    np.testing.assert_array_equal(
        load_estimator(tmp_path / "a.skops").predict_proba(inputs), pipeline.predict_proba(inputs)
    )


def test_a_file_that_skops_itself_wrote_is_read(pipeline, wine, tmp_path):
    skops.dump(pipeline, tmp_path / "a.skops")
    assert load_estimator(tmp_path / "a.skops").classes_.tolist() == [0, 1, 2]


def test_types_that_are_not_known_to_be_safe_are_listed_and_can_be_allowed(wine, tmp_path):
    path = tmp_path / "forest.skops"
    save_estimator(path, RandomForestClassifier(3).fit(wine.inputs, wine.labels))
    with pytest.raises(LimbeckError) as refused:
        load_estimator(path)
    assert str(refused.value) == (
        f"{path} holds types that are not known to be safe: {TREE}: if you trust whoever made the file, allow them by "
        f'trust = ["{TREE}"]'
    )
    assert load_estimator(path, [TREE]).n_estimators == 3


def test_allowing_one_type_allows_no_other(tmp_path, wine):
    path = tmp_path / "boosting.skops"
    save_estimator(path, fit_estimator("gradient-boosting", SMALL["gradient-boosting"], wine, 0).model.members[0])
    with pytest.raises(LimbeckError, match="functools.partial, sklearn.utils.validation.check_array: if you trust"):
        load_estimator(path, ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"])


def test_a_saved_model_of_one_kind_allows_no_types_of_another(tmp_path, wine):
    model = fit_estimator("random-forest", SMALL["random-forest"], wine, 0).model
    save_estimator_model(tmp_path, model, WINES)
    path = tmp_path / "model.json"
    for kind in ("gradient-boosting", "estimator"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "kind": kind}))
        with pytest.raises(LimbeckError, match=f"not known to be safe: {TREE}"):
            load_estimator_model(tmp_path)


def test_what_would_run_code_is_refused_and_not_run(tmp_path):
    """A skops file that asks for a function of the system's."""
    schema = {
        "__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1,
        "content": {"module_path": "os", "function": "system"}, "protocol": 2, "_skops_version": "0.11",
    }  # fmt: skip
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("schema.json", json.dumps(schema))
    (tmp_path / "a.skops").write_bytes(content.getvalue())
    with pytest.raises(LimbeckError, match="holds types that are not known to be safe: os.system"):
        load_estimator(tmp_path / "a.skops")


def test_a_pickle_is_not_opened(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    for content in (pickle.dumps(Harmful()), b"", b"PK\x03\x04" + pickle.dumps(Harmful())):
        (tmp_path / "a.skops").write_bytes(content)
        with pytest.raises(
            LimbeckError, match="a.skops is no skops file, or damaged .*pickle and joblib files are not opened"
        ):
            load_estimator(tmp_path / "a.skops")
    assert not (tmp_path / "run").exists()


def test_a_file_cut_short_is_one_line(pipeline, tmp_path):
    save_estimator(tmp_path / "a.skops", pipeline)
    whole = (tmp_path / "a.skops").read_bytes()
    (tmp_path / "a.skops").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LimbeckError, match="a.skops is no skops file, or damaged"):
        load_estimator(tmp_path / "a.skops")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        LimbeckError, match="no.skops: no such file, expected a fitted estimator as skops.io.dump writes it"
    ):
        load_estimator(tmp_path / "no.skops")


def test_without_skops_one_line_says_what_to_install(pipeline, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(LimbeckError, match=r'^fitted estimators as files need skops: pip install "limbeck\[data\]"$'):
        save_estimator(tmp_path / "a.skops", pipeline)
    assert not list(tmp_path.iterdir())


def test_what_skops_cannot_hold_is_said(tmp_path):
    with pytest.raises(LimbeckError, match="skops cannot hold this generator"):
        save_estimator(tmp_path / "a.skops", (one for one in ()))


def test_a_changed_byte_is_damage(folder):
    path = member(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedFileError, match=f"{path.name} is damaged: it does not give the digest in model.json"):
        load_estimator_model(folder)


def test_in_an_artifact_every_file_is_checked_against_the_sums(folder):
    write_sums(folder)
    load_estimator_model(folder)
    path = member(folder)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DamagedFileError, match="does not give the digest in SHA256SUMS"):
        load_estimator_model(folder)


def test_a_missing_member_is_named(folder):
    member(folder).unlink()
    with pytest.raises(DamagedFileError, match="model.* is damaged: it is missing"):
        load_estimator_model(folder)


@pytest.mark.parametrize(
    "changed",
    [{"members": 3}, {"members": [{}]}, {"members": []}, {"labels": []}, {"classes": ["a"]}, {"form": {"columns": 1}}],
)
def test_a_description_that_fits_nothing_is_one_line(folder, changed):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(LimbeckError) as refused:
        load_estimator_model(folder)
    assert "\n" not in str(refused.value)


def test_a_tree_whose_walk_would_not_end_is_damaged(wine, tmp_path):
    model = fit_estimator("gradient-boosting", SMALL["gradient-boosting"], wine, 0).model
    nodes = model.members[0]._predictors[0][0].nodes
    for name, value, what in (("left", 0, "lead nowhere"), ("feature_idx", 99, "asks about a feature")):
        before = nodes[name][0]
        nodes[name][0] = value
        save_estimator_model(tmp_path, model, WINES)
        with pytest.raises(DamagedFileError, match=what):
            load_estimator_model(tmp_path)
        nodes[name][0] = before
    save_estimator_model(tmp_path, model, WINES)
    load_estimator_model(tmp_path)


def test_a_lightgbm_text_that_is_none_is_refused(wine, tmp_path):
    model = fit_estimator("lightgbm", SMALL["lightgbm"], wine, 0).model
    save_estimator_model(tmp_path, model, WINES)
    description = json.loads((tmp_path / "model.json").read_text())
    text = model.members[0].text
    endless = re.sub(r"(left_child=)-?\d+", r"\g<1>0", text, count=1)
    for content in (b"tree\nnum_class=3\n", b"nothing", text[:900].encode(), endless.encode()):
        (tmp_path / "model.txt").write_bytes(content)
        description["members"][0]["sha256"] = sha256_hex(content)
        (tmp_path / "model.json").write_text(json.dumps(description))
        with pytest.raises(LimbeckError, match=r"the text is no LightGBM model of 3 classes \("):
            load_estimator_model(tmp_path)


def test_names_that_do_not_fit_are_refused(fitted, tmp_path):
    with pytest.raises(UsageError, match="2 class names for a model of 3 classes"):
        save_estimator_model(tmp_path / "model", fitted, WINES[:2])
    assert not (tmp_path / "model").exists()


def test_an_estimator_of_one_s_own_is_saved_as_a_model_too(pipeline, wine, tmp_path):
    model = Estimator(pipeline, (13,), WINES)
    save_estimator_model(tmp_path, model, WINES)
    loaded, _ = load_estimator_model(tmp_path)
    inputs = np.nan_to_num(wine.inputs)
    assert loaded.kind == "estimator"
    np.testing.assert_array_equal(loaded.log_probs(inputs), model.log_probs(inputs))
