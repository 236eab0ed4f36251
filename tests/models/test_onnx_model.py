"""ONNX files as models. Graphs are written by hand where their form is the point, exported by torch where not."""

import copy
import logging
import sys
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from limbeck.data import Column, ImageForm, TableForm
from limbeck.errors import LimbeckError
from limbeck.files import canonical_json, sha256_hex
from limbeck.models import logits_of
from limbeck.models.onnx_file import file_digest
from limbeck.models.onnx_inputs import UNKNOWN_TEXT
from limbeck.models.onnx_model import OnnxModel
from limbeck.teachers import FLOOR, as_teacher, log_probabilities

NAMES = ("ant", "bee", "cow")
ROWS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
EXPECTED = torch.from_numpy(ROWS.numpy() @ WEIGHT)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture
def written(tmp_path):
    """A function: a graph of these nodes as a file, its path."""

    def write(nodes, inputs, outputs, constants=None, *, about=None, opset=18, domains=()):
        tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
        graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3), *domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        if about is not None:
            helper.set_model_props(
                model, {"limbeck": about if isinstance(about, str) else canonical_json(about).decode()}
            )
        path = tmp_path / "teacher.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def linear(written):
    """A function: x @ WEIGHT, with a softmax where asked, as a file."""

    def write(*, inputs=None, name="scores", softmax=False, output=None, weight=WEIGHT, **more):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["product" if softmax else name])]
        if softmax:
            nodes.append(helper.make_node("Softmax", ["product"], [name], axis=-1))
        return written(
            nodes,
            [inputs or value("x", ["batch", 4])],
            [output or value(name, ["batch", weight.shape[1]])],
            {"w": weight},
            **more,
        )

    return write


def exported(module, inputs, path):
    """A file as torch writes it, its batch free."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                (inputs,),
                path,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    finally:
        logging.disable(logging.NOTSET)
    return path


@pytest.fixture(scope="module")
def conv(tmp_path_factory):
    """A small convolutional net in colour, and its file."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return net, exported(net, torch.zeros(2, 3, 6, 5), tmp_path_factory.mktemp("conv") / "conv.onnx")


