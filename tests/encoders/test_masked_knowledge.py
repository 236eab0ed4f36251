import numpy as np
import pytest
import torch
from small import WORDS, seeded, tiny_folder, tiny_tokenizer

from limbeck.artifacts import ArtifactStore
from limbeck.data import Part, TextForm
from limbeck.data.texts import packed
from limbeck.encoders.finding import load_masked
from limbeck.encoders.general import load_masked_encoder
from limbeck.encoders.masked import LiveMaskedTargets
from limbeck.encoders.masked_batches import MaskedBatches
from limbeck.encoders.masked_knowledge import StoredMaskedTargets, record_masked, recording_of
from limbeck.encoders.masked_text import TextSettings, masked_batches
from limbeck.errors import LimbeckError, UsageError
from limbeck.objectives import soft_target_loss
from limbeck.sparse_objectives import sparse_soft_target_loss


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    network, _ = load_masked(tiny_folder(folder / "of", layers=2))
    seeded(network).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return load_masked_encoder(folder)


def batches_of(teacher, seed=0, views=2):
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, generator.integers(1, 30))) for _ in range(70)]
    part = Part("text", packed(texts), np.full(70, -1), np.arange(70), (), TextForm())
    return masked_batches(part, teacher.tokens, TextSettings(20), 8, seed, views=views)


@pytest.mark.parametrize("answers", ["masked", "all"])
def test_stored_answers_are_those_of_the_live_teacher_in_the_students_order(teacher, tmp_path, answers):
    teacher.answers = answers
    batches = batches_of(teacher)
    classes = teacher.network.config.vocab_size
    views = record_masked(teacher, batches, "a-teacher", ArtifactStore(tmp_path), k=classes, bits=16)
    stored, live = StoredMaskedTargets(views, batches, answers), LiveMaskedTargets(teacher, batches)
    for epoch in range(2):
        for batch in batches.batches(5, epoch):
            found, wanted = stored.batch(batch.rows, batch.view), live.batch(batch.rows, batch.view)
            assert torch.equal(found.labels, wanted.labels)
            dense = torch.zeros_like(wanted.logits).scatter_(1, found.sparse.indices, found.sparse.values)
            torch.testing.assert_close(dense, wanted.logits.log_softmax(1), rtol=0, atol=0.01)
    student = torch.randn(wanted.logits.shape, generator=torch.Generator().manual_seed(0))
    assert float(sparse_soft_target_loss(student, found.sparse, 2.0)) == pytest.approx(
        float(soft_target_loss(student, wanted.logits, 2.0)), rel=0.01
    )
    teacher.answers = "masked"


def test_knowledge_of_other_masks_or_texts_is_refused(teacher, tmp_path):
    batches = batches_of(teacher)
    views = record_masked(teacher, batches, "a-teacher", ArtifactStore(tmp_path), k=8)
    with pytest.raises(LimbeckError, match="was recorded for other texts or masks than view 0"):
        StoredMaskedTargets(views, batches_of(teacher, seed=1))
    with pytest.raises(LimbeckError, match="was recorded for other texts or masks than view 0"):
        StoredMaskedTargets(views[::-1], batches)
    with pytest.raises(LimbeckError, match="knowledge of 1 masks was given for rows with 2 views"):
        StoredMaskedTargets(views[:1], batches)
    stored = StoredMaskedTargets(views, batches)
    with pytest.raises(UsageError, match="seen in one mask"):
        stored.batch(torch.tensor([0, 1]), torch.tensor([0, 1]))


def test_views_that_are_not_numbered_cannot_be_recorded(teacher):
    fresh = MaskedBatches(batches_of(teacher).token_rows, batches_of(teacher).masking, 8)
    with pytest.raises(UsageError, match="view 0 of masked rows"):
        recording_of(fresh, 0, "a-teacher", 100, 8, 8)
