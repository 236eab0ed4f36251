import numpy as np
import pytest
import torch

from limbeck.models import Standardize


def colours(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (50, 6, 6, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("inputs", "axes"),
    [
        (colours()[..., 0], (0, 1, 2)),  # grey images: one mean
        (colours(), (0, 1, 2)),  # colour images: one for each channel
        (colours().reshape(50, -1).astype(np.float32), (0,)),  # tables: one for each feature
    ],
)
def test_training_rows_come_out_with_mean_zero_and_deviation_one(inputs, axes):
    standardize = Standardize.for_shape(inputs.shape[1:]).fit(inputs)
    out = standardize(torch.from_numpy(inputs)).numpy().astype(np.float64)
    np.testing.assert_allclose(out.mean(axis=axes), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=axes), 1, atol=1e-5)


def test_a_constant_feature_is_only_centred():
    inputs = np.full((10, 2), 3, dtype=np.float32)
    inputs[:, 1] = np.arange(10)
    out = Standardize.for_shape((2,)).fit(inputs)(torch.from_numpy(inputs))
    assert (out[:, 0] == 0).all()
    assert torch.isfinite(out).all()


def test_raw_bytes_come_out_as_float32():
    assert Standardize()(torch.tensor([[[255]]], dtype=torch.uint8)).dtype == torch.float32


def test_statistics_agree_with_those_of_all_rows_at_once():
    inputs = np.random.default_rng(0).normal(1000, 0.5, (9000, 500)).astype(np.float32)  # several chunks
    fitted = Standardize.for_shape((500,)).fit(inputs)
    np.testing.assert_allclose(fitted.mean.numpy(), inputs.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(fitted.std.numpy(), inputs.std(axis=0, dtype=np.float64), rtol=1e-3)


def test_statistics_are_part_of_the_state():
    fitted = Standardize().fit(colours()[..., 0])
    other = Standardize()
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.mean, fitted.mean)
    assert torch.equal(other.std, fitted.std)
