import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import WORDS, seeded, tiny_folder, tiny_tokenizer

from limbeck.data import Part, TextForm
from limbeck.data.texts import packed
from limbeck.encoders.finding import load_classifier, load_masked
from limbeck.encoders.general import (
    TRIPLE,
    GeneralSettings,
    distilled_encoder,
    load_masked_encoder,
    save_masked,
)
from limbeck.encoders.layers import student_network
from limbeck.encoders.masked import LiveMaskedTargets, MaskedEncoder
from limbeck.encoders.masked_batches import MaskedBatches
from limbeck.encoders.masked_head import head_parameters, train_masked_head
from limbeck.encoders.masked_scores import masked_scores
from limbeck.encoders.masked_text import TextSettings, masked_batches
from limbeck.encoders.masking import MaskSettings
from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.targets import Targets
from limbeck.objectives import Objective
from limbeck.train_settings import TrainSettings

SETTINGS = GeneralSettings(text=TextSettings(24), dropout=0.0)
TRAIN = TrainSettings(epochs=3, batch_size=16, learning_rate=3e-3, keep="last")


def part(count, seed):
    generator = np.random.default_rng(seed)
    # Every text goes through the words in their order, so that there is something to predict.
    texts = []
    for _ in range(count):
        first = int(generator.integers(len(WORDS)))
        texts.append(" ".join(WORDS[(first + n) % len(WORDS)] for n in range(int(generator.integers(4, 14)))))
    return Part("text", packed(texts), np.full(count, -1), np.arange(count), (), TextForm())


@pytest.fixture(scope="module")
def texts():
    return part(200, 0)


@pytest.fixture(scope="module")
def held_out():
    return part(50, 1)


@pytest.fixture(scope="module")
def without_head(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("plain"))


def masked_folder(folder, kind):
    network, _ = load_masked(tiny_folder(folder / "of", kind))
    seeded(network)
    network.save_pretrained(folder)
    tiny_tokenizer(kind).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory):
    return masked_folder(tmp_path_factory.mktemp("masked"), "bert")


@pytest.fixture(scope="module")
def pair(teacher_folder, texts):
    """A teacher, a student and their batches."""
    teacher = load_masked_encoder(teacher_folder)
    student = MaskedEncoder(student_network(teacher.network, (0, 3)), teacher.tokens)
    return teacher, student, masked_batches(texts, teacher.tokens, TextSettings(24), 8, seed=1)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_the_head_says_at_masked_tokens_what_the_whole_model_says(tmp_path, texts, kind):
    encoder = load_masked_encoder(masked_folder(tmp_path, kind))
    batches = masked_batches(texts, encoder.tokens, TextSettings(40), 8, seed=1)
    inputs = batches.inputs(torch.arange(8), torch.zeros(8, dtype=torch.int64))  # of several lengths
    shown, labels = inputs.unbind(1)
    assert (shown == encoder.tokens.pad_id).any()
    with torch.no_grad():
        found = encoder(inputs)
        whole = encoder.network(
            input_ids=shown, attention_mask=(shown != encoder.tokens.pad_id).long(), output_hidden_states=True
        )
        torch.testing.assert_close(found.logits, whole.logits[labels >= 0], rtol=1e-4, atol=1e-4)
        real = shown != encoder.tokens.pad_id
        torch.testing.assert_close(found.hidden[real], whole.hidden_states[-1][real], rtol=1e-4, atol=1e-4)
        assert torch.equal(found.mask, real)
        encoder.answers = "all"
        assert len(encoder(inputs).logits) == (shown != encoder.tokens.pad_id).sum()
        encoder.answers = "none"
        assert encoder(inputs).logits.shape == (0, encoder.network.config.vocab_size)


