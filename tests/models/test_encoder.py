"""An encoder as a model: answers in the order of the texts whatever their bucket, its states, what it cuts off."""

import copy

import numpy as np
import pytest
import torch

from limbeck.batches import StoredBatches
from limbeck.data import TextForm, load_dataset
from limbeck.data.reading import Reading
from limbeck.data.texts import packed
from limbeck.knowledge import CombinedTargets, LabelTargets, LiveTargets
from limbeck.models.encoder import BUCKET, Encoder, positions_of, truncation
from limbeck.models.encoder_folder import open_encoder
from limbeck.objectives import Objective
from limbeck.train_settings import TrainSettings
from limbeck.training import train
from tiny_texts import learnable_folder, written_texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return learnable_folder(tmp_path_factory.mktemp("encoders") / "bert", layers=2, classifier=2)


@pytest.fixture
def encoder(folder):
    return open_encoder(folder)[0]


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    path = written_texts(tmp_path_factory.mktemp("rows") / "rows.jsonl", 200)
    return load_dataset(str(path), Reading(label="label")).train


def answers(encoder, inputs):
    with torch.inference_mode():
        return encoder(torch.from_numpy(np.ascontiguousarray(inputs)))


def test_an_answer_depends_neither_on_the_bucket_nor_on_the_other_texts(encoder, part):
    texts = part.inputs[: 2 * BUCKET + 7]
    together = answers(encoder, texts).logits
    alone = torch.cat([answers(encoder, one[None]).logits for one in texts])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert together.std() > 0.01  # answers differ, so that a wrong order would be seen


def test_answers_come_in_the_order_of_the_texts(encoder, part):
    texts = part.inputs[: 3 * BUCKET]
    order = np.random.default_rng(0).permutation(len(texts))
    torch.testing.assert_close(
        answers(encoder, texts[order]).logits, answers(encoder, texts).logits[order], rtol=0, atol=1e-5
    )


def test_how_far_rows_are_filled_up_makes_no_difference(encoder, part):
    wider = np.pad(part.inputs[:20], ((0, 0), (0, 50)))
    assert torch.equal(answers(encoder, wider).logits, answers(encoder, part.inputs[:20]).logits)


def test_an_empty_text_is_answered(encoder):
    assert answers(encoder, packed(["", "good"])).logits.isfinite().all()


def test_states_are_shown_when_they_are_asked_for(encoder, part):
    texts = part.inputs[:5]
    plain = answers(encoder, texts)
    assert (plain.hidden, plain.projections, plain.mask) == (None, None, None)
    encoder.show_states()
    shown = answers(encoder, texts)
    tokens = shown.mask.shape[1]
    assert shown.hidden.shape == (5, tokens, 32)
    assert shown.projections.shape == (3, 5, 2, tokens, 16)
    torch.testing.assert_close(shown.logits, plain.logits)
    encoder.show_states(False)
    assert answers(encoder, texts).hidden is None
    assert not encoder.network._forward_hooks


def test_states_are_those_of_the_texts_also_of_many(encoder, part):
    """With states no text is moved into a bucket: the rows are those that were given."""
    texts = torch.from_numpy(part.inputs[: BUCKET + 20])
    encoder.show_states()
    with torch.no_grad():  # as a live teacher is asked
        many, last = encoder(texts), encoder(texts[-1:])
    tokens = int(last.mask.sum())
    torch.testing.assert_close(many.hidden[-1, :tokens], last.hidden[0], rtol=0, atol=1e-5)
    assert len(many.hidden) == len(texts)


def test_answers_alone_are_given_by_length_even_where_states_are_shown(encoder, part):
    texts = part.inputs[: BUCKET + 20]
    plain = answers(encoder, texts)
    encoder.show_states()
    shown = answers(encoder, texts)
    assert shown.hidden is None
    assert torch.equal(shown.logits, plain.logits)


def test_a_copy_shows_its_own_states(encoder, part):
    encoder.show_states()
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        other.network.bert.embeddings.word_embeddings.weight.zero_()
    mine, theirs = (answers(one, part.inputs[:3]).hidden for one in (encoder, other))
    assert not torch.allclose(mine, theirs)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_student_comes_nearer_to_a_live_teacher_s_states(folder, part, precision):
    teacher = open_encoder(folder)[0]
    student = open_encoder(learnable_folder(folder.parent / "other", layers=2, classifier=2, seed=1))[0]
    teacher.show_states()
    student.show_states()
    objective = Objective(loss="soft_targets", soft=0.0, hard=0.1, hidden=1.0, relations=1.0)
    targets = CombinedTargets(LabelTargets(part.labels), LiveTargets(teacher, part.inputs[None]))
    lengths = (part.inputs > 0).sum(1)
    batches = StoredBatches(part.inputs[None], 16, lengths=lengths[None])
    settings = TrainSettings(epochs=3, batch_size=16, learning_rate=3e-3, keep="last")

    def distance():
        student.eval()
        ours, theirs = answers(student, part.inputs[:50]), answers(teacher, part.inputs[:50])
        return float(1 - torch.cosine_similarity(ours.hidden[ours.mask], theirs.hidden[ours.mask]).mean())

    before = distance()
    history = train(student, batches, targets, objective, settings, seed=0, precision=precision)
    losses = [epoch["loss"] for epoch in history.as_json()["epochs"]]
    assert losses[-1] < 0.8 * losses[0]
    assert distance() < 0.8 * before
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}


def test_texts_that_are_cut_are_counted_and_said(encoder, part):
    long = packed(["good " * 100, "bad", "dull film " * 40])
    rows = [("training texts", long), ("validation texts", part.inputs), ("others", long[:0])]
    assert truncation(encoder, rows) == "2 of 3 training texts are longer than 64 tokens: cut there"
    assert truncation(encoder, rows[1:]) is None
    assert answers(encoder, long).logits.shape == (3, 2)


def test_both_texts_of_a_pair_are_read(encoder):
    pairs = Encoder(encoder.network, encoder.tokens, 2, TextForm(("one", "two"))).eval()
    said = answers(pairs, packed(["good film", "good film"], ["bad film", "good film"])).logits
    assert not torch.allclose(said[0], said[1])


def test_roberta_s_positions_begin_behind_its_padding(tmp_path):
    import transformers

    config = transformers.RobertaConfig(max_position_embeddings=66, pad_token_id=1)
    assert positions_of(config) == 64
    for kin in (transformers.CamembertConfig, transformers.XLMRobertaConfig, transformers.MPNetConfig):
        assert positions_of(kin(max_position_embeddings=66, pad_token_id=1)) == 64
    assert positions_of(transformers.BertConfig(max_position_embeddings=66)) == 66