def refused(path, *arguments, rows=None):
    """The message, without the file's folder, with which a file or rows are refused."""
    with pytest.raises(LimbeckError) as raised:
        model = OnnxModel.open(path, *arguments)
        if rows is not None:
            model(rows)
    message = str(raised.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


def close(outputs, expected):
    assert outputs.logits.dtype == torch.float32
    torch.testing.assert_close(outputs.logits, expected, rtol=1e-4, atol=1e-5)


def test_a_net_that_torch_exports_answers_as_the_net(conv):
    net, path = conv
    pixels = torch.randint(0, 256, (9, 6, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    model = OnnxModel.open(path, NAMES, ImageForm("colour", 6, 5))
    with torch.inference_mode():
        close(model(pixels), net(pixels.permute(0, 3, 1, 2).float()))
    assert (model.kind, model.classes, model.class_names, model.gives, model.hard) == (
        "onnx",
        3,
        NAMES,
        "logits",
        False,
    )
    assert (model.input_shape, model.settings, model.multiply_adds) == ((6, 5, 3), {}, None)
    assert model.parameter_count == sum(p.numel() for p in net.parameters()) == 127


def test_weights_beside_the_file_are_part_of_its_digest(conv, linear, tmp_path):
    _, path = conv
    copied = tmp_path / path.name
    for file in path.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert (tmp_path / "conv.onnx.data").exists()
    assert file_digest(copied) == file_digest(path) != sha256_hex(path.read_bytes())
    weights = bytearray((tmp_path / "conv.onnx.data").read_bytes())
    weights[0] ^= 1
    (tmp_path / "conv.onnx.data").write_bytes(weights)
    assert file_digest(copied) != file_digest(path)
    (tmp_path / "conv.onnx.data").unlink()
    with pytest.raises(
        LimbeckError, match=r'conv.onnx keeps weights in "conv.onnx.data": expected that file beside it'
    ):
        file_digest(copied)
    assert refused(copied).startswith("conv.onnx keeps weights in a file that is not beside it (External data path ")


def test_the_digest_of_a_file_with_its_weights_is_its_sha256(linear):
    path = linear()
    assert file_digest(path) == sha256_hex(path.read_bytes())


def test_logits_stay_as_they_are(linear):
    model = OnnxModel.open(linear())
    close(model(ROWS), EXPECTED)
    assert (model.gives, model.classes, model.class_names, model.input_shape) == ("logits", 3, None, (4,))
    assert model.parameter_count == 12


def test_probabilities_become_their_logarithms(linear):
    model = OnnxModel.open(linear(softmax=True))
    close(model(ROWS), EXPECTED.log_softmax(dim=1))
    assert model.gives == "probabilities"


def test_a_probability_of_zero_is_the_floor(linear):
    found = OnnxModel.open(linear(softmax=True, weight=WEIGHT * 1000))(ROWS).logits
    assert found.min().item() == pytest.approx(np.log(FLOOR))


def test_what_it_gives_is_found_once_and_stays(linear):
    model = OnnxModel.open(linear(weight=np.eye(4, 3, dtype=np.float32)))
    model(ROWS)
    distribution = torch.tensor([[0.25, 0.25, 0.5, 0]])
    assert torch.equal(model(distribution).logits, distribution[:, :3])


def test_probabilities_that_are_none_later_are_refused(linear):
    model = OnnxModel.open(linear(weight=np.eye(4, 3, dtype=np.float32)))
    model(torch.tensor([[0.25, 0.25, 0.5, 0]]))
    with pytest.raises(
        LimbeckError, match="gave probabilities before, and now numbers that sum to 3 with -1 the least"
    ):
        model(torch.tensor([[2.0, 2, -1, 0]]))


def test_numbers_that_are_nearly_probabilities_are_refused(linear):
    path = linear(weight=np.eye(4, 3, dtype=np.float32))
    assert refused(path, NAMES, rows=torch.tensor([[0.25, 0.25, 0.48, 0]])) == (
        "teacher.onnx gives numbers that sum to 0.98: expected probabilities, which sum to 1, or logits, which do not come "
        "near it; end the model in a softmax, or leave it out"
    )


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (TensorProto.DOUBLE, ROWS),
        (TensorProto.UINT8, ROWS.abs().round()),
        (TensorProto.INT64, ROWS.round()),
        (TensorProto.FLOAT, (ROWS.abs() * 9).to(torch.uint8)),
    ],
)
def test_rows_are_cast_to_what_the_model_takes(written, kind, rows):
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    path = written(nodes, [value("x", ["n", 4], kind)], [value("y", ["n", 3])], {"w": WEIGHT})
    close(OnnxModel.open(path)(rows), rows.float() @ torch.from_numpy(WEIGHT))


def test_numbers_that_the_type_does_not_hold_are_refused(linear):
    path = linear(
        inputs=value("x", ["batch", 4], TensorProto.INT64),
        weight=np.ones((4, 3), np.int64),
        output=value("scores", ["batch", 3], TensorProto.INT64),
    )
    assert "expected one number for each of the 3 classes" in refused(path, NAMES)
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    model = onnx.load(path)
    del model.graph.node[:], model.graph.output[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.output.append(value("y", ["batch", 4]))
    onnx.save(model, path)
    assert refused(path, rows=torch.full((1, 4), 1.5)) == (
        'teacher.onnx takes int64 for "x", but the inputs hold 1.5: expected whole numbers from -9223372036854775808 to '
        "9223372036854775807"
    )


@pytest.fixture
def flattening(written):
    """A function: a model that flattens inputs of a declared shape and gives their first three numbers."""

    def write(shape):
        nodes = [
            helper.make_node("Flatten", ["x"], ["f"], axis=1),
            helper.make_node("Slice", ["f", "a", "b", "c"], ["y"]),
        ]
        constants = {name: np.array([number], np.int64) for name, number in (("a", 0), ("b", 3), ("c", 1))}
        return written(nodes, [value("x", shape)], [value("y", [shape[0], 3])], constants)

    return write


@pytest.mark.parametrize(
    ("declared", "rows", "first"),
    [
        (["n", 12], (4, 3), [0, 1, 2]),
        (["n", None], (4, 3), [0, 1, 2]),
        (["n", 1, 4, 3], (4, 3), [0, 1, 2]),
        (["n", 1, "h", "w"], (4, 3), [0, 1, 2]),
        (["n", 4, 3, 1], (4, 3), [0, 1, 2]),
        (["n", 3, 2, 2], (2, 2, 3), [0, 3, 6]),
        (["n", 3, "h", "w"], (2, 2, 3), [0, 3, 6]),
        (["n", 2, 2, 3], (2, 2, 3), [0, 1, 2]),
        (["n", "h", "w", 3], (2, 2, 3), [0, 1, 2]),
        (["n", 1, 4, 3], (4, 3, 1), [0, 1, 2]),
        (["n", "h", "w"], (4, 3), [0, 1, 2]),
    ],
)
def test_rows_are_brought_to_the_declared_shape(flattening, declared, rows, first):
    model = OnnxModel.open(flattening(declared))
    numbers = torch.arange(24.0).reshape(2, *rows)
    model.check_takes(rows)
    assert model(numbers).logits[0].tolist() == first


@pytest.mark.parametrize(
    ("declared", "rows", "message"),
    [
        (["n", 3, 4, 4], (4, 4), "(batch, 3, 4, 4), but the inputs have the shape (batch, 4, 4), which do not fit"),
        (["n", 13], (4, 3), "(batch, 13), but the inputs have the shape (batch, 4, 3), which do not fit"),
        ([2, 4], (5,), "(2, 4), but the inputs have the shape (batch, 5), which do not fit"),
        (
            ["n", "c", "h", "w"],
            (2, 2, 3),
            "(batch, ?, ?, ?), but the inputs have the shape (batch, 2, 2, 3), which may mean as they are or channels first",
        ),
    ],
)
def test_rows_of_a_shape_that_does_not_fit_are_refused(flattening, declared, rows, message):
    path = flattening(declared)
    whole = f'teacher.onnx takes "x" of shape {message}: export it for such inputs, with all sizes but the batch fixed'
    assert refused(path, rows=torch.zeros(2, *rows)) == whole
    with pytest.raises(LimbeckError):
        OnnxModel.open(path).check_takes(rows)


def test_images_of_a_size_that_does_not_fit_are_refused_when_the_file_is_opened(conv):
    _, path = conv
    assert OnnxModel.open(path).input_shape == (3, 6, 5)
    assert refused(path, NAMES, ImageForm("grey", 6, 5)).startswith(
        'conv.onnx takes "input" of shape (batch, 3, 6, 5), but the inputs have the shape (batch, 6, 5), which do not fit: '
    )


def test_free_sizes_leave_the_shape_of_inputs_open(flattening):
    assert OnnxModel.open(flattening(["n", 1, "h", "w"])).input_shape is None


@pytest.mark.parametrize("size", [1, 3, 10])
def test_a_batch_of_fixed_size_is_filled_up(linear, size):
    model = OnnxModel.open(linear(inputs=value("x", [size, 4]), output=value("scores", [size, 3])))
    close(model(ROWS), EXPECTED)


def test_no_rows_have_no_answers(linear):
    assert OnnxModel.open(linear())(ROWS[:0]).logits.shape == (0, 3)


def test_a_copy_answers_alike_with_a_session_of_its_own(linear):
    model = OnnxModel.open(linear(softmax=True))
    model(ROWS)
    copied = copy.deepcopy(model)
    assert copied._session is None
    assert torch.equal(copied(ROWS).logits, model(ROWS).logits)
    assert copied._session is not model._session is not None


def test_it_teaches_like_any_module(linear):
    found = log_probabilities(as_teacher(OnnxModel.open(linear(softmax=True))), ROWS.numpy())
    np.testing.assert_allclose(found, EXPECTED.log_softmax(dim=1).numpy(), rtol=1e-4, atol=1e-5)


TABLE = TableForm((Column("size"), Column("cut", ("fair", "good"), missing=True), Column("depth")))
CELLS = torch.tensor([[0.5, 0, 1], [2, 1, -1], [1, -1, 0], [1, float("nan"), 3]])


@pytest.fixture
def per_column(written):
    """A function: (size, whether cut is the text, depth) as logits, an input for each column."""

    def write(text="good", inputs=None, **more):
        nodes = [
            helper.make_node(
                "LabelEncoder",
                ["cut"],
                ["same"],
                domain="ai.onnx.ml",
                keys_strings=[text],
                values_floats=[1.0],
                default_float=0.0,
            ),
            helper.make_node("Concat", ["size", "same", "depth"], ["y"], axis=1),
        ]
        inputs = inputs or [
            value("depth", ["n", 1]),
            value("size", ["n", 1]),
            value("cut", ["n", 1], TensorProto.STRING),
        ]
        return written(nodes, inputs, [value("y", ["n", 3])], **more)

    return write


@pytest.mark.parametrize(
    ("text", "rows"), [("fair", [1, 0, 0, 0]), ("good", [0, 1, 0, 0]), (UNKNOWN_TEXT, [0, 0, 1, 0]), ("", [0, 0, 0, 1])]
)
def test_a_table_s_columns_are_given_by_name_and_categories_as_texts(per_column, text, rows):
    model = OnnxModel.open(per_column(text), NAMES, TABLE)
    assert model.input_shape == (3,)
    close(model(CELLS), torch.stack([CELLS[:, 0], torch.tensor(rows).float(), CELLS[:, 2]], dim=1))


def test_a_column_that_the_model_does_not_take_is_left_out(per_column):
    wider = TableForm((Column("colour"), *TABLE.columns))
    cells = torch.cat([torch.full((4, 1), 9.0), CELLS], dim=1)
    assert torch.equal(
        OnnxModel.open(per_column(), NAMES, wider)(cells).logits,
        OnnxModel.open(per_column(), NAMES, TABLE)(CELLS).logits,
    )


def test_inputs_that_are_no_columns_are_refused(per_column):
    table = TableForm((Column("sizes"), *TABLE.columns[1:]))
    assert refused(per_column(), NAMES, table) == (
        'teacher.onnx has an input "size", but the table has no such column, did you mean "sizes"?'
    )
    assert refused(per_column(), NAMES) == (
        'teacher.onnx has 3 inputs ("depth" (batch, 1), "size" (batch, 1), "cut" (batch, 1)): expected one, or one for each '
        "column of a table"
    )


def test_a_column_of_the_other_kind_is_refused(per_column):
    table = TableForm((Column("size"), Column("cut"), Column("depth")))
    assert refused(per_column(), NAMES, table) == (
        'teacher.onnx takes tensor(string) for the column "cut", which holds numbers: expected numbers for numbers, and '
        "strings for categories"
    )


def test_rows_of_another_table_are_refused(per_column):
    assert refused(per_column(), NAMES, TABLE, rows=CELLS[:, :2]) == (
        "teacher.onnx takes the columns of a table (3 in all), but the inputs have the shape (2,): give it rows of such a "
        "table"
    )


ABOUT = {"classes": list(NAMES), "form": None, "input_shape": [2, 2], "output": "probabilities"}


def test_a_file_of_limbeck_says_what_it_is(linear):
    model = OnnxModel.open(linear(softmax=True, name="probabilities", about=ABOUT))
    assert (model.class_names, model.input_shape, model.gives) == (NAMES, (2, 2), "probabilities")
    close(model(ROWS.reshape(7, 2, 2)), EXPECTED.log_softmax(dim=1))


def test_probabilities_of_a_file_of_limbeck_may_be_rounded(linear):
    path = linear(name="probabilities", weight=np.eye(4, 3, dtype=np.float32), about={**ABOUT, "input_shape": [4]})
    found = OnnxModel.open(path)(torch.tensor([[0.25, 0.25, 0.48, 0]])).logits
    assert found.exp()[0].tolist() == pytest.approx([0.25, 0.25, 0.48])


def test_a_file_of_limbeck_says_what_its_columns_are(per_column):
    model = OnnxModel.open(per_column(about={**ABOUT, "input_shape": [3], "form": TABLE.as_json(), "output": "y"}))
    assert model.form == TABLE
    cells = torch.tensor([[0.0, 1, 0]])
    torch.testing.assert_close(model(cells).logits.exp(), torch.tensor([[FLOOR, 1, FLOOR]]))


def test_codes_are_read_by_the_data_s_own_categories(per_column):
    turned = TableForm((TABLE.columns[0], Column("cut", ("good", "fair")), TABLE.columns[2]))
    path = per_column("good", about={"form": TABLE.as_json()})
    assert OnnxModel.open(path, NAMES, turned)(CELLS).logits[:2, 1].tolist() == [1, 0]


def test_codes_that_mean_something_else_are_refused(linear):
    forms = [TableForm((Column("cut", names), *map(Column, "abc"))) for names in (("fair", "good"), ("good", "fair"))]
    path = linear(about={"form": forms[0].as_json()})
    close(OnnxModel.open(path, NAMES, forms[0])(ROWS), EXPECTED)
    assert refused(path, NAMES, forms[1]) == (
        'teacher.onnx was made for the columns cut, a, b, c, but the data have cut, a, b, c, and "cut" is the first that '
        "differs: give it data with the same columns and categories"
    )


def test_classes_that_are_not_the_data_s_are_refused(linear):
    assert refused(linear(about=ABOUT), ("bee", "ant", "cow")) == (
        'teacher.onnx has the classes "ant", "bee", "cow", but the data have "bee", "ant", "cow": a teacher whose classes or '
        "order differ from the data's"
    )


@pytest.mark.parametrize("about", ["{", "[1]", '{"classes": "abc"}', '{"input_shape": ["x"]}'])
def test_metadata_that_cannot_be_read_are_refused(linear, about):
    assert refused(linear(about=about)).startswith('teacher.onnx: its metadata "limbeck" cannot be read (')


def test_a_form_that_cannot_be_read_is_refused(linear):
    assert refused(linear(about={"form": {"columns": [{}]}})) == (
        "teacher.onnx: the form of the inputs cannot be read ('categories'): export it anew"
    )


def test_of_several_outputs_the_probabilities_are_asked(written):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Softmax", ["a"], ["probabilities"], axis=-1),
        helper.make_node("MatMul", ["x", "v"], ["hidden"]),
    ]
    outputs = [value("hidden", ["n", 8]), value("a", ["n", 3]), value("probabilities", ["n", 3])]
    path = written(nodes, [value("x", ["n", 4])], outputs, {"w": WEIGHT, "v": np.ones((4, 8), np.float32)})
    close(OnnxModel.open(path, NAMES)(ROWS), EXPECTED.log_softmax(dim=1))
    assert OnnxModel.open(path).classes == 3


def test_several_outputs_that_may_be_classes_are_refused(written):
    nodes = [helper.make_node("MatMul", ["x", "w"], [name]) for name in ("a", "b")]
    path = written(nodes, [value("x", ["n", 4])], [value("a", ["n", 3]), value("b", ["n", 3])], {"w": WEIGHT})
    assert refused(path, NAMES) == (
        'teacher.onnx gives "a" of shape (batch, 3), "b" of shape (batch, 3), each of which may be the classes: name one of '
        'them "probabilities" or "logits", or export it alone'
    )


@pytest.mark.parametrize(
    ("shape", "shown"),
    [(["n", 1], "(batch, 1)"), (["n"], "(batch)"), (["n", 4], "(batch, 4)"), (["n", 3, 8, 8], "(batch, 3, 8, 8)")],
)
def test_outputs_that_are_not_classes_are_refused(written, shape, shown):
    path = written([helper.make_node("Identity", ["x"], ["y"])], [value("x", shape)], [value("y", shape)])
    assert refused(path, NAMES) == (
        f'teacher.onnx gives "y" of shape {shown}: expected one number for each of the 3 classes, shape (batch, 3)'
    )


def test_outputs_whose_width_shows_late_are_refused(written):
    path = written([helper.make_node("Identity", ["x"], ["y"])], [value("x", ["n", "k"])], [value("y", ["n", "k"])])
    assert refused(path, NAMES, rows=ROWS) == (
        'teacher.onnx gives "y" of shape (batch, 4): expected one number for each of the 3 classes, shape (batch, 3)'
    )
    assert refused(path) == "teacher.onnx does not say how many classes it has: give their names"


def labelled(written, names, *, probabilities=False, zipmap=False):
    """A linear model that names the class of each row as scikit-learn's do."""
    names = np.array(names, dtype=object if isinstance(names[0], str) else np.int64)
    kind = TensorProto.STRING if names.dtype == object else TensorProto.INT64
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("ArgMax", ["s"], ["at"], axis=1, keepdims=0),
        helper.make_node("Gather", ["names", "at"], ["output_label"]),
    ]
    outputs = [value("output_label", ["n"], kind)]
    if zipmap:
        key = (
            {"classlabels_strings": list(names)} if kind == TensorProto.STRING else {"classlabels_int64s": list(names)}
        )
        nodes.append(helper.make_node("ZipMap", ["p"], ["output_probability"], domain="ai.onnx.ml", **key))
        of_map = helper.make_map_type_proto(kind, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        outputs.append(helper.make_value_info("output_probability", helper.make_sequence_type_proto(of_map)))
    if probabilities:
        outputs.append(value("p", ["n", 3]))
    return written(nodes, [value("x", ["n", 4])], outputs, {"w": WEIGHT, "names": names})


@pytest.mark.parametrize(
    ("names", "classes"),
    [(NAMES, NAMES), ([0, 1, 2], NAMES), ([0, 1, 2], ("0", "1", "2")), ([1, 2, 3], ("1", "2", "3"))],
)
def test_a_label_alone_is_a_hard_teacher(written, names, classes):
    model = OnnxModel.open(labelled(written, names), classes)
    assert model.hard
    found = model(ROWS).logits
    assert torch.equal(found.argmax(dim=1), EXPECTED.argmax(dim=1))
    assert found[0].exp().sort().values.tolist() == pytest.approx([FLOOR, FLOOR, 1 - 2 * FLOOR])


def test_labels_go_to_the_classes_of_their_names(written):
    model = OnnxModel.open(labelled(written, ["cow", "ant", "bee"]), NAMES)
    assert torch.equal(model(ROWS).logits.argmax(dim=1), (EXPECTED.argmax(dim=1) + 2) % 3)


def test_a_label_that_is_no_class_is_refused(written):
    assert refused(labelled(written, ["dog"] * 3), NAMES, rows=ROWS) == (
        'teacher.onnx gives the label "dog", expected one of the 3 classes, "ant", "bee", "cow"'
    )
    assert refused(labelled(written, [7, 8, 9]), NAMES, rows=ROWS).startswith('teacher.onnx gives the label "')


@pytest.mark.parametrize("names", [NAMES, [0, 1, 2]])
def test_maps_from_classes_to_probabilities_are_taken(written, names):
    model = OnnxModel.open(labelled(written, names, zipmap=True), NAMES)
    assert not model.hard
    close(model(ROWS), EXPECTED.log_softmax(dim=1))


def test_maps_are_read_by_the_names_of_classes(written):
    model = OnnxModel.open(labelled(written, ["cow", "ant", "bee"], zipmap=True), NAMES)
    close(model(ROWS), EXPECTED.log_softmax(dim=1)[:, [1, 2, 0]])


def test_maps_with_other_classes_are_refused(written):
    assert refused(labelled(written, ["ant", "bee", "cat"], zipmap=True), NAMES, rows=ROWS) == (
        'teacher.onnx has the classes "ant", "bee", "cat", but the data have "ant", "bee", "cow": a teacher whose classes '
        "differ from the data's"
    )


@pytest.mark.parametrize("names", [NAMES, [0, 1, 2]])
def test_labels_beside_probabilities_that_say_the_same_are_no_matter(written, names):
    close(OnnxModel.open(labelled(written, names, probabilities=True), NAMES)(ROWS), EXPECTED.log_softmax(dim=1))


def test_an_order_of_classes_that_is_not_the_data_s_is_refused(written):
    message = refused(labelled(written, ["cow", "ant", "bee"], probabilities=True), NAMES, rows=ROWS)
    said, meant = ["cow", "ant", "bee"][EXPECTED[0].argmax()], NAMES[EXPECTED[0].argmax()]
    assert message == (
        f'teacher.onnx says "{said}" where its numbers are largest for "{meant}" in the order of the data\'s classes, "ant", '
        '"bee", "cow": a teacher whose classes or order differ from the data\'s; export it with the data\'s classes in their '
        "order"
    )


def test_answers_that_are_no_numbers_say_nothing_of_the_order(written):
    model = OnnxModel.open(labelled(written, ["cow", "ant", "bee"], probabilities=True), NAMES)
    assert model(torch.full((2, 4), torch.nan)).logits.isnan().all()


def test_numbers_in_the_order_of_texts_are_found_out(written):
    """Sorted as numbers by the teacher, as texts by the data: 2, 3, 10 and 10, 2, 3."""
    path = labelled(written, [2, 3, 10], probabilities=True)
    close(OnnxModel.open(path, ("2", "3", "10"))(ROWS), EXPECTED.log_softmax(dim=1))
    assert "a teacher whose classes or order differ" in refused(path, ("10", "2", "3"), rows=ROWS)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    message = "no.onnx: no such file, expected an ONNX model (.onnx)"
    assert refused(tmp_path / "no.onnx") == message
    with pytest.raises(LimbeckError, match=r"no such file, expected an ONNX model \(.onnx\)"):
        file_digest(tmp_path / "no.onnx")


@pytest.mark.parametrize(
    ("content", "reason"), [(b"hello" * 9, "Protobuf parsing failed"), (b"", "No graph was found in the protobuf")]
)
def test_a_damaged_file_is_refused(tmp_path, content, reason):
    (tmp_path / "bad.onnx").write_bytes(content)
    assert refused(tmp_path / "bad.onnx") == f"bad.onnx cannot be read as an ONNX model ({reason}): export it anew"


def test_operators_that_onnxruntime_does_not_have_are_refused(written):
    import onnxruntime

    node = helper.make_node("Foo", ["x"], ["y"], domain="my.ops")
    path = written([node], [value("x", ["n", 3])], [value("y", ["n", 3])], domains=[helper.make_opsetid("my.ops", 1)])
    assert refused(path) == (
        f"teacher.onnx needs an operator or a version that onnxruntime {onnxruntime.__version__} does not have (Fatal error: "
        "my.ops:Foo(-1) is not a registered function/op): export it with ONNX's own operators, or update onnxruntime"
    )


def test_a_version_that_onnxruntime_does_not_have_is_refused(linear):
    message = refused(linear(opset=99))
    assert message.startswith("teacher.onnx needs an operator or a version that onnxruntime ")
    assert "(ONNX Runtime only *guarantees* support for models stamped with" in message


@pytest.mark.parametrize("kind", [TensorProto.BOOL, TensorProto.STRING])
def test_inputs_that_are_no_numbers_are_refused(written, kind):
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    message = refused(written(nodes, [value("x", ["n", 3], kind)], [value("y", ["n", 3])]))
    assert (
        message
        == {
            TensorProto.BOOL: 'teacher.onnx has an input "x" of type tensor(bool): expected numbers or strings',
            TensorProto.STRING: 'teacher.onnx takes strings, "x": expected numbers',
        }[kind]
    )


def test_a_failure_of_the_model_is_one_line(written):
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    path = written(nodes, [value("x", ["n", 4])], [value("y", ["n", 3])], {"shape": np.array([5, 3], np.int64)})
    assert refused(path, NAMES, rows=ROWS).startswith("teacher.onnx does not take float32 inputs of shape (batch, 4): ")


def test_without_onnxruntime_it_is_said_what_to_install(linear, monkeypatch):
    path = linear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert refused(path) == 'reading ONNX models needs onnxruntime: pip install "limbeck[onnx]"'


def test_without_onnx_parameters_are_not_counted(linear, monkeypatch):
    model = OnnxModel.open(linear())
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert model.parameter_count == 0
    assert logits_of(model(ROWS)).shape == (7, 3)


def test_it_is_measured_like_any_model(linear):
    from limbeck.evaluation import measure_cost

    cost = measure_cost(OnnxModel.open(linear()), 100, ROWS.numpy())
    assert (cost.parameters, cost.multiply_adds) == (12, None)