@pytest.mark.parametrize("answers", ["masked", "all"])
def test_the_objective_is_the_triple_loss_of_the_paper(pair, answers):
    teacher, student, batches = pair
    teacher.answers = student.answers = answers
    batch = next(iter(batches.batches(0, 0)))
    targets = LiveMaskedTargets(teacher, batches).batch(batch.rows, batch.view)
    student.eval()
    outputs = student(batch.inputs)
    loss = TRIPLE(outputs.logits, teacher_logits=targets.logits, labels=targets.labels)
    loss = loss + TRIPLE.state_loss(outputs, targets, outputs.mask)

    shown, labels = batch.inputs.unbind(1)
    mask = shown != teacher.tokens.pad_id
    with torch.no_grad():
        theirs, ours = (
            model.network(input_ids=shown, attention_mask=mask.long(), output_hidden_states=True)
            for model in (teacher, student)
        )
        where = labels >= 0 if answers == "masked" else mask
        divergence = F.kl_div(
            (ours.logits[where] / 2).log_softmax(-1), (theirs.logits[where] / 2).softmax(-1), reduction="batchmean"
        )
        entropy = F.cross_entropy(ours.logits.transpose(1, 2), labels, ignore_index=-1)
        a, b = ours.hidden_states[-1][mask], theirs.hidden_states[-1][mask]
        cosine = F.cosine_embedding_loss(a, b, torch.ones(len(a)))
    assert loss.item() == pytest.approx(float(5 * divergence * 4 + 2 * entropy + cosine), rel=1e-4)
    assert min(float(divergence), float(entropy), float(cosine)) > 0.01
    teacher.answers = student.answers = "masked"


def test_a_live_teacher_sees_the_students_masks_and_has_no_gradients_and_no_dropout(pair):
    teacher, _, batches = pair
    teacher.train()
    targets = LiveMaskedTargets(teacher, batches)
    batch = next(iter(batches.batches(0, 0)))
    found = targets.batch(batch.rows, batch.view)
    other = MaskedBatches(batches.token_rows, batches.masking, 8)
    again = LiveMaskedTargets(teacher, other).batch(batch.rows, batch.view)
    assert torch.equal(found.logits, again.logits)
    assert torch.equal(found.hidden, again.hidden)
    assert not found.logits.requires_grad
    assert not torch.equal(found.hidden, targets.batch(batch.rows, batch.view + 1).hidden)


def test_a_teacher_of_another_vocabulary_is_refused(pair, tmp_path):
    teacher = load_masked_encoder(masked_folder(tmp_path, "roberta"))
    with pytest.raises(LimbeckError, match="the teacher's vocabulary has .* pieces, the student's"):
        LiveMaskedTargets(teacher, pair[2])


