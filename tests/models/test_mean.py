"""The mean of several models as a model: its probabilities, its size, and its file."""

import json
import shutil

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from limbeck.at_once.estimators import fit_estimator
from limbeck.data import ImageForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.evaluation import multiply_adds, parameter_count
from limbeck.exporting import export_module
from limbeck.files import DamagedFileError
from limbeck.knowledge import combined
from limbeck.models import build_model, save_model
from limbeck.models.estimator_file import save_estimator_model
from limbeck.models.hard_labels import FLOOR
from limbeck.models.mean import MeanModel
from limbeck.models.opening import mean_members, open_model, save_mean, saved_files
from limbeck.training import predict_log_probs

NAMES = tuple("0123456789")
IDENTITY = {"kind": "teacher", "version": 1, "settings": {}, "inputs": {}, "seed": None}


def net(seed, digits, kind="mlp", **settings):
    torch.manual_seed(seed)
    return build_model({"kind": kind, **settings}, (8, 8), 10, digits.inputs).eval()


@pytest.fixture(scope="module")
def nets(digits):
    return [net(0, digits, widths=[8]), net(1, digits, widths=[12])]


@pytest.fixture(scope="module")
def forest(digits):
    return fit_estimator("random-forest", {"trees": 5}, digits.take(np.arange(300)), 0, folds=2).model


@pytest.fixture
def saved(nets, forest, tmp_path):
    """A mean of a net and a forest, whose folders lie beside it."""
    save_model(tmp_path / "one", nets[0], NAMES)
    save_estimator_model(tmp_path / "two", forest, NAMES)
    (tmp_path / "mean").mkdir()
    save_mean(tmp_path / "mean", MeanModel([nets[0], forest], ["one", "two"]), NAMES, IDENTITY)
    return tmp_path / "mean"


def asked(model, inputs):
    with torch.inference_mode():
        return model(torch.from_numpy(inputs)).logits.double().numpy()


def test_it_answers_with_the_mean_of_its_members_probabilities(nets, digits):
    mean = MeanModel(nets)
    expected = np.mean([np.exp(log_softmax(asked(one, digits.inputs[:50]), axis=-1)) for one in nets], axis=0)
    np.testing.assert_allclose(np.exp(asked(mean, digits.inputs[:50])), expected, atol=1e-6)
    assert (mean.kind, mean.classes, mean.input_shape, mean.form) == ("mean", 10, (8, 8), None)


def test_nets_and_estimators_have_a_mean(nets, forest, digits):
    found = asked(MeanModel([nets[0], forest]), digits.inputs[:20])
    expected = np.exp(log_softmax(asked(nets[0], digits.inputs[:20]), axis=-1)) / 2
    expected += np.exp(forest.log_probs(digits.inputs[:20]).astype(np.float64)) / 2
    np.testing.assert_allclose(np.exp(found), expected, atol=1e-6)


def test_no_answer_is_below_the_floor():
    class Sure(torch.nn.Module):
        input_shape, classes, form = (1,), 2, None

        def forward(self, inputs):
            return torch.tensor([[0.0, -1e4]]).expand(len(inputs), 2)

    found = asked(MeanModel([Sure(), Sure()]), np.zeros((3, 1), np.float32))
    np.testing.assert_allclose(np.exp(found), [[1, FLOOR]] * 3, rtol=1e-5)


def test_its_size_is_the_sum_of_its_members(nets, forest, digits):
    mean = MeanModel([*nets, forest])
    assert parameter_count(mean) == sum(map(parameter_count, (*nets, forest)))
    assert multiply_adds(mean, digits.inputs) == 64 * 8 + 8 * 10 + 64 * 12 + 12 * 10
    tree = net(0, digits, kind="soft-tree", depth=2)
    assert multiply_adds(MeanModel([nets[0], tree]), digits.inputs) == 64 * 8 + 8 * 10 + tree.multiply_adds


def test_what_its_members_do_not_say_can_be_given(nets):
    form = ImageForm("grey", 4, 16)
    mean = MeanModel(nets, input_shape=(4, 16), classes=10, form=form)
    assert (mean.input_shape, mean.form) == ((4, 16), form)


# ---------------------------------------------------------------- weights, and the mean of logits


WEIGHTS = (0.7, 0.3)


def each(models, inputs):
    return [log_softmax(asked(one, inputs), axis=-1) for one in models]


