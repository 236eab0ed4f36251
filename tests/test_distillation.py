import numpy as np
import pytest
import torch
from torch import nn

import limbeck
from limbeck import Knowledge, LimbeckError, Objective, Part, TrainSettings, UsageError
from limbeck.metrics import agreement
from limbeck.models.mean import MeanModel
from limbeck.teachers import FunctionTeacher
from limbeck.training import predict_log_probs

QUICK = TrainSettings(epochs=8, batch_size=32, learning_rate=2e-2)


class Own(nn.Module):
    """A user's module, that nothing in limbeck knows of."""

    def __init__(self, hidden, classes=10):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def forward(self, images):
        return self.layers(images.float().flatten(1) / 16)


@pytest.fixture(scope="module")
def images(digits):
    return digits.inputs[:600]


@pytest.fixture(scope="module")
def teacher(digits, images):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Own(32)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        nn.functional.cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(digits.labels[:600])).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model.eval()


@pytest.fixture
def student():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Own(16)


def test_a_module_of_one_s_own_teaches_another_without_labels(teacher, student, images):
    distilled = limbeck.distill(teacher, student, images, settings=QUICK)
    assert distilled.student is student
    assert not student.training
    found = predict_log_probs(student, images)
    assert agreement(found, distilled.knowledge.log_probs()) > 0.85
    assert len(distilled.history.epochs) == 8
    assert distilled.history.kept["validation_accuracy"] > 0.8


def test_the_teacher_is_asked_once_for_each_row_and_not_changed(teacher, student, images):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    asked = []
    handle = teacher.register_forward_hook(
        lambda _, inputs, __: asked.append((len(inputs[0]), torch.is_grad_enabled()))
    )
    limbeck.distill(teacher, student, images, settings=QUICK)
    handle.remove()
    assert sum(rows for rows, _ in asked) == 600
    assert not any(recorded for _, recorded in asked)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_knowledge_kept_from_before_teaches_another_student_alike(teacher, images):
    students = []
    knowledge = teacher
    for _ in range(2):
        torch.manual_seed(1)
        students.append(Own(16))
        knowledge = limbeck.distill(knowledge, students[-1], images, settings=QUICK).knowledge
    first, second = (student.state_dict().values() for student in students)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_plain_function_can_teach(teacher, student, images):
    def function(inputs):
        return teacher(torch.from_numpy(inputs))

    knowledge = limbeck.distill(function, student, images, settings=QUICK).knowledge
    np.testing.assert_allclose(knowledge.log_probs(), predict_log_probs(teacher, images), atol=1e-5)


def test_labels_can_have_a_part(teacher, student, images, digits):
    objective = Objective(temperature=4.0, soft=0.7, hard=0.3)
    distilled = limbeck.distill(
        teacher, student, images, labels=digits.labels[:600], objective=objective, settings=QUICK
    )
    assert distilled.history.kept["validation_accuracy"] > 0.8


def test_a_part_brings_its_labels_and_class_names(teacher, student, digits):
    part = digits.take(np.arange(600))
    named = Part("train", part.inputs, part.labels, part.ids, tuple("abcdefghij"))
    assert limbeck.distill(teacher, student, named, settings=QUICK).knowledge.classes == tuple("abcdefghij")


def test_the_knowledge_of_a_run_can_teach(student, finished):
    (row,) = [path for path in sorted((finished.parent / "artifacts" / "knowledge").iterdir())
              if '"view": null' in (path / "knowledge.json").read_text()]  # fmt: skip
    split = limbeck.load_dataset("digits").split(validation=200, test=0.25)
    distilled = limbeck.distill(Knowledge.open(row), student, split.train, settings=QUICK)
    assert distilled.knowledge.rows == len(split.train)


def test_the_seed_alone_decides_the_outcome(teacher, images):
    outcomes = []
    for seed, noise in ((0, 1), (0, 2), (3, 1)):
        torch.manual_seed(1)
        model = Own(16)
        torch.manual_seed(noise)
        limbeck.distill(teacher, model, images, settings=QUICK, seed=seed)
        outcomes.append(model.layers[0].weight.detach().numpy().tobytes())
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_without_validation_the_last_epoch_is_kept(teacher, student, images):
    history = limbeck.distill(teacher, student, images, settings=QUICK, validation=0).history
    assert history.kept_epoch == 8
    assert history.kept["validation_accuracy"] is None


