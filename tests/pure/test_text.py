"""The text form: what is written parses back to the same graph, and broken lines are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cases import CASES, Case
from tests.graphs import residual_net
from tinyengine.compiled import compile_graph
from tinyengine.errors import ModelError
from tinyengine.ir.attributes import format_op, parse_op
from tinyengine.ir.graph import Builder, Graph
from tinyengine.ir.tensor import DType, Quant, Role, TensorType
from tinyengine.ir.text import parse, write
from tinyengine.ir.verify import Stage, verify
from tinyengine.ops.conv2d import Conv2dBwdWeight
from tinyengine.ops.lut import Lut
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import SgdI8
from tinyengine.ops.softmax import Softmax
from tinyengine.ops.window import Window
from tinyengine.passes.backward import backward
from tinyengine.passes.fold import fold
from tinyengine.update.scheme import load_scheme


def assert_equal(a: Graph, b: Graph) -> None:
    assert a == b
    for name, value in a.values.items():
        other = b.values[name].data
        assert (value.data is None) == (other is None)
        if value.data is not None and other is not None:
            assert value.data.tobytes() == other.tobytes()
            assert value.data.dtype == other.dtype


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_round_trip_of_every_case(case: Case) -> None:
    graph = case.graph()
    assert_equal(parse(write(graph)), graph)
    if case.trainable:
        full = backward(fold(graph))
        assert_equal(parse(write(full)), full)
        verify(parse(write(full)), Stage.BACKWARD)


def test_round_trip_of_a_scheduled_graph() -> None:
    case = next(c for c in CASES if c.name == "residual")
    train = compile_graph(case.graph(), load_scheme("full")).train
    assert train is not None
    text = write(train.graph)
    assert "row_step{" not in text  # an operator is named before its operands
    assert "= row_step(" in text
    assert_equal(parse(text), train.graph)
    assert write(parse(text)) == text


def test_text_of_a_node() -> None:
    lines = write(residual_net(), data=False).splitlines()
    assert lines[0] == 'graph "net"'
    assert lines[1].startswith("input %x i8[1,9,8,3] q(0.04,")
    assert any(line.startswith("trainable %conv1/weight i8[6,3,3,3] q(") for line in lines)
    (add,) = (line for line in lines if "= add(" in line)
    assert add.endswith('activation = add(%conv1, %conv3) {lo=-128, hi=127} @"add4"')
    assert lines[-1] == "output %conv7"


def test_without_data_shapes_survive() -> None:
    bare = parse(write(residual_net(), data=False))
    assert bare == residual_net()
    assert not bare.values["conv1/weight"].require_data().any()


any_text = st.text(max_size=12)
names = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters=",()"), min_size=1, max_size=9
)
scales = st.floats(2.0**-40, 2.0**40, width=32)


@settings(max_examples=150, deadline=None)
@given(
    any_text,
    st.lists(names, min_size=2, max_size=2, unique=True),
    any_text,
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), any_text, max_size=3),
    st.lists(scales, min_size=1, max_size=4),
    st.integers(-128, 127),
)
def test_round_trip_of_any_names_and_scales(
    graph_name: str,
    values: list[str],
    layer: str,
    meta: dict[str, str],
    many: list[float],
    zero: int,
) -> None:
    b = Builder(graph_name)
    b.meta = meta
    x = b.input(values[0], TensorType((1, 2), DType.I8, Quant.per_tensor(many[0], zero)))
    quant = Quant.per_axis(np.array(many), 0)
    b.outputs = list(b.node(Softmax(0.1), (x,), [(values[1], b.type(x))], layer))
    b.updates = [(b.constant("s", np.arange(len(many)), DType.I8, quant, Role.STATE), x)]
    graph = b.build()
    assert_equal(parse(write(graph)), graph)


@given(st.text(max_size=10))
def test_attributes_hold_any_text(function: str) -> None:
    for op in (Lut(function), RowStep(Conv2dBwdWeight(Window((1, 1))), SgdI8(function, 0, 2**32))):
        kind, text = format_op(op)
        assert parse_op(kind, text) == op


@given(st.tuples(*[st.integers(0, 9)] * 4), st.lists(st.integers(0, 2**31)), st.integers(0, 3))
def test_attributes_hold_any_numbers(
    padding: tuple[int, int, int, int], channels: list[int], axis: int
) -> None:
    window = Window((2, 3), (1, 2), padding, (3, 1))
    op = RowStep(Conv2dBwdWeight(window), SgdI8("nearest", axis, 7, tuple(channels), 99))
    kind, text = format_op(op)
    assert parse_op(kind, text) == op


@pytest.mark.parametrize("dtype", list(DType))
def test_data_of_every_type(dtype: DType) -> None:
    b = Builder("data")
    data = np.array([[0, 1, 3]], np.float64).astype(dtype.numpy)
    b.outputs = [b.constant("c", data, dtype)]
    back = parse(write(b.build())).values["c"].require_data()
    assert back.dtype == dtype.numpy
    assert (back == data).all()
    assert not back.flags.writeable


def test_scalars_and_empty_shapes() -> None:
    b = Builder("scalars")
    b.outputs = [b.input("lr", TensorType((), DType.F32))]
    assert_equal(parse(write(b.build())), b.build())


def test_comments_and_empty_lines_are_skipped() -> None:
    text = write(residual_net())
    commented = "# a comment\n\n" + text.replace("\noutput", "\n\n  # another\noutput")
    assert parse(commented) == parse(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("input x i8[1]", "expected a name with '%'"),
        ("input %x i9[1]", "'i9' is not a valid DType"),
        ("magic %x i8[1]", "'magic' is not a valid Role"),
        ('%y i8[1] activation = warp(%x) {} @"a"', "unknown operator 'warp'"),
        ('%y i8[1] activation = add(%x, %x) {lo=1, up=2} @"a"', "up"),
        ('%y i8[1] activation = add(%x, %x) {lo=1 @"a"', "at the end"),
        ('%y i8[1] activation = add(%x, %x) {lo=} @"a"', "attribute '' is not a number"),
        ('%y i8[1] noise = add(%x, %x) {lo=1, hi=2} @"a"', "'noise' is not a valid Role"),
        ('constant %c i8[3] = "AAA="', "cannot reshape"),
        ('constant %c i32[1] = "AAA="', "buffer size"),
        ('constant %c i8[2] = "!"', ""),
        ("update %a", "not enough values"),
        ("input %x i8[1]\ninput %x i8[1]", "'x' is declared twice"),
        ('input %x i8[1]\n%x i8[1] activation = reshape(%x) {} @"a"', "'x' is declared twice"),
        ('input %x i8[1]\nconstant %x i8[1] = "AA=="', "'x' is declared twice"),
    ],
)
def test_a_broken_line_is_named(line: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse(f'graph "g"\n{line}\n')
    message, lines = str(caught.value), line.splitlines()
    assert message.startswith(f"line {1 + len(lines)} of the graph text: ")
    assert said in message
    assert repr(lines[-1][:40])[:-1] in message


def test_a_long_broken_line_is_cut() -> None:
    with pytest.raises(ModelError) as caught:
        parse("input x " + "y" * 5000)
    assert len(str(caught.value)) < 250