def test_a_student_comes_nearer_to_its_teacher(teacher_folder, texts, held_out):
    teacher = load_masked_encoder(teacher_folder)
    before = MaskedEncoder(student_network(teacher.network, (0, 3)), teacher.tokens)
    start = masked_scores(before, held_out, teacher, max_length=24)
    student, history = distilled_encoder(teacher_folder, (0, 3), texts, SETTINGS, TRAIN, 0)
    end = masked_scores(student, held_out, teacher, max_length=24)
    losses = [row["loss"] for row in history.epochs]
    assert max(losses[1:]) < losses[0] - 1
    assert end.cosine > start.cosine + 0.05
    assert end.predicted == start.predicted
    # What a random teacher says of masked tokens is wrong; the tokens themselves teach to predict them.
    labels = dataclasses.replace(SETTINGS, objective=Objective(soft=0, hard=1))
    alone, _ = distilled_encoder(teacher_folder, (0, 3), texts, labels, TRAIN, 0)
    assert masked_scores(alone, held_out, max_length=24).cross_entropy < start.cross_entropy - 0.5
    assert masked_scores(teacher, held_out, teacher, max_length=24).cosine == pytest.approx(1)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_distillation_that_was_cut_off_ends_with_the_same_bytes(
    teacher_folder, texts, tmp_path, monkeypatch, accumulate
):
    monkeypatch.setattr("limbeck.training.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("limbeck.training.CHECKPOINT_PAUSE", 0)
    train = dataclasses.replace(TRAIN, epochs=2, batch_size=4, accumulate=accumulate)
    settings = dataclasses.replace(SETTINGS, dropout=0.1)
    some = texts.take(np.arange(75))  # 19 steps in an epoch, and a checkpoint after 16

    def run(checkpoint):
        return distilled_encoder(teacher_folder, (0, 3), some, settings, train, 4, checkpoint=checkpoint)

    whole, history = run(None)
    found = MaskedBatches.inputs
    calls = 0

    def cut(self, rows, view):
        nonlocal calls
        calls += 1
        if calls == 2 * 19 + 2 * 18:  # for batch and targets of each step: in the second epoch
            raise KeyboardInterrupt
        return found(self, rows, view)

    monkeypatch.setattr(MaskedBatches, "inputs", cut)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "checkpoints")
    monkeypatch.setattr(MaskedBatches, "inputs", found)
    resumed, again = run(tmp_path / "checkpoints")
    assert again.epochs == history.epochs
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    save_masked(tmp_path / "one", whole)
    save_masked(tmp_path / "other", resumed)
    for file in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_a_saved_student_is_an_encoder_for_transformers_and_for_fine_tuning(teacher_folder, texts, tmp_path):
    import transformers

    settings = dataclasses.replace(SETTINGS, architecture="distilbert")
    train = dataclasses.replace(TRAIN, epochs=1)
    student, _ = distilled_encoder(teacher_folder, (0, 3), texts, settings, train, 0)
    save_masked(tmp_path, student)
    masked = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    asked = tokenizer(["the plot is [MASK]"], return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(masked(**asked).logits, student.network(**asked).logits)
        hidden = transformers.AutoModel.from_pretrained(tmp_path).eval()(**asked).last_hidden_state
        assert torch.equal(hidden, student.network.distilbert(**asked).last_hidden_state)
    classifier, fresh = load_classifier(tmp_path, ("bad", "good"), 0)
    assert fresh
    assert torch.equal(
        classifier.distilbert.embeddings.word_embeddings.weight, student.network.get_input_embeddings().weight
    )
    assert load_masked_encoder(tmp_path).answers == "masked"


def test_a_teacher_without_a_head_teaches_by_its_states(without_head, texts, held_out, tmp_path):
    objective = Objective(soft=0.0, hidden=1.0, relations=1.0)
    student, history = distilled_encoder(
        without_head, (0, 3), texts, dataclasses.replace(SETTINGS, objective=objective), TRAIN, 0
    )
    assert history.epochs[-1]["loss"] < 0.8 * history.epochs[0]["loss"]
    scores = masked_scores(student, held_out, load_masked_encoder(without_head), max_length=24)
    assert scores.cross_entropy is None
    assert scores.cosine > 0.5
    save_masked(tmp_path, student)
    assert load_masked(tmp_path)[1]  # its head was never trained, and is not written
    with pytest.raises(LimbeckError, match="has no masked-LM head, which soft targets need"):
        distilled_encoder(without_head, (0, 3), texts, SETTINGS, TRAIN, 0)


def test_a_student_without_a_teacher_learns_from_the_masked_tokens_alone(teacher_folder, texts, monkeypatch):
    def asked(*_):
        raise AssertionError("a teacher was asked")

    monkeypatch.setattr(LiveMaskedTargets, "batch", asked)
    settings = dataclasses.replace(SETTINGS, objective=Objective(loss="hard_labels"), initial="random")
    _, history = distilled_encoder(teacher_folder, (0, 3), texts, settings, TRAIN, 0)
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]


