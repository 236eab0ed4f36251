"""Students from teachers' layers: the same numbers where they should be, nothing shared, and clear refusals."""

import pytest
import torch
import transformers
from small import TEXTS, seeded, tiny_folder

from limbeck import LimbeckError, UsageError
from limbeck.encoders.finding import load_classifier
from limbeck.encoders.layers import chosen_layers, name_classes, student_network
from limbeck.models.dropout import ByteDropout

KINDS = ("bert", "roberta", "distilbert")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: tiny_folder(tmp_path_factory.mktemp("small"), kind) for kind in KINDS}


@pytest.fixture
def teacher(folders):
    return lambda kind="bert": load_classifier(folders[kind], None)[0]


def batch(folder, *, pairs=False):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return tokenizer(list(TEXTS), list(TEXTS) if pairs else None, padding=True, return_tensors="pt")


def untyped(encoded):
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def test_half_of_twelve_layers_are_those_of_distilberts_authors():
    assert chosen_layers(6, 12) == (0, 2, 4, 7, 9, 11)


@pytest.mark.parametrize(
    ("count", "of", "layers"),
    [(3, 6, (0, 2, 5)), (2, 6, (0, 5)), (1, 6, (0,)), (6, 6, (0, 1, 2, 3, 4, 5)), (2, 4, (0, 3)), (1, 1, (0,))],
)
def test_layers_are_spread_from_the_first_to_the_last(count, of, layers):
    assert chosen_layers(count, of) == layers


