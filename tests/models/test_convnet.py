import pytest
import torch

from limbeck.errors import UsageError
from limbeck.models import ConvNet


@pytest.fixture
def trained(digits):
    """A convnet whose batch normalisation has seen some rows, so that folding it has something to fold."""
    torch.manual_seed(0)
    model = ConvNet((8, 8), 10, [8, 12, 16], hidden=24)
    model.preprocessing.fit(digits.inputs)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for start in range(0, 640, 64):
        loss = torch.nn.functional.cross_entropy(
            model(torch.from_numpy(digits.inputs[start : start + 64])).logits,
            torch.from_numpy(digits.labels[start : start + 64]),
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def test_the_inference_form_is_the_same_function(trained, digits):
    inputs = torch.from_numpy(digits.inputs[1000:1300])
    folded = trained.inference_form()
    assert not any(isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) for layer in folded.modules())
    with torch.inference_mode():
        expected = trained.eval()(inputs).logits
        torch.testing.assert_close(folded(inputs).logits, expected, atol=1e-4, rtol=1e-4)
        # Not by chance: statistics of one batch more, and the outputs are others.
        trained.train()(inputs)
        assert (trained.eval()(inputs).logits - expected).abs().max() > 1e-2


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (9, 13), (13, 32, 3), (15, 17), (18, 26, 1)])
def test_what_pooling_drops_is_not_computed_and_changes_nothing(shape):
    torch.manual_seed(0)
    model = ConvNet(shape, 5, [4, 6, 8], hidden=6)
    images = torch.randint(0, 256, (16, *shape), dtype=torch.uint8)
    model.preprocessing.fit(images.numpy())
    model(images)
    with torch.inference_mode():
        torch.testing.assert_close(
            model.inference_form()(images).logits, model.eval()(images).logits, atol=1e-4, rtol=1e-4
        )


def test_the_inference_form_leaves_the_model_as_it_is(trained, digits):
    trained.train()
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    trained.inference_form()
    assert trained.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (9, 13), (32, 32, 3), (8, 8, 1)])
def test_images_of_any_size_from_eight_pixels_and_any_channels(shape):
    model = ConvNet(shape, 5, [4, 4, 4], hidden=6)
    assert model(torch.zeros(2, *shape, dtype=torch.uint8)).logits.shape == (2, 5)


@pytest.mark.parametrize("shape", [(7, 28), (28, 7), (64,), (2, 8, 8, 3)])
def test_what_is_no_image_or_too_small_is_refused_with_its_shape(shape):
    with pytest.raises(UsageError) as refused:
        ConvNet(shape, 10)
    assert str(shape) in str(refused.value)
    assert "at least 8×8 pixels" in str(refused.value)
    assert 'model = {kind = "mlp"}' in str(refused.value)


def test_a_batch_of_one_row_cannot_be_trained_on_and_says_so():
    model = ConvNet((8, 8), 10, [4, 4, 4], hidden=6)
    with pytest.raises(UsageError, match="batch normalisation needs at least two rows in a batch: raise batch_size"):
        model(torch.zeros(1, 8, 8, dtype=torch.uint8))
    assert model.eval()(torch.zeros(1, 8, 8, dtype=torch.uint8)).logits.shape == (1, 10)
