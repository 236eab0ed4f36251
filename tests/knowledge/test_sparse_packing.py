import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.sparse_packing import PackedRows, packed
from limbeck.knowledge.sparse_targets import TEMPERATURES, SparseTargets, temperature_number, top_and_tails
from limbeck.sparse_objectives import sparse_soft_target_loss


def targets(seed, rows=20, classes=300, k=16, scale=3.0):
    logits = np.random.default_rng(seed).normal(scale=scale, size=(rows, classes)).astype(np.float32)
    found = top_and_tails(torch.from_numpy(logits), k)
    return logits, found.values.numpy(), found.indices.numpy(), found.tails.numpy()


def through(values, indices, tails, classes, bits):
    return PackedRows(packed(values, indices, tails, classes, bits), bits).rows(np.arange(len(values)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    k=st.integers(1, 40),
    classes=st.sampled_from([1, 2, 30, 300]),
    scale=st.sampled_from([0.0, 1.0, 5.0, 50.0]),
    bits=st.sampled_from([6, 8, 16]),
)
def test_indices_come_back_exactly_and_values_within_the_stated_error(seed, k, classes, scale, bits):
    _, values, indices, tails = targets(seed, 8, classes, k, scale)
    found, same, kept = through(values, indices, tails, classes, bits)
    np.testing.assert_array_equal(same, indices)
    below, own = found - found[:, :1], values - values[:, :1]
    if bits < 16:
        roots, levels = np.abs(np.exp(below / 4) - np.exp(own / 4)), 2**bits
        assert (roots <= 0.5 / levels + 1e-6).all()
        further = own < -4 * np.log(levels / 8)
        assert (np.abs(below - own)[further] <= 0.25 + 1e-3).all()
    else:
        np.testing.assert_allclose(below, own, rtol=2**-11, atol=1e-5)
    mass = np.exp(found.astype(np.float64)).sum(axis=1) + np.exp(kept[:, 0].astype(np.float64))
    np.testing.assert_allclose(mass, 1, atol=1e-5)


@pytest.mark.parametrize("bits", [6, 8])
@pytest.mark.parametrize("gap", [10.0, 25.0, 60.0])
def test_the_loss_of_a_very_sure_teacher_comes_through(bits, gap):
    logits = torch.from_numpy(np.random.default_rng(0).normal(scale=2, size=(40, 3000)).astype(np.float32))
    logits[:, 0] = logits.max(dim=1).values + gap
    kept = top_and_tails(logits, 32)
    read = through(*(array.numpy() for array in (kept.values, kept.indices, kept.tails)), 3000, bits)
    stored = SparseTargets(*map(torch.from_numpy, read), torch.tensor([0, 40]), 3000)
    student = logits + 0.3 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    for temperature in TEMPERATURES:
        loss = sparse_soft_target_loss(student, stored, temperature)
        exact = sparse_soft_target_loss(student, kept, temperature)
        assert loss.item() == pytest.approx(exact.item(), rel=0.25, abs=1e-3)


@pytest.mark.parametrize("bits", [6, 8, 16])
def test_tails_come_back_within_half_a_step(bits):
    _, values, indices, tails = targets(0)
    found = through(values, indices, tails, 300, bits)[2]
    np.testing.assert_allclose(found, tails, atol=1 / 1024 + 1e-6)


def test_the_tails_are_those_of_the_dense_distribution():
    logits, values, indices, tails = targets(0)
    log_probs = torch.from_numpy(logits).double().log_softmax(dim=1).numpy()
    np.testing.assert_allclose(values, -np.sort(-log_probs, axis=1)[:, :16], atol=1e-5)
    for number, temperature in enumerate(TEMPERATURES):
        powers = np.exp(log_probs / temperature)
        np.put_along_axis(powers, indices, 0, axis=1)
        np.testing.assert_allclose(tails[:, number], np.log(powers.sum(axis=1)), atol=1e-5)


def test_a_tail_that_is_nearly_all_or_nearly_nothing_is_kept_as_exactly():
    logits = torch.tensor([[60.0, *[40.0] * 9], [0.0] * 10])
    found = top_and_tails(logits, 1)
    values, _, tails = through(found.values.numpy(), found.indices.numpy(), found.tails.numpy(), 10, 8)
    assert tails[0, 0] == pytest.approx(np.log(9) - 20, abs=2e-3)
    np.testing.assert_allclose(values[:, 0], found.values[:, 0], atol=2e-3)


@pytest.mark.parametrize("k", [5, 6, 1000])
def test_with_as_many_as_all_classes_there_is_no_tail(k):
    _, values, indices, tails = targets(0, classes=5, k=k)
    assert values.shape == (20, 5)
    assert np.isneginf(tails).all()
    found, same, kept = through(values, indices, tails, 5, 16)
    assert np.isneginf(kept).all()
    np.testing.assert_array_equal(same, indices)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-6)


def test_classes_are_numbered_anew_where_that_saves_more_than_it_takes():
    classes = 400
    places = np.random.default_rng(1).permutation(classes)
    values, tails = np.full((3000, 4), np.log(0.2), np.float32), np.full((3000, 4), np.log(0.2), np.float32)
    firsts = np.minimum(np.random.default_rng(0).geometric(0.1, 3000), classes // 4) - 1
    indices = places[(firsts[:, np.newaxis] + np.arange(4)) % classes]
    many = packed(values, indices, tails, classes, 8)
    assert len(many["order"]) == classes
    assert len(packed(values[:20], indices[:20], tails[:20], classes, 8)["order"]) == 0
    np.testing.assert_array_equal(PackedRows(many, 8).rows(np.arange(3000))[1], indices)
    assert many["bits"].nbytes + many["order"].nbytes < 3000 * 4 * 9 / 8


def test_the_same_targets_give_the_same_arrays():
    _, values, indices, tails = targets(0)
    one, other = packed(values, indices, tails, 300, 8), packed(values.copy(), indices.copy(), tails.copy(), 300, 8)
    assert {name: array.tobytes() for name, array in one.items()} == {n: a.tobytes() for n, a in other.items()}


def test_no_rows_at_all_are_packed_and_read():
    _, values, indices, tails = targets(0, rows=0)
    assert through(values, indices, tails, 300, 8)[0].shape == (0, 16)


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(UsageError, match="k is 0"):
        top_and_tails(torch.zeros(2, 3), 0)
    with pytest.raises(LimbeckError, match=r"shape \(2,\)"):
        top_and_tails(torch.zeros(2), 1)
    with pytest.raises(LimbeckError, match="output 1 are not all finite"):
        top_and_tails(torch.tensor([[0.0, 1.0], [0.0, torch.inf]]), 1)


def test_only_the_temperatures_whose_tails_are_kept_have_a_number():
    assert [temperature_number(one) for one in (1, 2.0, 4, 10)] == [0, 1, 2, 3]
    with pytest.raises(UsageError, match=r"temperature is 3, but sparse knowledge holds the tails at 1, 2, 4 and 10"):
        temperature_number(3)