def test_more_layers_than_the_teacher_has_are_refused():
    with pytest.raises(LimbeckError, match="^found 7 layers to take, expected 1 to 6: the teacher has 6 layers$"):
        chosen_layers(7, 6)
    with pytest.raises(LimbeckError, match="^found 0 layers to take, expected 1 to 6: the teacher has 6 layers$"):
        chosen_layers(0, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_all_layers_answers_as_its_teacher(kind, folders, teacher):
    of, texts = teacher(kind), batch(folders[kind])
    student = student_network(of, range(4))
    assert torch.equal(student(**texts).logits, of(**texts).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_has_the_chosen_layers_and_shares_nothing(kind, folders, teacher):
    of, texts = teacher(kind), batch(folders[kind])
    student = student_network(of, (1, 3))
    assert student.config.num_hidden_layers == 2
    assert of.config.num_hidden_layers == 4
    body, cut = of.base_model, teacher(kind).base_model
    layers = cut.transformer.layer if kind == "distilbert" else cut.encoder.layer
    del layers[2], layers[0]
    expected = cut(**texts).last_hidden_state
    assert torch.equal(student.base_model(**texts).last_hidden_state, expected)
    theirs = {parameter.data_ptr() for parameter in body.parameters()}
    assert not theirs & {parameter.data_ptr() for parameter in student.parameters()}
    assert student.config._attn_implementation == "sdpa"
    assert not student.training


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_student_opens_with_transformers_alone(kind, folders, teacher, tmp_path):
    student, texts = student_network(teacher(kind), (0, 2)), batch(folders[kind])
    student.save_pretrained(tmp_path)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(again(**texts).logits, student(**texts).logits)


def test_a_distilbert_has_its_berts_hidden_states_for_single_texts(folders, teacher):
    of, texts = teacher(), batch(folders["bert"])
    student = student_network(of, range(4), "distilbert")
    assert type(student).__name__ == "DistilBertForSequenceClassification"
    expected = of.base_model(**texts).last_hidden_state
    torch.testing.assert_close(student.base_model(**untyped(texts)).last_hidden_state, expected, atol=1e-5, rtol=1e-5)
    pooled = (expected[:, 0] @ of.bert.pooler.dense.weight.T + of.bert.pooler.dense.bias).relu()
    logits = pooled @ of.classifier.weight.T + of.classifier.bias
    torch.testing.assert_close(student(**untyped(texts)).logits, logits, atol=1e-4, rtol=1e-4)


def test_a_distilbert_takes_chosen_layers_of_a_bert_and_has_fewer_parameters(folders, teacher):
    of, texts = teacher(), batch(folders["bert"])
    student = student_network(of, (0, 3), "distilbert")
    expected = student_network(of, (0, 3)).base_model(**texts).last_hidden_state
    torch.testing.assert_close(student.base_model(**untyped(texts)).last_hidden_state, expected, atol=1e-5, rtol=1e-5)
    assert student.config.n_layers == 2
    assert not any("token_type" in name for name in student.state_dict())


@pytest.mark.parametrize("tied", [True, False])
def test_a_distilbert_masked_language_model_has_its_berts_head(folders, tied):
    config = transformers.BertConfig.from_pretrained(folders["bert"])
    config.tie_word_embeddings = tied
    of = seeded(transformers.BertForMaskedLM(config)).eval()
    texts = batch(folders["bert"])
    student = student_network(of, range(4), "distilbert")
    torch.testing.assert_close(student(**untyped(texts)).logits, of(**texts).logits, atol=1e-4, rtol=1e-4)
    assert (student.vocab_projector.weight is student.distilbert.embeddings.word_embeddings.weight) == tied


@pytest.mark.parametrize("pooler", [True, False])
def test_an_encoder_without_a_head_is_cut_as_well(folders, pooler):
    config = transformers.BertConfig.from_pretrained(folders["bert"])
    of, texts = seeded(transformers.BertModel(config, add_pooling_layer=pooler)).eval(), batch(folders["bert"])
    assert torch.equal(student_network(of, range(4))(**texts).last_hidden_state, of(**texts).last_hidden_state)
    student = student_network(of, (0, 3), "distilbert") if not pooler else student_network(of, (0, 3))
    assert student.config.num_hidden_layers == 2


def test_a_masked_language_model_is_cut_and_stays_tied(folders):
    config = transformers.RobertaConfig.from_pretrained(folders["roberta"])
    of, texts = seeded(transformers.RobertaForMaskedLM(config)).eval(), batch(folders["roberta"])
    student = student_network(of, range(4))
    assert torch.equal(student(**texts).logits, of(**texts).logits)
    assert student.lm_head.decoder.weight is student.roberta.embeddings.word_embeddings.weight


def test_random_weights_come_from_the_seed_alone(teacher):
    of = teacher()
    state = torch.get_rng_state()
    one, same, other = (student_network(of, (0, 1), "same", "random", seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    word = "bert.embeddings.word_embeddings.weight"
    assert all(torch.equal(weight, same.state_dict()[name]) for name, weight in one.state_dict().items())
    assert not torch.equal(one.state_dict()[word], other.state_dict()[word])
    assert one.state_dict()[word].std().item() == pytest.approx(of.config.initializer_range, rel=0.1)
    assert not torch.equal(one.classifier.weight, of.classifier.weight)


@pytest.mark.parametrize(("kind", "architecture"), [*((kind, "same") for kind in KINDS), ("bert", "distilbert")])
def test_dropout_is_set_in_the_config_and_in_every_module(kind, architecture, teacher):
    student = student_network(teacher(kind), (0, 1), architecture, dropout=0.25)
    found = [module.p for module in student.modules() if isinstance(module, ByteDropout)]
    assert len(found) > 3
    assert set(found) == {0.25}
    again = type(student)(student.config)
    assert {module.p for module in again.modules() if isinstance(module, torch.nn.Dropout)} == {0.25}


def test_layers_that_there_are_not_are_refused(teacher):
    with pytest.raises(LimbeckError, match="^found layer 4, expected numbers from 0 to 3: the teacher has 4 layers$"):
        student_network(teacher(), (0, 4))
    with pytest.raises(LimbeckError, match="^found layer -1, expected"):
        student_network(teacher(), (-1,))


@pytest.mark.parametrize("layers", [(), (2, 0), (1, 1)])
def test_layers_out_of_order_are_refused(layers, teacher):
    with pytest.raises(UsageError) as caught:
        student_network(teacher(), layers)
    assert str(caught.value) == f"found layers {list(layers)}, expected at least one, each once and in rising order"


def test_what_no_student_can_be_is_refused(teacher):
    with pytest.raises(UsageError, match='^unknown architecture "tiny", expected "same" or "distilbert"$'):
        student_network(teacher(), (0,), "tiny")
    with pytest.raises(UsageError, match='^unknown initial weights "zero", expected "layers" or "random"$'):
        student_network(teacher(), (0,), initial="zero")
    with pytest.raises(UsageError, match="^found dropout 1.0, expected a probability from 0 to below 1$"):
        student_network(teacher(), (0,), dropout=1.0)
    with pytest.raises(LimbeckError) as caught:
        student_network(teacher("roberta"), (0,), "distilbert")
    assert str(caught.value) == (
        "a DistilBERT cannot be made from a RoBERTa, whose positions count otherwise: take the architecture "
        '"same", which a RoBERTa of fewer layers is'
    )


def test_a_model_of_another_type_is_refused():
    config = transformers.ElectraConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    with pytest.raises(LimbeckError) as caught:
        student_network(transformers.ElectraModel(config), (0,))
    assert str(caught.value) == (
        'ElectraModel: models of type "electra" cannot be read, expected "bert", "roberta" or "distilbert": take an '
        "encoder of one of these types"
    )


def test_class_names_are_in_the_config(teacher):
    config = teacher().config
    name_classes(config, ("bad", "fair", "good"))
    assert config.id2label == {0: "bad", 1: "fair", 2: "good"}
    assert config.label2id == {"bad": 0, "fair": 1, "good": 2}
    assert config.num_labels == 3