# ---------------------------------------------------------------- mistakes


def refused(kind, *arguments, **given):
    with pytest.raises(kind) as error:
        limbeck.distill(*arguments, **{"settings": QUICK, **given})
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_inputs_that_are_not_finite_are_named_before_the_teacher_is_asked(student, images, value, name):
    rows = images.astype(np.float32)
    rows[417, 3, 3] = value

    def function(_):
        raise AssertionError("the teacher was asked")

    assert f'{name} in the inputs of part "inputs": row 417' in refused(LimbeckError, function, student, rows)


def test_outputs_that_are_not_finite_are_named(student, images):
    def function(inputs):
        answers = np.zeros((len(inputs), 10))
        answers[(inputs == images[333]).all(axis=(1, 2))] = np.nan
        return answers

    assert "the teacher's output for row 333 is not finite" in refused(LimbeckError, function, student, images)


def test_a_label_out_of_range_is_named(teacher, student, images, digits):
    for wrong in (10, -2):
        labels = digits.labels[:600].copy()
        labels[55] = wrong
        assert "labels out of range: row 55" in refused(LimbeckError, teacher, student, images, labels=labels)


@pytest.mark.parametrize("labels", [np.zeros(600), np.zeros(599, int), np.zeros((600, 10), int), ["a"] * 600])
def test_labels_that_do_not_fit_are_refused(teacher, student, images, labels):
    assert "expected whole numbers, one for each of the 600" in refused(
        UsageError, teacher, student, images, labels=labels
    )


def test_missing_labels_are_asked_for(teacher, student, images):
    objective = Objective(hard=0.5)
    assert "pass labels, or hard=0" in refused(UsageError, teacher, student, images, objective=objective)


@pytest.mark.parametrize("validation", [-0.1, 1.0, 0.9999])
def test_a_validation_that_leaves_nothing_is_refused(teacher, student, images, validation):
    assert f"validation = {validation}" in refused(UsageError, teacher, student, images, validation=validation)


def test_no_inputs_are_refused(teacher, student, images):
    assert "has no rows" in refused(UsageError, teacher, student, images[:0])


def test_inputs_that_are_no_array_of_rows_are_refused(teacher, student):
    assert "uint8 or float32" in refused(UsageError, teacher, student, [[1, 2], [3, 4]])
    assert "at least two dimensions" in refused(UsageError, teacher, student, np.zeros(5, np.float32))
    assert "at least two dimensions" in refused(UsageError, teacher, student, np.float32(3))


def test_a_temperature_of_zero_or_below_is_refused():
    for temperature in (0, -1):
        with pytest.raises(UsageError, match="temperature is"):
            Objective(temperature=temperature)


def test_knowledge_of_other_rows_is_refused(teacher, student, images):
    knowledge = limbeck.distill(teacher, student, images, settings=QUICK).knowledge
    assert "was recorded for 600 rows" in refused(LimbeckError, knowledge, student, images[:500])


def test_a_student_with_another_number_of_classes_is_refused(teacher, images):
    message = refused(LimbeckError, teacher, Own(8, classes=7), images)
    assert "7" in message
    assert "10" in message


def test_a_teacher_that_disagrees_with_the_labels_is_refused(teacher, student, images, digits):
    labels = np.roll(digits.labels[:600], 7)
    assert "misaligned" in refused(LimbeckError, teacher, student, images, labels=labels)


def test_what_cannot_teach_is_refused(student, images):
    with pytest.raises(TypeError, match="is no teacher"):
        limbeck.distill(None, student, images)


# ---------------------------------------------------------------- stage by stage


@pytest.fixture(scope="module")
def split():
    return limbeck.load_dataset("digits").split(validation=200, test=0.25)