def test_weighted_it_answers_with_the_weighted_mean_of_probabilities(nets, digits):
    one, other = map(np.exp, each(nets, digits.inputs[:50]))
    found = np.exp(asked(MeanModel(nets, weights=WEIGHTS), digits.inputs[:50]))
    np.testing.assert_allclose(found, 0.7 * one + 0.3 * other, atol=1e-6)


@pytest.mark.parametrize(("weights", "shares"), [(None, (0.5, 0.5)), (WEIGHTS, WEIGHTS), ([14, 6], WEIGHTS)])
def test_a_mean_of_logits_is_their_weighted_mean_normalised(nets, digits, weights, shares):
    one, other = each(nets, digits.inputs[:50])
    found = asked(MeanModel(nets, weights=weights, mean="logits"), digits.inputs[:50])
    np.testing.assert_allclose(found, log_softmax(shares[0] * one + shares[1] * other, axis=-1), atol=1e-5)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
@pytest.mark.parametrize("weights", [None, WEIGHTS, (0, 1)])
def test_it_answers_as_what_its_members_know_is_combined(nets, digits, weights, mean):
    known = [one.astype(np.float32) for one in each(nets, digits.inputs[:50])]
    found = asked(MeanModel(nets, weights=weights, mean=mean), digits.inputs[:50])
    np.testing.assert_allclose(found, combined(known, 1.0, weights=weights, mean=mean), atol=2e-6)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_a_member_of_weight_0_is_not_asked(nets, digits, mean):
    class Broken(torch.nn.Module):
        input_shape, classes, form = (8, 8), 10, None

        def forward(self, inputs):
            raise AssertionError("it was asked")

    found = asked(MeanModel([nets[0], Broken()], weights=[1, 0], mean=mean), digits.inputs[:20])
    np.testing.assert_allclose(found, *each(nets[:1], digits.inputs[:20]), atol=2e-6)


def test_what_is_said_of_it_is_as_before_where_nothing_was_given(nets):
    mean = MeanModel(nets, ["one", "two"])
    assert (mean.weights, mean.mean, mean.settings) == (None, "probabilities", {"members": ["one", "two"]})
    assert list(mean.state_dict()) == list(MeanModel(nets, weights=WEIGHTS).state_dict())


def test_weights_and_the_mean_are_among_its_settings(nets):
    mean = MeanModel(nets, ["one", "two"], weights=[7, 3], mean="logits")
    assert (mean.weights, mean.mean) == (WEIGHTS, "logits")
    assert mean.settings == {"members": ["one", "two"], "weights": [0.7, 0.3], "mean": "logits"}


def test_weights_that_do_not_fit_are_refused(nets):
    with pytest.raises(UsageError, match=r"^weights: found 3 for 2 members: give one for each member$"):
        MeanModel(nets, weights=[1, 1, 1])
    with pytest.raises(UsageError, match=r'^mean = "median": expected "probabilities" or "logits"$'):
        MeanModel(nets, mean="median")


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_of_its_own_rows_it_says_the_weighted_mean_of_what_members_say_unseen(nets, forest, digits, mean):
    part, ensemble = digits.take(np.arange(60)), MeanModel([nets[0], forest], weights=WEIGHTS, mean=mean)
    known, found = ensemble.own_rows.answers_for(part)
    assert known.all()
    forest_known, unseen = forest.own_rows.answers_for(part)
    assert forest_known.all()
    net_says = predict_log_probs(nets[0], part.inputs)
    expected = combined([net_says, unseen], 1.0, weights=WEIGHTS, mean=mean)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_members_of_weight_0_know_no_rows_of_their_own(nets, forest):
    assert MeanModel([nets[0], forest], weights=[1, 0]).own_rows is None


@pytest.mark.parametrize(("weights", "mean"), [(None, "logits"), (WEIGHTS, "probabilities")])
def test_as_an_onnx_file_it_answers_the_same(nets, digits, tmp_path, weights, mean):
    ensemble, rows = MeanModel(nets, weights=weights, mean=mean).eval(), digits.inputs[:50]
    exported = export_module(ensemble, tmp_path / "mean.onnx", NAMES, rows)
    assert (exported.kind, exported.check.changed) == ("mean", 0)
    found, _ = open_model(tmp_path / "mean.onnx")
    np.testing.assert_allclose(predict_log_probs(found, rows), predict_log_probs(ensemble, rows), atol=2e-5)


