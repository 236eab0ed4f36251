"""From a name to a checked folder and its classifier, with one line for everything that is not as it should be."""

import json
import shutil
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from small import TEXTS, seeded, tiny_folder, tiny_tokenizer

from limbeck import LimbeckError, UsageError
from limbeck.encoders.finding import encoder_digest, found_encoder, load_classifier, load_masked, read_config
from limbeck.encoders.labels import class_order, labels_of
from limbeck.models.encoder_folder import open_encoder

KINDS = ("bert", "roberta", "distilbert")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {kind: tiny_folder(tmp_path_factory.mktemp("small"), kind, layers=2) for kind in KINDS}


@pytest.fixture
def folder(made, tmp_path):
    """A BERT's folder that a test may change."""
    return Path(shutil.copytree(made["bert"], tmp_path / "teacher"))


def configure(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def name_labels(folder, *labels):
    configure(folder, id2label=dict(enumerate(labels)), label2id={label: n for n, label in enumerate(labels)})


def refused(call, *arguments):
    with pytest.raises(LimbeckError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def logits(network, folder):
    texts = transformers.AutoTokenizer.from_pretrained(folder)(list(TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        return network(**texts).logits


def test_a_folder_is_found_beside_the_recipe_then_where_one_works(folder, tmp_path, monkeypatch):
    assert found_encoder("teacher", tmp_path) == folder
    monkeypatch.chdir(tmp_path)
    assert found_encoder("teacher", tmp_path / "elsewhere").resolve() == folder
    assert found_encoder(str(folder), None) == folder


def test_a_path_that_is_not_there_is_refused():
    with pytest.raises(UsageError) as caught:
        found_encoder("./models/none", None)
    assert str(caught.value) == (
        'encoder "./models/none" does not exist, expected a folder, "minilm" or a name on the Hugging Face hub: check the path'
    )


def test_a_file_is_no_folder(folder):
    with pytest.raises(UsageError, match='model.safetensors" is a file, expected the folder of a Hugging Face model: '):
        found_encoder(str(folder / "model.safetensors"), None)


def test_a_folder_without_a_config_is_no_model(tmp_path):
    assert refused(found_encoder, str(tmp_path), None) == (
        f"{tmp_path} is no Hugging Face model: it has no config.json, expected the folder that save_pretrained wrote"
    )


def test_a_config_that_is_not_json_is_refused(folder):
    (folder / "config.json").write_text("{")
    said = refused(found_encoder, str(folder), None)
    assert said.startswith(f"{folder / 'config.json'} cannot be read (Expecting property name")
    assert said.endswith("): get the model again")


@pytest.mark.parametrize("content", ["[1]", "{}"])
def test_a_config_of_something_else_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    assert refused(found_encoder, str(folder), None) == (
        f"{folder / 'config.json'} names no model_type: it is no Hugging Face model's, get the model again"
    )


def test_a_model_that_wants_its_own_code_is_refused_and_nothing_runs(folder, tmp_path):
    configure(folder, auto_map={"AutoModelForSequenceClassification": "modeling.Own"})
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    expected = (
        f"{folder / 'config.json'} wants code of the model's own to be run (auto_map): that is never done, take a "
        "model that transformers itself knows"
    )
    assert refused(found_encoder, str(folder), None) == refused(load_classifier, folder, None) == expected
    assert not (tmp_path / "ran").exists()


def test_a_model_of_another_type_is_refused(folder):
    configure(folder, model_type="gpt2")
    assert refused(found_encoder, str(folder), None) == (
        f'{folder / "config.json"}: models of type "gpt2" cannot be read, expected "bert", "roberta" or "distilbert": '
        "take an encoder of one of these types"
    )


def test_relative_positions_are_refused(folder):
    configure(folder, position_embedding_type="relative_key")
    assert refused(found_encoder, str(folder), None) == (
        f'{folder / "config.json"}: positions of type "relative_key" cannot be read, expected "absolute"'
    )


def test_a_setting_of_the_wrong_type_is_refused(folder):
    configure(folder, num_hidden_layers="two")
    assert refused(read_config, folder).startswith(f"{folder / 'config.json'} cannot be read (")


def test_a_pickle_is_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert refused(found_encoder, str(folder), None) == (
        f"{folder} has its weights as a pickle (pytorch_model.bin), and only safetensors are read: where you trust it, "
        "open it with transformers and write it again with save_pretrained(folder)"
    )


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    expected = f"{folder} has no weights: expected model.safetensors, as save_pretrained writes it"
    assert refused(found_encoder, str(folder), None) == refused(load_classifier, folder, None) == expected


def test_damaged_weights_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"none")
    assert refused(load_classifier, folder, None).startswith(f"{folder} cannot be read (")


def test_a_folder_in_shards_is_read_and_a_missing_one_named(made, folder):
    whole = load_classifier(made["bert"], None)[0]
    (folder / "model.safetensors").unlink()
    whole.save_pretrained(folder, max_shard_size="20KB")
    found_encoder(str(folder), None)
    assert torch.equal(logits(load_classifier(folder, None)[0], folder), logits(whole, folder))
    shards = sorted(folder.glob("model-*.safetensors"))
    before = encoder_digest(folder)
    content = shards[1].read_bytes()
    shards[1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert encoder_digest(folder) != before
    shards[1].unlink()
    assert refused(found_encoder, str(folder), None) == (
        f"{folder} lacks {shards[1].name}, which model.safetensors.index.json names: get the model again"
    )


def test_without_transformers_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert refused(read_config, folder) == (
        'reading a Hugging Face model needs transformers: pip install "limbeck[transformers]"'
    )


def cached(folder, cache):
    """The model as the hub's own cache has it, without a network."""
    repository = cache / "models--org--tiny"
    shutil.copytree(folder, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)


def test_a_hub_name_is_found_in_the_hubs_cache_without_a_network(folder, tmp_path, monkeypatch):
    cached(folder, tmp_path / "cache")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = []
    found = found_encoder("org/tiny", None, said.append)
    assert encoder_digest(found) == encoder_digest(folder)
    assert said == ["looking for org/tiny on the Hugging Face hub"]


def test_a_hub_name_offline_says_how_to_use_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused(found_encoder, "org/tiny", None) == (
        'encoder "org/tiny" is no folder here, and HF_HUB_OFFLINE keeps it from being fetched from the hub: unset '
        "that, or get it where there is one, and give its folder as a path"
    )


class Answer:
    headers: dict[str, str] = {}
    request = None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            huggingface_hub.errors.LocalEntryNotFoundError("Got: ConnectError"),
            "without a network it cannot be fetched from the hub: get it where there is one, and give its folder as a path",
        ),
        (
            huggingface_hub.errors.RepositoryNotFoundError("404", response=Answer()),
            "the hub has no such model: check the name or the path",
        ),
        (
            huggingface_hub.errors.GatedRepoError("403", response=Answer()),
            "on the hub it is for those who were let in: ask for that on its page and log in (`hf auth login`), or give a local folder",
        ),
        (
            OSError("No space\nleft"),
            "it cannot be fetched from the hub (No space left): try again, or get it where there is one, and give its folder as a path",
        ),
    ],
)
def test_what_goes_wrong_with_the_hub_is_one_line(error, line, monkeypatch):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert refused(found_encoder, "org/tiny", None) == f'encoder "org/tiny" is no folder here, and {line}'


def test_weights_are_not_fetched_for_a_model_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    asked = []

    def give(name, allow_patterns):
        asked.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    assert "llama" in refused(found_encoder, "org/tiny", None)
    assert asked == [["config.json"]]


def test_no_pickle_and_no_code_is_fetched(folder, monkeypatch):
    asked = []

    def give(name, allow_patterns):
        asked.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    found_encoder("org/tiny", None)
    assert all(pattern.endswith((".json", ".txt", ".model", ".safetensors")) for pattern in asked[-1])


def test_the_digest_is_of_what_decides_the_model(folder):
    before = encoder_digest(folder)
    configure(folder, transformers_version="9.9", _name_or_path="/elsewhere")
    (folder / "README.md").write_text("A model.")
    assert encoder_digest(folder) == before
    configure(folder, layer_norm_eps=1e-5)
    assert encoder_digest(folder) != before


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_the_digest_sees_weights_and_tokenizer(folder, name):
    before = encoder_digest(folder)
    path = folder / name
    if name.endswith(".json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "new": 1}))
    else:
        weights = load_file(path)
        weights["classifier.bias"] = weights["classifier.bias"] + 1
        save_file(weights, path, metadata={"format": "pt"})
    assert encoder_digest(folder) != before


@pytest.mark.parametrize("kind", KINDS)
def test_a_fine_tuned_folder_answers_as_transformers_has_it_and_prints_nothing(kind, made, capfd):
    network, fresh = load_classifier(made[kind], ("no", "yes"), 0)
    assert capfd.readouterr() == ("", "")
    assert not fresh
    assert not network.training
    assert network.config._attn_implementation == "sdpa"
    assert network.config.id2label == {0: "no", 1: "yes"}
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(made[kind])
    assert torch.equal(logits(network, made[kind]), logits(plain, made[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_another_number_of_classes_gets_a_new_head_from_the_seed(kind, made):
    classes = ("a", "b", "c")
    state = torch.get_rng_state()
    heads = []
    for seed in (1, 1, 2):
        network, fresh = load_classifier(made[kind], classes, seed)
        assert fresh
        heads.append(network.classifier.out_proj.weight if kind == "roberta" else network.classifier.weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert heads[0].shape == (3, 32)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert heads[0].std().item() == pytest.approx(0.02, rel=0.3)


def test_a_folder_without_a_head_gets_one(made, folder):
    load_classifier(made["bert"], None)[0].base_model.save_pretrained(folder)
    network, fresh = load_classifier(folder, ("a", "b"), 0)
    assert fresh
    assert network.classifier.weight.std().item() == pytest.approx(0.02, rel=0.4)
    assert not network.classifier.bias.any()
    original = load_classifier(made["bert"], None)[0]
    assert torch.equal(network.bert.pooler.dense.weight, original.bert.pooler.dense.weight)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_come_in_the_order_of_the_datas_classes(kind, made, tmp_path):
    folder = Path(shutil.copytree(made[kind], tmp_path / kind))
    name_labels(folder, "pos", "neg")
    network, fresh = load_classifier(folder, ("neg", "pos"))
    assert not fresh
    assert network.config.id2label == {0: "neg", 1: "pos"}
    torch.testing.assert_close(logits(network, folder), logits(load_classifier(folder, None)[0], folder)[:, [1, 0]])
    assert class_order(read_config(folder), ("neg", "pos"), "teacher") == (1, 0)


def test_a_head_of_other_classes_is_not_kept(folder):
    name_labels(folder, "spam", "ham")
    assert load_classifier(folder, ("neg", "pos"), 0)[1]


def test_labels_unknown_to_the_teacher_are_refused(folder):
    name_labels(folder, "spam", "ham")
    assert labels_of(read_config(folder)) == ("spam", "ham")
    assert refused(class_order, read_config(folder), ("neg", "pos"), "teacher t") == (
        'teacher t: its classes are "spam", "ham", and the data\'s are "neg", "pos": name the data\'s labels as the '
        "teacher does, or fine-tune it on them"
    )


def test_classes_without_names_are_taken_as_they_come(folder):
    config = read_config(folder)
    assert labels_of(config) is None
    assert class_order(config, ("neg", "pos"), "teacher t") == (0, 1)
    assert refused(class_order, config, ("a", "b", "c"), "teacher t") == (
        'teacher t: it tells 2 classes apart, and the data have 3 ("a", "b", "c"): take a teacher of these classes, or '
        "fine-tune it on them"
    )


def test_classes_that_have_one_name_are_refused(folder):
    config = read_config(folder)
    config.id2label = {0: "pos", 1: "pos"}
    assert refused(class_order, config, ("neg", "pos"), "teacher t") == (
        'teacher t: its config.json calls several classes "pos", and nobody can tell which is which: mend id2label and '
        "label2id there"
    )


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_a_teacher_whose_answers_are_no_choice_of_one_class_is_refused(folder, problem):
    configure(folder, problem_type=problem)
    for classes in (None, ("neg", "pos")):
        assert refused(open_encoder, folder, classes) == (
            f'{folder}: its config.json says problem_type = "{problem}", and here a text has one class: take a teacher '
            "of that sort, or fine-tune it"
        )
    network, _ = load_classifier(folder, ("neg", "pos"))  # as a beginning it will do
    assert network.config.problem_type == "single_label_classification"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"vocab_size": 300}, "bert.embeddings.word_embeddings.weight has the shape (201, 32), expected (300, 32)"),
        ({"num_hidden_layers": 3}, "bert.encoder.layer.2.attention.output.LayerNorm.bias is missing and 15 more"),
        ({"num_hidden_layers": 1}, "bert.encoder.layer.1.attention.output.LayerNorm.bias is not expected and 15 more"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_refused(folder, settings, problem):
    configure(folder, **settings)
    assert refused(load_classifier, folder, None) == (
        f"{folder}: its weights do not fit its config.json ({problem}): take both from the same model"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_language_model_keeps_its_head_or_gets_one(kind, made, tmp_path):
    network, fresh = load_masked(made[kind], 0)
    assert fresh
    seeded(network, 5).save_pretrained(tmp_path)
    again, fresh = load_masked(tmp_path)
    assert not fresh
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in network.state_dict().items())


def test_a_classifier_of_another_type_is_read_where_it_is_only_asked(tmp_path):
    from transformers import ElectraConfig, ElectraForSequenceClassification

    tokenizer = tiny_tokenizer()
    config = ElectraConfig(
        vocab_size=len(tokenizer), embedding_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=2, id2label={0: "good", 1: "bad"}, label2id={"good": 0, "bad": 1},
    )  # fmt: skip
    folder = tmp_path / "electra"
    ElectraForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    network, fresh = load_classifier(folder, ("good", "bad"), any_type=True)
    assert type(network) is ElectraForSequenceClassification
    assert not fresh
    with pytest.raises(LimbeckError, match="whose classes are not the data's in their order: models of type"):
        load_classifier(folder, ("bad", "good"), any_type=True)
    with pytest.raises(LimbeckError, match='models of type "electra" cannot be read'):
        load_classifier(folder, ("good", "bad"))