def small(kind="mlp"):
    settings = {
        "mlp": {"kind": "mlp", "widths": [16]},
        "convnet": {"kind": "convnet", "widths": [4, 4, 8], "hidden": 8},
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return limbeck.build_model(settings[kind], (8, 8), 10)


def test_a_model_of_a_known_kind_learns_its_preprocessing_from_the_rows(split, teacher):
    taught, student = small(), small()
    limbeck.teach(taught, split.train, TrainSettings(epochs=1))
    limbeck.distill(teacher, student, split.train, TrainSettings(epochs=1))
    for model in (taught, student):
        assert model.preprocessing.mean.item() == pytest.approx(split.train.inputs.mean(), rel=1e-5)
        assert model.preprocessing.std.item() == pytest.approx(split.train.inputs.std(), rel=1e-5)


def test_preprocessing_that_was_learnt_is_left_as_it_is(split):
    model = small()
    model.preprocessing.fit(split.train.inputs[:10])
    before = model.preprocessing.mean.clone()
    limbeck.teach(model, split.train, TrainSettings(epochs=1))
    assert torch.equal(model.preprocessing.mean, before)


def test_what_is_taught_is_right_more_often_than_chance_with_views_too(split):
    for views in (None, limbeck.ViewSettings(rotate=5)):
        history = limbeck.teach(small(), split.train, QUICK, validation=split.validation, views=views)
        assert history.kept["validation_accuracy"] > 0.7


def test_rows_without_labels_cannot_be_taught_by_labels(split):
    part = Part("some", split.train.inputs, np.full(len(split.train), -1), split.train.ids, split.train.classes)
    with pytest.raises(UsageError, match='part "some" has rows without labels'):
        limbeck.teach(small(), part)


def test_a_teacher_is_asked_once_and_known_by_its_weights(split, teacher, tmp_path):
    kept = limbeck.extract(teacher, split.train, tmp_path)
    before = kept.folder.stat().st_mtime_ns
    again = limbeck.extract(teacher, split.train, tmp_path)
    assert again.folder == kept.folder
    assert kept.folder.stat().st_mtime_ns == before
    other = Own(32)
    other.load_state_dict({name: tensor * 1.01 for name, tensor in teacher.state_dict().items()})
    assert limbeck.extract(other, split.train, tmp_path).folder != kept.folder


def test_means_of_other_weights_and_trees_that_answer_otherwise_are_other_teachers(split, tmp_path):
    nets = [limbeck.build_model({"kind": "mlp", "widths": [4]}, (8, 8), 10, split.train.inputs) for _ in range(2)]
    means = [MeanModel(nets, weights=[0.5, 0.5]), MeanModel(nets, weights=[0.6, 0.4]), MeanModel(nets, mean="logits")]
    path = limbeck.build_model({"kind": "soft-tree", "depth": 2}, (8, 8), 10, split.train.inputs)
    average = limbeck.build_model({"kind": "soft-tree", "depth": 2, "predict": "average"}, (8, 8), 10)
    average.load_state_dict(path.state_dict())
    folders = [limbeck.extract(one, split.train, tmp_path).folder for one in (*means, path, average)]
    assert len(set(folders)) == len(folders)
    odd = Own(32)
    odd.settings = object()  # which says where it lies in memory
    folder = limbeck.extract(odd, split.train, tmp_path).folder
    odd.settings = object()
    assert limbeck.extract(odd, split.train, tmp_path).folder == folder


def test_a_function_is_known_by_the_name_it_is_given(split, teacher, tmp_path):
    def function(inputs):
        return teacher(torch.from_numpy(inputs))

    with pytest.raises(UsageError, match=r"function cannot be told from another teacher by its weights: pass name="):
        limbeck.extract(function, split.train, tmp_path)
    kept = limbeck.extract(function, split.train, tmp_path, name="one")
    with pytest.raises(LimbeckError, match="the teacher answers otherwise than is stored"):
        limbeck.extract(lambda inputs: -function(inputs), split.train, tmp_path, name="one")
    assert limbeck.extract(lambda inputs: -function(inputs), split.train, tmp_path, name="two").folder != kept.folder


def test_validation_rows_can_be_given(split, teacher, student):
    distilled = limbeck.distill(teacher, student, split.train, QUICK, validation=split.validation)
    found = predict_log_probs(student, split.validation.inputs)
    right = (found.argmax(axis=1) == split.validation.labels).mean()
    assert distilled.history.kept["validation_accuracy"] == pytest.approx(right)


def test_a_model_is_measured_as_in_a_run(split, teacher, student):
    alone = limbeck.evaluate(student, split.test)
    assert (alone["role"], alone["name"], alone["parameters"]) == ("reference", "Own", 1210)
    found = predict_log_probs(student, split.test.inputs)
    assert alone["errors"] == (found.argmax(axis=1) != split.test.labels).sum()
    beside = limbeck.evaluate(teacher, split.test, teacher=teacher, baseline=student)
    assert beside["agreement"] == 1
    assert beside["gap_recovered"] == 1
    assert beside["verdict"] == "helps"


def test_knowledge_of_altered_views_is_not_taken_for_that_of_the_rows(student, finished):
    (path, *_) = [path for path in sorted((finished.parent / "artifacts" / "knowledge").iterdir())
                  if '"view": null' not in (path / "knowledge.json").read_text()]  # fmt: skip
    split = limbeck.load_dataset("digits").split(validation=200, test=0.25)
    with pytest.raises(LimbeckError, match=rf"{path} was recorded for view \d of the rows"):
        limbeck.distill(Knowledge.open(path), student, split.train)


def test_knowledge_in_memory_is_of_its_inputs_alone(teacher, student, images):
    knowledge = limbeck.distill(teacher, student, images, settings=TrainSettings(epochs=1)).knowledge
    with pytest.raises(LimbeckError, match="was recorded for other inputs"):
        limbeck.distill(knowledge, student, images[::-1].copy())


class Plain(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

    def forward(self, inputs):
        return self.layers(inputs)


@pytest.mark.parametrize(
    ("model", "inputs", "says"),
    [
        (
            Plain(),
            np.zeros((20, 8, 8), np.uint8),
            r"the student \(Plain\) does not take uint8 inputs of shape \(batch, 8, 8\)",
        ),
        (Plain(), np.zeros((20, 9, 9), np.float32), r"the student \(Plain\) does not take float32 inputs of shape"),
        (
            Plain(7),
            np.zeros((20, 8, 8), np.float32),
            r"the student \(Plain\) returned \(2, 7\) for 2 inputs: expected \(2, 10\)",
        ),
        (
            nn.Identity(),
            np.zeros((20, 8, 8), np.float32),
            r"the student \(Identity\) returned \(2, 8, 8\) for 2 inputs",
        ),
    ],
)
def test_a_student_that_does_not_fit_is_refused_in_words(model, inputs, says):
    teacher = FunctionTeacher(lambda inputs: np.eye(10, dtype=np.float32)[np.arange(len(inputs)) % 10])
    with pytest.raises(UsageError, match=says):
        limbeck.distill(teacher, model, inputs)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(teacher, student, images, seed):
    with pytest.raises(UsageError, match=f"seed = {seed} is not a whole number from 0 to"):
        limbeck.distill(teacher, student, images, seed=seed)


# ---------------------------------------------------------------- what does not fit


def changed(part, **fields):
    given = {
        "name": "validation",
        "inputs": part.inputs,
        "labels": part.labels,
        "ids": part.ids,
        "classes": part.classes,
    }
    return Part(**{**given, **fields})


@pytest.mark.parametrize("stage", ["teach", "distill"])
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"classes": tuple("9876543210")}, "the validation rows have the classes 9, 8, 7"),
        ({"inputs": np.zeros((200, 9, 9), np.uint8)}, r"the validation rows are uint8 of shape \(9, 9\)"),
        ({"labels": np.full(200, -1)}, "some validation rows have no label"),
    ],
)
def test_validation_rows_that_do_not_fit_are_refused_before_any_training(split, teacher, stage, fields, says):
    validation = changed(split.validation, **fields)
    with pytest.raises(UsageError, match=says):
        if stage == "teach":
            limbeck.teach(small(), split.train, validation=validation)
        else:
            limbeck.distill(teacher, small(), split.train, validation=validation)