# ---------------------------------------------------------------- as a file


def test_it_is_opened_with_its_members(saved, nets, forest, digits):
    model, classes = open_model(saved)
    assert classes == NAMES
    assert (model.input_shape, model.classes, model.training) == ((8, 8), 10, False)
    expected = asked(MeanModel([nets[0], forest]), digits.inputs[:20])
    np.testing.assert_array_equal(asked(model, digits.inputs[:20]), expected)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
@pytest.mark.parametrize("weights", [None, WEIGHTS, (0.0, 1.0)])
def test_it_is_opened_with_its_weights(saved, nets, forest, digits, weights, mean):
    ensemble = MeanModel([nets[0], forest], ["one", "two"], weights=weights, mean=mean)
    save_mean(saved, ensemble, NAMES, IDENTITY)
    model, _ = open_model(saved)
    assert (model.weights, model.mean, model.settings) == (weights, mean, ensemble.settings)
    np.testing.assert_array_equal(asked(model, digits.inputs[:20]), asked(ensemble, digits.inputs[:20]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": [1]}, "weights: found 1 for 2 members"),
        ({"weights": [1, -1]}, "weights: that of member 2 is -1"),
        ({"weights": [0, 0]}, "weights: those of all 2 members are 0"),
        ({"weights": [float("nan"), 1]}, "weights: that of member 1 is not finite"),
        ({"weights": [10**400, 1]}, "weights: that of member 1 is not finite"),
        ({"weights": [[1], 1]}, r"weights: that of member 1 is \[1\]: give a number"),
        ({"weights": "12"}, "its weights are no list of numbers"),
        ({"weights": {"one": 1, "two": 2}}, "its weights are no list of numbers"),
        ({"mean": "median"}, 'mean = "median"'),
        ({"mean": None}, 'mean = "None"'),
        ({"mean": ["logits"]}, "expected"),
    ],
)
def test_a_file_whose_weights_or_mean_cannot_be_is_damaged(saved, settings, message):
    described = json.loads((saved / "model.json").read_text())
    described["settings"] |= settings
    (saved / "model.json").write_text(json.dumps(described))
    with pytest.raises(DamagedFileError, match=message) as error:
        open_model(saved)
    assert error.value.path == saved / "model.json"


def test_nothing_is_copied_into_it(saved):
    assert [path.name for path in saved.iterdir()] == ["model.json"]
    names = [path.name for path in saved_files(saved)]
    assert names == ["model.safetensors", "member-0.skops", "member-1.skops"]
    assert mean_members(saved) == [saved.parent / "one", saved.parent / "two"]


def test_it_is_found_through_a_link(saved, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mean").symlink_to(saved)
    assert open_model(tmp_path / "run" / "mean")[1] == NAMES


def test_a_member_that_is_not_beside_it_is_named(saved):
    shutil.rmtree(saved.parent / "two")
    with pytest.raises(LimbeckError) as error:
        open_model(saved)
    assert str(error.value) == (
        f"{saved} is the mean of models beside it, and there is no {saved.parent / 'two'}: keep them together"
    )


def test_a_damaged_member_is_named(saved):
    path = saved.parent / "two" / "member-1.skops"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedFileError) as error:
        open_model(saved)
    assert error.value.path == path


def test_a_member_of_other_classes_is_refused(saved, nets):
    save_model(saved.parent / "one", nets[0], tuple("abcdefghij"))
    with pytest.raises(DamagedFileError) as error:
        open_model(saved)
    assert str(error.value).startswith(f"{saved / 'model.json'}")
    assert f"its classes are not those of {saved.parent / 'one'}" in str(error.value)


@pytest.mark.parametrize("members", [None, [], ["one"], ["one", 3], "one"])
def test_a_mean_that_does_not_name_its_members_is_damaged(saved, members):
    described = json.loads((saved / "model.json").read_text())
    described["settings"]["members"] = members
    (saved / "model.json").write_text(json.dumps(described))
    with pytest.raises(DamagedFileError, match="it does not name the members of a mean"):
        open_model(saved)


def test_a_member_s_name_leads_nowhere_else(saved, tmp_path):
    described = json.loads((saved / "model.json").read_text())
    described["settings"]["members"] = ["../../one", "/two"]
    (saved / "model.json").write_text(json.dumps(described))
    assert mean_members(saved) == [saved.parent / "one", saved.parent / "two"]
