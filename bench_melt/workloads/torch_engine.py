"""The same net and the same sparse step in PyTorch, eager, on the CPU: what the C is compared with.

A float32 net as a person would write it for the desk: frozen tensors ask for no gradient, so that
autograd computes no more than the scheme needs; batch 1, plain SGD. PyTorch is an optional extra.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from tinyengine.errors import UserError
from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import Array, DType, Role, dequantise
from tinyengine.ops.add import Add
from tinyengine.ops.borders import Dequantize
from tinyengine.ops.conv2d import FROZEN, Conv2d
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.layout import Concat, GatherChannels, Pad, Reshape, Transpose
from tinyengine.ops.linear import Linear
from tinyengine.ops.lut import Lut
from tinyengine.ops.mean import Mean
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Op
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.window import Window
from tinyengine.sim.oracle import loss_node, real_operand

_NHWC, _NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def has_torch() -> bool:
    """Whether PyTorch can be imported here."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.__version__)


class TorchEngine:
    """The forward part of a training graph in float32; `step` trains what the graph trains.

    Maps are kept as torch likes them, (n, c, h, w). Outputs are clamped where the int8 net has an
    activation: a range that begins at real 0, or one narrower than int8.
    """

    def __init__(self, graph: Graph, lr: float) -> None:
        """Take weights and biases from the graph.

        Raises:
            UserError: an operator of the net has no counterpart here.
        """
        import torch

        self.graph, self.lr = graph, lr
        self._logits = loss_node(graph).inputs[0]
        self._nodes = _needed(graph, self._logits)
        unknown = sorted({n.op.kind for n in self._nodes if type(n.op) not in _RULES})
        if unknown:
            raise UserError(f"no PyTorch counterpart of operators {', '.join(unknown)}")
        self._held: dict[str, Any] = {}
        for node in self._nodes:
            self._hold(torch, node)
        learning = [t for t in self._held.values() if t.requires_grad]
        self._optimizer = torch.optim.SGD(learning, lr=lr)

    def _hold(self, torch: Any, node: Node) -> None:
        """Real values of a node's constants and trainables, in torch's layout."""
        for index, name in enumerate(node.inputs):
            value = self.graph.values[name]
            if value.data is None or name in self._held:
                continue
            array = real_operand(self.graph, node, index, value.require_data())
            if index in (1, FROZEN) and isinstance(node.op, Conv2d):
                array = array.transpose(_NCHW)
            elif index == 1 and isinstance(node.op, DepthwiseConv2d):
                array = array.transpose(3, 0, 1, 2)
            elif array.ndim == 4:
                array = array.transpose(_NCHW)
            learns = value.role is Role.TRAINABLE
            made = torch.tensor(np.ascontiguousarray(array), dtype=torch.float32)
            self._held[name] = made.requires_grad_(learns)

    def logits(self, x: Array) -> Any:
        """Logits (1, n) of a sample of the model's int8 input, with their gradient's history."""
        import torch

        name = self.graph.inputs[0]
        type_ = self.graph.type(name)
        real = torch.from_numpy(dequantise(type_.quant, x.reshape(type_.shape)).astype(np.float32))
        known = {name: real.permute(_NCHW).contiguous() if real.ndim == 4 else real}
        for node in self._nodes:
            ins = [known[n] if n in known else self._held.get(n) for n in node.inputs]
            made = _RULES[type(node.op)](node.op, self.graph, node, ins)
            known[node.outputs[0]] = _activation(self.graph, node, made)
        return known[self._logits].reshape(1, -1)

    def step(self, x: Array, label: int) -> float:
        """One step at batch 1: x of the model's input shape, label in [0, classes). The loss."""
        import torch

        self._optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(self.logits(x), torch.tensor([label]))
        loss.backward()
        self._optimizer.step()
        return float(loss.item())


def _needed(graph: Graph, output: str) -> list[Node]:
    """The nodes that `output` depends on, in order."""
    wanted, found = {output}, list[Node]()
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            found.append(node)
            wanted.update(node.inputs)
    return found[::-1]


def _activation(graph: Graph, node: Node, made: Any) -> Any:
    out = graph.type(node.outputs[0])
    bounds = (getattr(node.op, "lo", -128), getattr(node.op, "hi", 127))
    if out.dtype is not DType.I8 or (bounds == (-128, 127) and out.zero_point != -128):
        return made
    if isinstance(node.op, Reshape | Transpose | Mean | AvgPool | MaxPool | Pad | Concat):
        return made  # what is not negative stays so
    low, high = ((bound - out.zero_point) * out.scale for bound in bounds)
    return made.clamp(low, high)