def test_what_is_no_part_has_no_rows_or_cannot_learn_is_refused(split, teacher, tmp_path):
    empty = split.train.take(np.arange(0))
    with pytest.raises(UsageError, match="part is a ndarray: expected a limbeck.Part"):
        limbeck.teach(small(), split.train.inputs)
    for call in (lambda: limbeck.teach(small(), empty), lambda: limbeck.extract(teacher, empty, tmp_path / "kept")):
        with pytest.raises(UsageError, match="has no rows"):
            call()
    assert not (tmp_path / "kept").exists()
    with pytest.raises(UsageError, match=r"\(Own\) has no parameters that can be trained"):
        limbeck.distill(teacher, Own(16).requires_grad_(False), split.train)
    with pytest.raises(UsageError, match="the teacher is a function"):
        limbeck.evaluate(teacher, split.test, teacher=lambda inputs: inputs)
    with pytest.raises(UsageError, match="dtype = 'float64'"):
        limbeck.extract(teacher, split.train, tmp_path, dtype="float64")
    with pytest.raises(UsageError, match=r"train.epochs = 2.5, expected a whole number"):
        TrainSettings(epochs=2.5)


def test_a_teacher_that_does_not_take_the_inputs_is_refused_in_words(split, student, tmp_path):
    with pytest.raises(LimbeckError, match=r"the teacher \(Plain\) does not take uint8 inputs"):
        limbeck.extract(Plain(), split.train, tmp_path)
    with pytest.raises(LimbeckError, match=r"the teacher \(Plain\) does not take uint8 inputs"):
        limbeck.distill(Plain(), student, split.train)


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_kept_knowledge_that_is_damaged_is_mended_by_the_same_call(split, teacher, tmp_path, damage):
    shard = limbeck.extract(teacher, split.train, tmp_path).folder / "00000.safetensors"
    whole = shard.read_bytes()
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    limbeck.extract(teacher, split.train, tmp_path)
    assert shard.read_bytes() == whole


