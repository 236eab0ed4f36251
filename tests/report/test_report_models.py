from limbeck.report.models import Model, baseline_of


def model(role, variant, **row):
    return Model({"role": role, "name": "net", "variant": variant, **row}, True, None, None)


def test_a_baseline_is_known_by_what_was_not_chosen_for_it():
    student = model("student", {"widths": 32, "learning_rate": 0.01}, chosen={"train.learning_rate": 0.01})
    other = model("baseline", {"widths": 16, "learning_rate": 0.01}, chosen={"train.learning_rate": 0.01})
    own = model("baseline", {"widths": 32, "learning_rate": 0.03}, chosen={"train.learning_rate": 0.03})
    assert baseline_of(student, [student, other, own]) is own
    assert baseline_of(student, [student, own, other]) is own
    assert baseline_of(student, [student]) is None
