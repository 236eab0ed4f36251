import pytest
import torch

from limbeck.models.dropout import ByteDropout, with_byte_dropout


@pytest.mark.parametrize("probability", [0.2, 0.5, 0.9])
def test_as_many_are_dropped_as_asked_for_and_the_mean_stays(probability):
    torch.manual_seed(0)
    units = torch.ones(2000, 250)
    dropped = ByteDropout(probability)(units)
    assert (dropped == 0).float().mean() == pytest.approx(probability, abs=0.005)
    assert dropped.mean() == pytest.approx(1, abs=0.02)
    assert len(dropped.unique()) == 2
    # No place of a word is worse at it than the others.
    assert (dropped == 0).float().view(-1, 8).mean(dim=0).sub(probability).abs().max() < 0.01


def test_gradients_go_through_what_is_kept():
    torch.manual_seed(0)
    units = torch.randn(9, 5, requires_grad=True)
    dropped = ByteDropout(0.5)(units)
    dropped.sum().backward()
    torch.testing.assert_close(units.grad, torch.where(dropped != 0, 2.0, 0.0))


def test_evaluation_and_probability_zero_change_nothing():
    units = torch.randn(9, 5)
    assert ByteDropout(0.5).eval()(units) is units
    assert ByteDropout(0.0)(units) is units


def test_it_takes_the_place_of_torch_s_wherever_that_is_in_a_model():
    model = torch.nn.Sequential(torch.nn.Dropout(0.25), torch.nn.ModuleDict({"a": torch.nn.Dropout(0.5).eval()}))
    with_byte_dropout(model)
    assert [(one.p, one.training) for one in model.modules() if isinstance(one, ByteDropout)] == [
        (0.25, True),
        (0.5, False),
    ]
    assert not any(isinstance(one, torch.nn.Dropout) for one in model.modules())


def test_the_same_seed_drops_the_same():
    def dropped():
        torch.manual_seed(7)
        return ByteDropout(0.5)(torch.ones(33))

    assert torch.equal(dropped(), dropped())


def test_half_precision_stays_half():
    assert ByteDropout(0.5)(torch.ones(16, dtype=torch.bfloat16)).dtype == torch.bfloat16