def test_kept_knowledge_of_a_part_asks_for_the_part(split, teacher, student, tmp_path):
    knowledge = limbeck.extract(teacher, split.train, tmp_path)
    with pytest.raises(UsageError, match="was recorded for the rows of a part"):
        limbeck.distill(knowledge, student, split.train.inputs)


def test_measuring_leaves_the_model_as_it_was(split, student):
    student.train()
    limbeck.evaluate(student, split.test)
    assert student.training


def other_teacher():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return Own(8).eval()


def weights_of(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def taught_by(teacher, images, **settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        student = Own(16)
    return limbeck.distill(
        teacher, student, images, QUICK, objective=Objective(temperature=3), validation=0, **settings
    )


def test_several_teachers_teach_by_the_mean_of_their_softened_probabilities(teacher, images):
    several = [teacher, other_teacher()]
    by_both = taught_by(several, images)
    said = [torch.from_numpy(predict_log_probs(one, images)) for one in several]
    mean = torch.stack([(one / 3).softmax(dim=1) for one in said]).mean(dim=0).log() * 3
    by_mean = taught_by(Knowledge.in_memory(mean.numpy(), [str(number) for number in range(10)]), images)
    torch.testing.assert_close(weights_of(by_both.student), weights_of(by_mean.student), rtol=1e-3, atol=1e-4)
    assert len(by_both.knowledge) == 2


def test_a_mean_is_taken_apart_and_its_members_are_softened_each(teacher, images):
    several = [teacher, other_teacher()]
    mean = MeanModel(several, input_shape=images.shape[1:], classes=10, weights=[0.75, 0.25])
    by_mean, by_list = taught_by(mean, images), taught_by(several, images, weights=[3, 1])
    assert torch.equal(weights_of(by_mean.student), weights_of(by_list.student))


def test_a_teacher_of_weight_zero_teaches_nothing(teacher, images):
    by_both = taught_by([teacher, other_teacher()], images, weights=[1, 0])
    torch.testing.assert_close(
        weights_of(by_both.student), weights_of(taught_by(teacher, images).student), rtol=1e-3, atol=1e-4
    )


def test_knowledge_of_several_teachers_that_was_kept_teaches_alike(teacher, images):
    first = taught_by([teacher, other_teacher()], images)
    again = taught_by(list(first.knowledge), images)
    assert torch.equal(weights_of(first.student), weights_of(again.student))


@pytest.mark.parametrize(
    ("several", "weights", "says"),
    [
        ([], None, "the list of teachers is empty: give at least one"),
        (["teacher", "other"], [1], "weights: found 1 for 2 members: give one for each member"),
        (["teacher", "other"], [1, -1], "weights: that of member 2 is -1: give 0 or more"),
        ("teacher", [1], "weights were given for one teacher: give a list of teachers, or leave them out"),
        (
            ["teacher", "eight"],
            None,
            "teacher 2 has the classes 0, 1, 2, 3, 4, 5, 6, 7, but the first has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9: they "
            "must be the same, in the same order",
        ),
    ],
)
def test_teachers_and_weights_that_do_not_fit_are_refused(teacher, images, several, weights, says):
    there = {"teacher": teacher, "other": other_teacher(), "eight": Own(4, classes=8)}
    given = there[several] if isinstance(several, str) else [there[name] for name in several]
    with pytest.raises(UsageError) as error:
        taught_by(given, images, weights=weights)
    assert str(error.value) == says
