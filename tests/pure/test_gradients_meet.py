"""Whole graphs: gradients that meet are added, zero points count, ties and cuts are decided."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import Net, residual_net, window
from tinyengine.errors import ModelError
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops.add import GradAdd
from tinyengine.ops.layout import Reshape
from tinyengine.ops.op import Signature
from tinyengine.ops.pool import AvgPool, MaxPool, MaxPoolBwd
from tinyengine.ops.softmax import Softmax
from tinyengine.ops.window import Window
from tinyengine.passes.backward import backward
from tinyengine.sim.gradcheck import gradcheck_random, random_input
from tinyengine.sim.run import run


def head(net: Net, x: str) -> Graph:
    """An int8 classifier of 4 classes behind x."""
    c = net.b.type(x).shape[3]
    return net.graph(net.conv(net.move(Reshape(), net.mean(x), (1, 1, 1, c)), 4, window(1)))


def used_three_times() -> Graph:
    net = Net(5)
    x = net.conv(net.input(4, 4, 2), 3, window(3, 1, 1), 0.12)
    y = net.add(x, net.conv(x, 3, window(1), 0.12), 0.2)
    return head(net, net.add(net.mul(x, y, 0.4), x, 0.5))


def added_to_itself() -> Graph:
    net = Net(6)
    x = net.conv(net.input(3, 3, 2), 3, window(1), 0.12)
    return head(net, net.mul(net.add(x, x, 0.2), x, 0.4))


def concatenated_twice() -> Graph:
    net = Net(7)
    x = net.conv(net.input(4, 4, 2), 3, window(1), 0.12)
    return head(net, net.concat(3, x, net.pool(x, AvgPool, Window((3, 3), (1, 1), (1,) * 4)), x))


@pytest.mark.parametrize(
    ("graph", "meetings"),
    [
        (residual_net(), 1),
        (used_three_times(), 3),
        (added_to_itself(), 2),
        (concatenated_twice(), 2),
    ],
    ids=["residual", "three uses", "itself", "concat"],
)
def test_gradients_that_meet_are_added(graph: Graph, meetings: int) -> None:
    full = backward(graph)
    assert sum(isinstance(node.op, GradAdd) for node in full.nodes) == meetings
    report = gradcheck_random(full, seed=3, samples=2)
    assert report.worst_cosine > 1 - 1e-9
    assert abs(report.worst_norm_ratio - 1) < 1e-5


def test_overwriting_instead_of_adding_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    full = backward(residual_net())
    monkeypatch.setattr(GradAdd, "evaluate", lambda self, sig, ins: (ins[1],))
    report = gradcheck_random(full)
    assert report.worst_cosine < 0.99
    before, after = report.tensors[:4], report.tensors[-2:]
    assert min(t.cosine for t in before) > 1 - 1e-9  # the branch itself is right
    assert max(t.cosine for t in after) < 0.99  # what lies before the fork is not


def test_weight_gradient_uses_the_centred_input() -> None:
    """The published engine uses the raw int8 input: a picture of zeros then moves the weights."""
    for make in (Net.conv, Net.depthwise):
        net = Net(1)
        x = net.input(4, 4, 4, zero=37)
        y = make(net, x, 4 if make is Net.conv else 1, window(3, 1, 1))
        full = backward(head(net, y))
        values = run(full, {"x": np.full((1, 4, 4, 4), 37), "label": np.uint32(0)})
        gradients = {w: values[g] for w, g in full.gradients}
        layer = full.nodes[0].layer
        assert np.abs(gradients[f"{layer}/bias"]).max() > 0
        assert np.abs(gradients[f"{layer}/weight"]).max() == 0


def max_pool_gradient(x: Array, w: Window) -> Array:
    """Gradient of a max pool over x (h, w) for output gradients 1, 10, 100, ..."""
    h, width = x.shape
    size = w.out_size((h, width))
    d = (10.0 ** np.arange(size[0] * size[1])).astype(np.float32).reshape(1, *size, 1)
    x_type = TensorType((1, h, width, 1), DType.I8)
    sig = Signature(
        (TensorType(d.shape, DType.F32), x_type), (TensorType(x_type.shape, DType.F32),)
    )
    (d_x,) = MaxPoolBwd(w).evaluate(sig, [d, x.astype(np.int8).reshape(x_type.shape)])
    return np.asarray(d_x[0, :, :, 0])


def test_max_pool_ties_go_to_the_first_in_raster_order() -> None:
    equal = np.zeros((2, 4))
    assert max_pool_gradient(equal, window(2, 2)).tolist() == [[1, 0, 10, 0], [0, 0, 0, 0]]
    later = np.array([[0, 5], [5, 5]])
    assert max_pool_gradient(later, window(2)).tolist() == [[0, 1], [0, 0]]


def test_max_pool_windows_that_overlap_are_added() -> None:
    x = np.array([[0, 9, 0]])
    assert max_pool_gradient(x, Window((1, 2))).tolist() == [[0, 11, 0]]


def test_padding_never_wins_a_max_pool() -> None:
    x = np.full((2, 2), -128)
    d = max_pool_gradient(x, Window((3, 3), (2, 2), (1, 1, 1, 1)))
    assert d.tolist() == [[1, 0], [0, 0]]


def test_a_saturated_output_passes_nothing() -> None:
    net = Net(2)
    x = net.conv(net.input(3, 3, 2), 2, window(1), scale=1e-4)
    full = backward(head(net, x))
    values = run(full, {**random_input(full, 0), "label": np.uint32(1)})
    layer = full.nodes[0].layer
    cut = (values[layer] == -128) | (values[layer] == 127)
    assert cut.mean() > 0.9
    assert (values[f"d_{layer}.cut"][cut] == 0).all()
    assert (values[f"d_{layer}"][cut] != 0).all()


def test_an_unfused_pool_keeps_the_gradient_of_extreme_values() -> None:
    """127 comes out of a pool because it went in, not because something was cut."""
    net = Net(3)
    x = net.conv(net.input(4, 4, 2), 2, window(1), scale=1e-4)
    pooled = net.pool(x, MaxPool, window(2, 2))
    full = backward(head(net, pooled))
    assert not any(node.outputs[0] == f"{pooled}.inside" for node in full.nodes)
    values = run(full, {**random_input(full, 0), "label": np.uint32(1)})
    assert (values[pooled] == 127).any()
    assert (values[f"d_{x}"] != 0).any()


def test_a_path_through_softmax_is_refused_by_layer_name() -> None:
    net = Net(4)
    x = net.conv(net.input(2, 2, 2), 3, window(1))
    out = net.act((1, 2, 2, 3), 1 / 256, -128)
    soft = net.apply(Softmax(), (x,), out)
    with pytest.raises(ModelError, match=r"layer 'softmax2'.*'softmax'.*no gradient"):
        backward(head(net, soft))


def test_a_model_without_logits_is_refused() -> None:
    net = Net(4)
    graph = net.graph(net.conv(net.input(4, 4, 2), 3, window(1)))
    with pytest.raises(ModelError, match=r"shape \(1, 4, 4, 3\); training needs one row"):
        backward(graph)


def test_frozen_layers_get_no_gradient_nodes() -> None:
    """Nothing is computed before the first layer that learns."""
    net = Net(8, learns=False)
    stem = net.conv(net.input(5, 5, 2), 4, window(3, 1, 1))
    net.learns = True
    full = backward(head(net, net.conv(stem, 4, window(1))))
    assert f"d_{stem}" not in full.values
    assert [w for w, _ in full.gradients if w.startswith(stem)] == []
    assert "d_x" not in full.values


def test_gradient_order_of_meeting_parts_is_fixed() -> None:
    """Float32 sums depend on their order: the same graph always gives the same text."""
    texts = {tuple(node.outputs for node in backward(used_three_times()).nodes) for _ in range(3)}
    assert len(texts) == 1