def test_a_head_is_trained_on_an_encoder_that_stays_as_it_is(without_head, texts, held_out, tmp_path):
    train = dataclasses.replace(TRAIN, epochs=6, learning_rate=1e-2)
    encoder, history = train_masked_head(without_head, texts, SETTINGS.text, train, 0)
    before = load_masked(without_head, 0)[0]
    for name, parameter in before.bert.named_parameters():
        assert torch.equal(parameter, encoder.network.bert.get_parameter(name))
    assert encoder.network.get_output_embeddings().weight is encoder.network.get_input_embeddings().weight
    assert len(head_parameters(encoder.network)) == 5
    assert all(parameter.requires_grad for parameter in encoder.network.parameters())
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
    scores = masked_scores(encoder, held_out, max_length=24)
    assert scores.cross_entropy < np.log(encoder.tokens.vocabulary_size)
    assert scores.perplexity == pytest.approx(np.exp(scores.cross_entropy))
    save_masked(tmp_path, encoder)
    with pytest.raises(UsageError, match="has a masked-LM head already"):
        train_masked_head(tmp_path, texts, SETTINGS.text, train, 0)
    student, _ = distilled_encoder(tmp_path, (0, 3), texts, SETTINGS, dataclasses.replace(TRAIN, epochs=1), 0)
    assert student.answers == "masked"


def test_a_frozen_encoder_has_no_dropout_while_its_head_learns(without_head, texts, monkeypatch):
    modes = []
    found = MaskedEncoder.hidden

    def seen(self, inputs):
        modes.append((self.network.bert.training, self.network.cls.training))
        return found(self, inputs)

    monkeypatch.setattr(MaskedEncoder, "hidden", seen)
    train_masked_head(without_head, texts, SETTINGS.text, dataclasses.replace(TRAIN, epochs=1), 0)
    assert set(modes) == {(False, True)}


def test_scores_leave_models_and_generator_as_they_were(pair, held_out):
    teacher, student, _ = pair
    student.train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    masked_scores(student, held_out, teacher, max_length=24)
    assert student.training
    assert not teacher.training
    assert torch.equal(torch.get_rng_state(), state)


def test_states_are_compared_on_texts_as_they_are_whatever_is_masked(pair, held_out):
    teacher, student, _ = pair
    few, many = (
        masked_scores(
            student, held_out, teacher, max_length=24, settings=MaskSettings(share=share, masked=1, replaced=0)
        )
        for share in (0.1, 1.0)
    )
    assert many.predicted > 3 * few.predicted
    assert many.cosine == pytest.approx(few.cosine)
    assert many.cross_entropy != pytest.approx(few.cross_entropy)


def test_targets_can_be_the_labels_alone_where_no_logits_are_wanted(pair):
    teacher, _, batches = pair
    batch = next(iter(batches.batches(0, 0)))
    found = LiveMaskedTargets(teacher, batches, with_logits=False).batch(batch.rows, batch.view)
    assert isinstance(found, Targets)
    assert found.logits is None
    assert found.projections is None
    assert (found.labels >= 0).all()


def test_settings_out_of_range_are_said_in_one_line(teacher_folder, texts):
    with pytest.raises(UsageError, match="architecture = 'albert', expected same or distilbert"):
        GeneralSettings(architecture="albert")
    with pytest.raises(UsageError, match="initial = 'zeros', expected layers or random"):
        GeneralSettings(initial="zeros")
    with pytest.raises(UsageError, match="dropout = 1"):
        GeneralSettings(dropout=1)
    with pytest.raises(UsageError, match="everywhere = true is about soft targets"):
        GeneralSettings(objective=Objective(loss="hard_labels"), everywhere=True)
    with pytest.raises(UsageError, match="max_length = 1000, but .* has places for 64 tokens"):
        distilled_encoder(teacher_folder, (0,), texts, GeneralSettings(text=TextSettings(1000)), TRAIN, 0)


def test_held_out_texts_are_scored_after_every_epoch_and_change_nothing(without_head, texts, held_out):
    settings = dataclasses.replace(SETTINGS, objective=Objective(soft=0, hard=1, hidden=1))
    epochs = dataclasses.replace(TRAIN, epochs=2)
    scored, history = distilled_encoder(without_head, (0,), texts, settings, epochs, 0, validation=held_out)
    plain, _ = distilled_encoder(without_head, (0,), texts, settings, epochs, 0)
    for row in history.epochs:
        assert row["masked_cross_entropy"] > 0
        assert 0 <= row["masked_accuracy"] <= 1
    assert history.epochs[0]["hidden_cosine"] < history.epochs[1]["hidden_cosine"] < 1
    for one, other in zip(scored.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
