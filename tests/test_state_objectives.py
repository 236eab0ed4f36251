"""The losses on a live teacher's last layer, against values worked out by hand and token by token."""

import math

import pytest
import torch

from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.targets import Targets
from limbeck.models import Outputs
from limbeck.objectives import Objective
from limbeck.state_objectives import hidden_cosine_loss, relation_loss


def mask_of(*lengths, tokens=5):
    return torch.arange(tokens) < torch.tensor(lengths)[:, None]


def test_the_cosine_loss_is_a_mean_over_tokens_that_count_and_not_over_texts():
    student = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [9.0, 9.0]], [[0.0, 2.0], [7.0, 1.0], [1.0, 1.0]]])
    teacher = torch.tensor([[[0.0, 3.0], [5.0, 0.0], [-1.0, 0.0]], [[0.0, -1.0], [1.0, 1.0], [2.0, 2.0]]])
    # Angles of 90, 0 and 180 degrees: 1 − cos is 1, 0 and 2.
    assert hidden_cosine_loss(student, teacher, mask_of(2, 1, tokens=3)).item() == pytest.approx(1.0)


def test_the_relation_loss_is_that_of_every_head_and_token_taken_by_itself():
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 2, 2, 5, 4), torch.randn(3, 2, 2, 5, 6)
    lengths = (5, 3)
    total = 0.0
    for kind in range(3):
        rows = []
        for text, length in enumerate(lengths):
            for token in range(length):
                for head in range(2):
                    ours, theirs = (
                        (
                            one[kind, text, head, token] @ one[kind, text, head, :length].T / math.sqrt(one.shape[-1])
                        ).softmax(-1)
                        for one in (student, teacher)
                    )
                    rows.append((theirs * (theirs / ours).log()).sum().item())
        total += sum(rows) / len(rows)
    assert relation_loss(student, teacher, mask_of(*lengths)).item() == pytest.approx(total, rel=1e-5)


def test_what_lies_behind_a_text_makes_no_difference():
    torch.manual_seed(1)
    student, teacher, hidden, taught = (
        torch.randn(3, 2, 2, 5, 4),
        torch.randn(3, 2, 2, 5, 4),
        torch.randn(2, 5, 8),
        torch.randn(2, 5, 8),
    )
    mask = mask_of(5, 2)
    before = relation_loss(student, teacher, mask), hidden_cosine_loss(hidden, taught, mask)
    student[:, 1, :, 2:] = 100.0
    hidden[1, 2:] = -3.0
    assert torch.equal(
        torch.stack(before),
        torch.stack((relation_loss(student, teacher, mask), hidden_cosine_loss(hidden, taught, mask))),
    )


def test_no_text_at_all_is_a_loss_of_zero_with_gradients_that_are_numbers():
    states = torch.randn(3, 1, 2, 5, 4, requires_grad=True)
    hidden = torch.randn(1, 5, 8, requires_grad=True)
    loss = relation_loss(states, torch.randn(3, 1, 2, 5, 4), mask_of(0)) + hidden_cosine_loss(
        hidden, torch.randn(1, 5, 8), mask_of(0)
    )
    loss.backward()
    assert loss.item() == 0
    assert not states.grad.any()
    assert not hidden.grad.any()


def test_a_student_that_is_its_teacher_has_nothing_to_learn():
    states, hidden = torch.randn(3, 2, 2, 5, 4), torch.randn(2, 5, 8)
    assert relation_loss(states, states, mask_of(5, 3)).item() == pytest.approx(0, abs=1e-6)
    assert hidden_cosine_loss(hidden, 2 * hidden, mask_of(5, 3)).item() == pytest.approx(0, abs=1e-6)


def test_states_of_other_shapes_are_refused():
    with pytest.raises(
        LimbeckError, match=r"the student's hidden states have shape \(1, 5, 4\), the teacher's \(1, 5, 8\)"
    ):
        hidden_cosine_loss(torch.randn(1, 5, 4), torch.randn(1, 5, 8), mask_of(5))
    with pytest.raises(LimbeckError, match=r"but may differ in width alone"):
        relation_loss(torch.randn(3, 1, 2, 5, 4), torch.randn(3, 1, 4, 5, 4), mask_of(5))


def test_the_objective_adds_the_states_with_their_weights():
    torch.manual_seed(2)
    hidden, taught, mask = torch.randn(2, 5, 8), torch.randn(2, 5, 8), mask_of(5, 3)
    ours, theirs = torch.randn(3, 2, 2, 5, 4), torch.randn(3, 2, 2, 5, 4)
    student, teacher = Outputs(torch.zeros(2, 2), hidden, ours, mask), Targets(hidden=taught, projections=theirs)
    found = Objective(hidden=2.0, relations=0.5).state_loss(student, teacher, mask)
    wanted = 2 * hidden_cosine_loss(hidden, taught, mask) + 0.5 * relation_loss(ours, theirs, mask)
    assert found.item() == pytest.approx(wanted.item())


def test_a_model_that_shows_no_states_is_said():
    student, teacher = Outputs(torch.zeros(2, 2)), Targets(hidden=torch.randn(2, 5, 8))
    with pytest.raises(UsageError, match="a loss on hidden needs models that show them, and the student does not"):
        Objective(hidden=1.0).state_loss(student, teacher, None)
    with pytest.raises(UsageError, match="a loss on projections needs models that show them, and the teacher does not"):
        shown = Outputs(torch.zeros(2, 2), projections=torch.randn(3, 2, 2, 5, 4), mask=mask_of(5, 3))
        Objective(relations=1.0).state_loss(shown, teacher, shown.mask)


def test_weights_of_states_that_are_zero_leave_no_trace_in_a_key():
    assert Objective().in_effect() == Objective(hidden=0.0).in_effect()
    assert "hidden" not in Objective().in_effect()
    assert Objective(hidden=1.0).in_effect()["hidden"] == 1.0
    assert "hidden" not in Objective(loss="hard_labels", hidden=1.0).in_effect()


def test_states_alone_can_be_learnt_from():
    objective = Objective(soft=0, hidden=1.0)
    assert objective(torch.zeros(2, 2)).item() == 0
    assert not objective.uses_teacher
    with pytest.raises(UsageError, match="the weights soft and hard are both 0"):
        Objective(soft=0)


def test_the_objective_takes_the_sparse_form_of_what_a_teacher_said():
    from limbeck.knowledge.sparse_targets import top_and_tails
    from limbeck.sparse_objectives import sparse_soft_target_loss

    torch.manual_seed(3)
    student, teacher = torch.randn(4, 20), torch.randn(4, 20)
    sparse, labels = top_and_tails(teacher, 5), torch.tensor([1, -1, 3, 4])
    found = Objective(temperature=2, soft=5, hard=2)(student, teacher_logits=sparse, labels=labels)
    hard = torch.nn.functional.cross_entropy(student, labels, ignore_index=-1)
    wanted = 5 * sparse_soft_target_loss(student, sparse, 2) + 2 * hard
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    with pytest.raises(UsageError, match="sparse knowledge is for soft targets of a network"):
        Objective(loss="logit_matching")(student, teacher_logits=sparse)


def test_many_tokens_are_counted_exactly_in_bfloat16():
    torch.manual_seed(4)
    student, teacher = torch.randn(37, 61, 8), torch.randn(37, 61, 8)
    mask = torch.ones(37, 61, dtype=torch.bool)
    wide = hidden_cosine_loss(student.bfloat16().float(), teacher, mask)
    assert hidden_cosine_loss(student.bfloat16(), teacher, mask).item() == pytest.approx(wide.item(), rel=1e-5)
