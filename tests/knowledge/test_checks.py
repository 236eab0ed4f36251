import numpy as np
import pytest

from limbeck.data import Part
from limbeck.errors import LimbeckError
from limbeck.knowledge import Knowledge, check_agreement, check_knowledge, extract, spot_check
from limbeck.teachers import FunctionTeacher, TorchTeacher, log_probabilities


@pytest.fixture
def knowledge(teacher, recording, store):
    return extract(teacher, recording, store)


def relabelled(part, labels, classes=None):
    return Part(part.name, part.inputs, labels, part.ids, classes or part.classes)


def message(knowledge, part):
    with pytest.raises(LimbeckError) as refused:
        check_knowledge(knowledge, part, "knowledge K")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("knowledge K")
    return str(refused.value)


def one_hot(classes, count=10):
    return np.log(np.eye(count)[classes] * 0.9 + 0.1 / count)


def test_knowledge_of_these_rows_is_accepted(knowledge, part):
    check_knowledge(knowledge, part, "knowledge K")


def test_knowledge_of_another_number_of_rows_is_refused_with_both(knowledge, part, digits):
    found = message(knowledge, digits)
    assert "was recorded for 570 rows" in found
    assert 'this data set\'s part "train" has 1797 rows' in found
    assert part.inputs_hash[:6] in found
    assert digits.inputs_hash[:6] in found


def test_knowledge_of_other_inputs_is_refused(knowledge, digits):
    assert "was recorded for other inputs" in message(knowledge, digits.take(np.arange(570)[::-1]))


def test_knowledge_of_rows_with_other_ids_is_refused(knowledge, part):
    moved = Part(part.name, part.inputs, part.labels, part.ids + 1, part.classes)
    assert "was recorded for other inputs" in message(knowledge, moved)


def test_knowledge_with_other_classes_is_refused(knowledge, part):
    found = message(knowledge, relabelled(part, part.labels, tuple("abcdefghij")))
    assert "has the classes 0, 1, 2" in found
    assert "the data has a, b, c" in found


def test_classes_in_another_order_are_refused(knowledge, part):
    assert "in the same order" in message(knowledge, relabelled(part, part.labels, part.classes[::-1]))


def test_labels_that_fit_no_better_than_chance_are_refused(knowledge, part):
    shuffled = np.random.default_rng(0).permutation(part.labels)
    assert "and chance would give 10" in message(knowledge, relabelled(part, shuffled))


@pytest.mark.parametrize("shift", [1, 7, 400])
def test_rows_shifted_against_their_knowledge_are_refused(part, knowledge, shift):
    shifted = Knowledge.in_memory(np.roll(knowledge.log_probs(), shift, axis=0), part.classes)
    assert "rows or classes are misaligned" in message(shifted, part)


def test_rows_shifted_where_one_class_has_95_of_100_are_refused():
    labels = np.random.default_rng(0).choice(2, 2000, p=[0.95, 0.05])
    teacher = np.where(np.random.default_rng(1).random(2000) < 0.99, labels, 1 - labels)
    check_agreement(teacher, labels, ("no", "yes"), "K")
    assert (np.roll(teacher, 1) == labels).mean() > 0.88  # better than a coin, and yet
    with pytest.raises(LimbeckError, match=r"agrees with the labels on 89.*and chance would give 89"):
        check_agreement(np.roll(teacher, 1), labels, ("no", "yes"), "K")


@pytest.mark.parametrize(
    "swapped", [[1, 0, 2, 3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 5, 3, 4, 6, 7, 8, 9], list(range(9, -1, -1))]
)
def test_renamed_classes_are_refused_with_the_names(part, knowledge, swapped):
    renamed = Knowledge.in_memory(knowledge.log_probs()[:, swapped], part.classes)
    found = message(renamed, part)
    assert "if its classes are renamed" in found
    moved = [f"{here}→{there}" for here, there in enumerate(swapped) if here != there]
    assert all(one in found for one in moved[:6])


def test_two_classes_that_changed_places_are_named_and_how_to_mend_it():
    labels = np.arange(112) % 2
    teacher = 1 - labels
    teacher[0] = labels[0]
    with pytest.raises(LimbeckError, match=r"on 0\.9% of 112 rows, but on 99\.1% if .* \(no→yes, yes→no\).* id2label"):
        check_agreement(teacher, labels, ("no", "yes"), "K")
    with pytest.raises(LimbeckError, match="it has learnt nothing"):  # the commonest class, and nothing else
        check_agreement(np.ones(100, int), (np.arange(100) % 10 > 5).astype(int), ("no", "yes"), "K")


def test_a_poor_teacher_is_no_renamed_one():
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 3000)
    teacher = np.where(random.random(3000) < 0.2, labels, random.integers(0, 10, 3000))
    check_agreement(teacher, labels, tuple("0123456789"), "K")


def test_a_teacher_that_knows_some_classes_only_is_accepted(part):
    check_knowledge(Knowledge.in_memory(one_hot(np.minimum(part.labels, 6)), part.classes), part, "K")


def test_where_there_is_one_class_only_nothing_can_be_told():
    check_agreement(np.zeros(50, int), np.zeros(50, int), ("a", "b"), "K")


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_a_right_teacher_is_accepted_on_however_few_rows(rows):
    labels = np.arange(rows) % 3
    check_agreement(labels, labels, ("a", "b", "c"), "K")


def test_unlabelled_rows_are_left_out_of_the_comparison(part, knowledge):
    labels = part.labels.copy()
    labels[::2] = -1
    check_knowledge(knowledge, relabelled(part, labels), "K")
    check_knowledge(knowledge, relabelled(part, np.full(570, -1)), "K")
    labels[1::2] = np.roll(labels[1::2], 1)
    assert "misaligned" in message(knowledge, relabelled(part, labels))


# ---------------------------------------------------------------- asked again


def test_the_same_teacher_answers_alike(teacher, knowledge, recording, part):
    spot_check(teacher, knowledge, recording, part.inputs, "K")


def test_a_few_rows_are_asked_about_from_first_to_last(teacher, knowledge, recording, part):
    before = teacher.rows
    spot_check(teacher, knowledge, recording, part.inputs, "K")
    assert teacher.rows - before == 16
    last = part.inputs.copy()
    last[-1] = 0
    with pytest.raises(LimbeckError, match="asked again about row 569, the teacher answers otherwise"):
        spot_check(teacher, knowledge, recording, last, "K")


def test_another_teacher_answers_otherwise(knowledge, recording, part, network):
    other = FunctionTeacher(lambda inputs: TorchTeacher(network).answer(inputs) / 3)
    with pytest.raises(LimbeckError, match="the knowledge is another teacher's or other data's"):
        spot_check(other, knowledge, recording, part.inputs, "K")


def test_another_view_is_noticed(teacher, view, part, store):
    knowledge = extract(teacher, view, store)
    spot_check(teacher, knowledge, view, view.pixels(None), "K")
    with pytest.raises(LimbeckError, match="asked again about row"):
        spot_check(teacher, knowledge, view, part.inputs, "K")


def test_rounding_to_float16_and_another_batch_are_no_other_answer(knowledge, recording, part, network):
    alone = TorchTeacher(network, precision="bfloat16", batch_size=1)
    assert np.abs(np.exp(log_probabilities(alone, part.inputs)) - np.exp(knowledge.log_probs())).max() > 0
    spot_check(alone, knowledge, recording, part.inputs, "K")
