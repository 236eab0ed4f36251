import math

import pytest

from limbeck.errors import UsageError
from limbeck.train_settings import TrainSettings


def test_the_rate_rises_from_zero_and_falls_along_a_cosine():
    settings = TrainSettings(learning_rate=2.0, warmup=0.2)
    assert [settings.rate(done) for done in (0, 0.1, 0.2)] == pytest.approx([0, 1, 2])
    assert settings.rate(0.6) == pytest.approx(1)
    assert settings.rate(0.4) == pytest.approx(1 + math.sqrt(0.5))
    assert settings.rate(1) == pytest.approx(0)


def test_without_warmup_the_rate_begins_at_its_highest():
    assert TrainSettings(learning_rate=2.0, warmup=0).rate(0) == 2


def test_a_constant_rate_stays_after_the_warmup():
    settings = TrainSettings(learning_rate=2.0, warmup=0.2, schedule="constant")
    assert [settings.rate(done) for done in (0.1, 0.2, 0.9)] == pytest.approx([1, 2, 2])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("passes", 0),
        ("passes", 1.5),
        ("optimizer", "adam"),
        ("learning_rate", 0),
        ("learning_rate", -1.0),
        ("learning_rate", math.nan),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("warmup", 1.0),
        ("schedule", "linear"),
        ("keep", "first"),
        ("precision", "float16"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(UsageError, match=f"train.{name} = {value!r}, expected"):
        TrainSettings(**{name: value})


def test_one_pass_is_what_an_epoch_is_and_several_are_a_setting():
    assert "passes" not in TrainSettings(passes=1).in_effect()
    assert TrainSettings(passes=1).in_effect() == TrainSettings().in_effect()
    assert TrainSettings(passes=3).in_effect()["passes"] == 3


def test_batches_make_steps_and_those_left_at_the_end_of_an_epoch_make_one():
    settings = TrainSettings(accumulate=3)
    assert [settings.step_of(batch, 8) for batch in range(8)] == [range(3)] * 3 + [range(3, 6)] * 3 + [range(6, 8)] * 2
    assert "accumulate" not in TrainSettings().as_json()
    assert settings.as_json()["accumulate"] == 3


def test_only_sgd_has_momentum():
    assert "momentum" not in TrainSettings(momentum=0.5).in_effect()
    assert TrainSettings(optimizer="sgd", momentum=0.5).in_effect()["momentum"] == 0.5
