"""What the .tflite importer reads, and what it says about files that it cannot read."""

from pathlib import Path

import numpy as np
import pytest
import tflite

from tests.cases import CASES, Case
from tests.tflm import Reference
from tinyengine.errors import ModelError
from tinyengine.exporters.flatbuffer import Options, Writer
from tinyengine.exporters.tflite import export_tflite
from tinyengine.importers import load_model
from tinyengine.importers.net import Net
from tinyengine.importers.tflite import parse_tflite
from tinyengine.ir.tensor import DType, Quant, Role
from tinyengine.ir.verify import Stage, verify
from tinyengine.ops.conv2d import Conv2d
from tinyengine.sim.run import run

Q = Quant.per_tensor(0.1, 0)


def refusal(data: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        parse_tflite(data, "net")
    return str(caught.value)


def net_of(*kinds: str, dtype: DType = DType.I8, shape: tuple[int, ...] = (1, 4)) -> bytes:
    """A chain of operators without options."""
    writer = Writer()
    quant = Q if dtype is DType.I8 else None
    names = ["in", *(f"out{i}" for i in range(len(kinds)))]
    tensors = [writer.tensor(name, shape, dtype, quant) for name in names]
    for i, kind in enumerate(kinds):
        writer.operator(kind, 1, [tensors[i]], [tensors[i + 1]], None)
    return writer.finish("net", tensors[:1], tensors[-1:])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_round_trip_keeps_weights_and_passes_verify(case: Case) -> None:
    graph = case.graph()
    verify(graph, Stage.IMPORT)
    again = parse_tflite(export_tflite(graph), case.name)
    verify(again, Stage.IMPORT)
    mine, other = graph.with_role(Role.TRAINABLE), again.with_role(Role.TRAINABLE)
    assert [v.type for v in mine] == [v.type for v in other]
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_array_equal(a.require_data(), b.require_data())


def test_layers_are_named_after_operator_and_index(shared: Path) -> None:
    graph = load_model(str(shared / "data/models/ic_resnet8_int8.tflite"))
    layers = list(dict.fromkeys(node.layer for node in graph.nodes))
    assert layers[:4] == ["conv2d_0", "conv2d_1", "conv2d_2", "add_3"]
    assert layers[-4:] == ["avg_pool_12", "reshape_13", "dense_14", "softmax_15"]
    assert graph.values["conv2d_0/weight"].type.shape == (16, 3, 3, 3)
    assert graph.meta["source"] == "tflite"


def test_not_a_flatbuffer() -> None:
    assert "no 'TFL3' mark in its first 8 of 9 B" in refusal(b"not a net")
    assert refusal(b"").startswith("not a valid .tflite")


def test_cut_file() -> None:
    data = export_tflite(CASES[0].graph())
    assert refusal(data[: len(data) // 2]).startswith("not a valid .tflite")


def test_all_unknown_operators_are_named_at_once_with_their_place() -> None:
    message = refusal(net_of("GELU", "RELU", "CUMSUM", "GELU"))
    assert "'GELU' at 0 (out0), 3 (out3)" in message
    assert "'CUMSUM' at 2 (out2)" in message and "'RELU' at" not in message
    assert "Supported are QUANTIZE" in message


def test_float_model_says_so_and_what_helps() -> None:
    message = refusal(net_of("RELU", dtype=DType.F32))
    assert "float model (tensor 'out0' is float32)" in message
    assert "full-integer post-training quantisation: a representative data set" in message


def test_weights_only_quantisation_is_a_float_model_too() -> None:
    writer = Writer()
    x = writer.tensor("x", (1, 4), DType.F32, None)
    y = writer.tensor("y", (1, 4), DType.F32, None)
    z = writer.tensor("z", (1, 4), DType.I8, Q)
    writer.operator("RELU", 1, [x], [y], None)
    writer.operator("QUANTIZE", 1, [y], [z], Options("Quantize"))
    message = refusal(writer.finish("net", [x], [z]))
    assert "operator 0 ('RELU') works on 'x', which is float32" in message


def test_uint8_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_types(), DType.I8, tflite.TensorType.UINT8)
    assert "'in', which is uint8; only int8 is supported" in refusal(net_of("RELU"))


def _types() -> dict[DType, int]:
    from tinyengine.exporters import flatbuffer

    return flatbuffer._TYPES


@pytest.mark.parametrize("shape", [(1, -1), (1, 0, 3)])
def test_dynamic_shape(shape: tuple[int, ...]) -> None:
    message = refusal(net_of("RELU", shape=shape))
    assert f"input 'in' has a dynamic shape {shape}" in message and "fixed input shape" in message


def test_batch_other_than_one() -> None:
    assert "a batch of 8; convert the model with batch 1" in refusal(net_of("RELU", shape=(8, 4)))


def test_absurd_sizes_are_refused_before_anything_is_allocated() -> None:
    message = refusal(net_of("RELU", shape=(1, 1 << 20, 1 << 20)))
    assert "sizes must be positive" in message and "67,108,864 elements" in message


def test_operators_out_of_order_and_cycles() -> None:
    writer = Writer()
    x, y, z = (writer.tensor(n, (1, 4), DType.I8, Q) for n in "xyz")
    writer.operator("RELU", 1, [z], [y], None)
    writer.operator("RELU", 1, [y], [z], None)
    message = refusal(writer.finish("net", [x], [z]))
    assert "operator 0 ('RELU') reads 'z' before anything made it" in message


def test_tensor_written_twice() -> None:
    writer = Writer()
    x, y = (writer.tensor(n, (1, 4), DType.I8, Q) for n in "xy")
    for _ in range(2):
        writer.operator("RELU", 1, [x], [y], None)
    assert "writes tensor 'y'" in refusal(writer.finish("net", [x], [y]))


def test_output_that_no_operator_makes() -> None:
    writer = Writer()
    x, y = (writer.tensor(n, (1, 4), DType.I8, Q) for n in "xy")
    writer.operator("RELU", 1, [x], [y], None)
    assert "no operator makes the output 'x'" in refusal(writer.finish("net", [x], [x]))


def test_tensor_index_out_of_range() -> None:
    writer = Writer()
    x, y = (writer.tensor(n, (1, 4), DType.I8, Q) for n in "xy")
    writer.operator("RELU", 1, [77], [y], None)
    assert "operator 0 ('RELU') names tensors beyond 2" in refusal(writer.finish("n", [x], [y]))


def test_more_than_one_output() -> None:
    writer = Writer()
    x, y = (writer.tensor(n, (1, 4), DType.I8, Q) for n in "xy")
    writer.operator("RELU", 1, [x], [y], None)
    message = refusal(writer.finish("net", [x], [y, x]))
    assert "it has 2 outputs; a model with one output is supported" in message


def test_constant_of_the_wrong_length() -> None:
    writer = Writer()
    x, y = (writer.tensor(n, (1, 4), DType.I8, Q) for n in "xy")
    c = writer.tensor("c", (1, 4), DType.I8, Q, np.zeros(3, np.int8))
    writer.operator("ADD", 1, [x, c], [y], Options("Add"))
    message = refusal(writer.finish("net", [x], [y]))
    assert "tensor 'c' (int8 (1, 4)) has 3 B of data, needs 4 B" in message


def test_shape_that_the_operator_does_not_make() -> None:
    writer = Writer()
    x = writer.tensor("x", (1, 4), DType.I8, Q)
    y = writer.tensor("y", (1, 5), DType.I8, Q)
    writer.operator("RELU", 1, [x], [y], None)
    message = refusal(writer.finish("net", [x], [y]))
    assert "('RELU') makes i8 (1, 4), but the file says int8 (1, 5)" in message


def test_broadcast_operand_may_come_first_and_with_fewer_axes() -> None:
    writer = Writer()
    x, y = (writer.tensor(n, (1, 2, 2, 3), DType.I8, Q) for n in "xy")
    c = writer.tensor("c", (3,), DType.I8, Q, np.array([1, 2, 3], np.int8))
    writer.operator("MUL", 1, [c, x], [y], Options("Mul"))
    graph = parse_tflite(writer.finish("net", [x], [y]), "net")
    assert [n.op.kind for n in graph.nodes] == ["reshape", "mul"]


@pytest.mark.parametrize("rank", [2, 3])
def test_concatenation_of_fewer_axes_than_four(rank: int) -> None:
    writer = Writer()
    shape = (1, 2, 3)[:rank]
    x = writer.tensor("x", shape, DType.I8, Q)
    y = writer.tensor("y", (*shape[:-1], 2 * shape[-1]), DType.I8, Q)
    writer.operator("CONCATENATION", 1, [x, x], [y], Options("Concatenation", {"Axis": -1}))
    graph = parse_tflite(writer.finish("net", [x], [y]), "net")
    data = np.arange(graph.type("input").count, dtype=np.int8).reshape(shape)
    made = run(graph, {"input": data})[graph.outputs[0]]
    np.testing.assert_array_equal(made, np.concatenate([data, data], axis=-1))


def test_float_elements_moved_at_the_borders_are_moved_as_int8() -> None:
    """TRANSPOSE before QUANTIZE and RESHAPE behind DEQUANTIZE, as converted ONNX models have."""
    writer = Writer()
    x = writer.tensor("x", (1, 3, 4, 5), DType.F32, None)
    turned = writer.tensor("turned", (1, 4, 5, 3), DType.F32, None)
    a, b = (writer.tensor(n, (1, 4, 5, 3), DType.I8, Q) for n in "ab")
    real = writer.tensor("real", (1, 4, 5, 3), DType.F32, None)
    flat = writer.tensor("flat", (1, 60), DType.F32, None)
    order = writer.tensor("order", (4,), DType.I32, None, np.array([0, 2, 3, 1], np.int32))
    shape = writer.tensor("shape", (2,), DType.I32, None, np.array([1, 60], np.int32))
    writer.operator("TRANSPOSE", 1, [x, order], [turned], Options("Transpose"))
    writer.operator("QUANTIZE", 1, [turned], [a], Options("Quantize"))
    writer.operator("RELU", 1, [a], [b], None)
    writer.operator("DEQUANTIZE", 2, [b], [real], Options("Dequantize"))
    writer.operator("RESHAPE", 1, [real, shape], [flat], Options("Reshape"))
    data = writer.finish("net", [x], [flat])
    graph = parse_tflite(data, "net")
    verify(graph, Stage.IMPORT)
    kinds = [n.op.kind for n in graph.nodes]
    assert kinds == ["quantize", "transpose", "lut", "reshape", "dequantize"]
    values = np.random.default_rng(0).uniform(-15, 15, (20, 3, 4, 5)).astype(np.float32)
    made = run(graph, {"input": values})[graph.outputs[0]]
    np.testing.assert_array_equal(made, Reference(data).output(values))


def test_relu6_that_changes_the_scale() -> None:
    writer = Writer()
    x = writer.tensor("x", (1, 4), DType.I8, Q)
    y = writer.tensor("y", (1, 4), DType.I8, Quant.per_tensor(0.2))
    writer.operator("RELU6", 1, [x], [y], None)
    message = refusal(writer.finish("net", [x], [y]))
    assert "layer 'relu6_0'" in message and "let a QUANTIZE change it" in message


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model file '.*net\.tflite'"):
        load_model(str(tmp_path / "net.tflite"))
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises(ModelError, match="cannot read '.*folder.tflite': Is a directory"):
        load_model(str(tmp_path / "folder.tflite"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.onnx", "ONNX models are not in this version"),
        ("net.pt", "PyTorch models are not in this version"),
        ("net.py", "names no function; write '.*net.py:FUNCTION'"),
        ("net.txt", "unknown kind of name"),
    ],
)
def test_other_kinds_of_files(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ModelError, match=message):
        load_model(str(tmp_path / name))


def test_export_names_all_it_cannot_say() -> None:
    from tinyengine.passes.backward import backward

    graph = backward(CASES[0].graph())
    with pytest.raises(ModelError, match="operators 'bias_grad' .*'softmax_xent'"):
        export_tflite(graph)


def test_export_refuses_a_range_without_an_activation() -> None:
    from dataclasses import replace

    net = Net("net")
    graph = net.graph(net.conv(net.input((4, 4, 1)), 2, name="stem"))
    (node,) = graph.nodes
    assert isinstance(node.op, Conv2d)
    graph = replace(graph, nodes=(replace(node, op=replace(node.op, lo=-3, hi=5)),))
    with pytest.raises(ModelError, match=r"layer 'stem': no TFLite activation clamps to \[-3, 5\]"):
        export_tflite(graph)


def test_export_takes_trained_weights() -> None:
    graph = CASES[0].graph()
    weight = np.full(graph.type("stem/weight").shape, 7, np.int8)
    again = parse_tflite(export_tflite(graph, {"stem/weight": weight}), "net")
    np.testing.assert_array_equal(again.values["conv2d_0/weight"].require_data(), weight)
    with pytest.raises(ModelError, match="state 'stem/weight' is int8"):
        export_tflite(graph, {"stem/weight": weight[:1]})