def _convolve(window: Window, x: Any, weight: Any, bias: Any, groups: int) -> Any:
    import torch.nn.functional as f

    top, bottom, left, right = window.padding
    padding: tuple[int, int] = (top, left)
    if (top, left) != (bottom, right):
        x, padding = f.pad(x, (left, right, top, bottom)), (0, 0)
    return f.conv2d(x, weight, bias, window.stride, padding, window.dilation, groups)


def _conv2d(op: Conv2d, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    import torch

    weight = torch.cat([ins[1], ins[FROZEN]], 1) if len(ins) > FROZEN else ins[1]
    return _convolve(op.window, ins[0], weight, ins[2], 1)


def _depthwise(op: DepthwiseConv2d, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    return _convolve(op.window, ins[0], ins[1], ins[2], ins[0].shape[1])


def _pool(op: AvgPool | MaxPool, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    import torch.nn.functional as f

    top, bottom, left, right = op.window.padding
    x, w = ins[0], op.window
    if isinstance(op, MaxPool):
        x = f.pad(x, (left, right, top, bottom), value=-np.inf) if any(w.padding) else x
        return f.max_pool2d(x, w.kernel, w.stride, dilation=w.dilation)
    if not any(w.padding):
        return f.avg_pool2d(x, w.kernel, w.stride)
    ones = f.pad(x.new_ones((1, 1, *x.shape[2:])), (left, right, top, bottom))
    x = f.pad(x, (left, right, top, bottom))
    return f.avg_pool2d(x, w.kernel, w.stride) / f.avg_pool2d(ones, w.kernel, w.stride)


def _mean(op: Mean, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    x = ins[0]
    axes = [_NCHW.index(a) if x.ndim == 4 else a for a in range(op.first, op.last + 1)]
    return _shaped(x.mean(axes, keepdim=True), graph, node)


def _shaped(x: Any, graph: Graph, node: Node) -> Any:
    """x, whose elements are in torch's order, in the shape of the node's output."""
    shape = graph.type(node.outputs[0]).shape
    flat = x.permute(_NHWC) if x.ndim == 4 else x
    made = flat.reshape(shape)
    return made.permute(_NCHW) if made.ndim == 4 else made


def _transpose(op: Transpose, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    x = ins[0].permute(_NHWC) if ins[0].ndim == 4 else ins[0]
    made = x.permute(op.order)
    return made.permute(_NCHW) if made.ndim == 4 else made


def _in_nhwc(rule: Callable[..., Any]) -> Callable[..., Any]:
    def turned(op: Op, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
        made = rule(op, *(x.permute(_NHWC) if x.ndim == 4 else x for x in ins))
        return made.permute(_NCHW) if made.ndim == 4 else made

    return turned


def _padded(op: Pad, x: Any) -> Any:
    import torch.nn.functional as f

    pairs = list(zip(op.before, op.after, strict=True))
    return f.pad(x, [n for pair in reversed(pairs) for n in pair])


def _gathered(op: GatherChannels, x: Any) -> Any:
    return x[..., list(op.channels)]


def _joined(op: Concat, *ins: Any) -> Any:
    import torch

    return torch.cat(ins, op.axis)


def _lut(op: Lut, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    x = ins[0]
    rules = {"logistic": x.sigmoid, "relu": x.relu, "relu6": lambda: x.clamp(0, 6)}
    rules["relu_n1_to_1"] = lambda: x.clamp(-1, 1)
    return rules[op.function]() if op.function in rules else x


def _add(op: Add, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    return ins[0] + ins[1]


def _mul(op: Mul, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    return ins[0] * ins[1]


def _linear(op: Linear, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    import torch.nn.functional as f

    return f.linear(ins[0], ins[1], ins[2])


def _reshape(op: Reshape, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    return _shaped(ins[0], graph, node)


def _same(op: Dequantize, graph: Graph, node: Node, ins: Sequence[Any]) -> Any:
    return ins[0]


_RULES: MappingProxyType[type[Op], Callable[..., Any]] = MappingProxyType(
    {
        Conv2d: _conv2d,
        DepthwiseConv2d: _depthwise,
        AvgPool: _pool,
        MaxPool: _pool,
        Mean: _mean,
        Add: _add,
        Mul: _mul,
        Lut: _lut,
        Linear: _linear,
        Reshape: _reshape,
        Transpose: _transpose,
        GatherChannels: _in_nhwc(_gathered),
        Pad: _in_nhwc(_padded),
        Concat: _in_nhwc(_joined),
        Dequantize: _same,
    }
)
