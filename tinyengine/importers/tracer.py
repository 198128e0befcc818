"""What stands behind `net.Net`: names, samples, weights and scales of the layers being traced."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyengine.errors import ModelError
from tinyengine.importers import choose
from tinyengine.importers.layers import (
    ACTIVATIONS,
    Kernel,
    Layers,
    activation_range,
    check_window,
    make_quant,
)
from tinyengine.ir.tensor import Array, DType, Quant, TensorType, dequantise
from tinyengine.ops.add import Add
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Signature
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.window import Window

Pair = tuple[int, int]
Padding = str | int | tuple[int, int, int, int]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,79}")
_OF_A_LAYER = re.compile(r"/(weight|bias)(\.|$)")  # passes find a tensor's companions by its name


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a layer gives back: a name and a type. Shapes include the batch of 1."""

    name: str
    type: TensorType

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape with the leading batch of 1."""
        return self.type.shape


@dataclass(frozen=True, slots=True)
class Parameters:
    """A layer's arguments as the caller gave them; None means: choose."""

    weight: Any
    weight_scale: Any
    bias: Any
    per_channel: bool
    activation: str
    scale: float | None
    zero_point: int


class Tracer:
    """Holds the graph so far, and what every value is on the samples."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.layers = Layers(name, "python")
        self.seed = seed
        self.samples: dict[str, Array] = {}
        self._names: set[str] = set()
        self._done = 0

    def layer(self, name: str | None, kind: str) -> str:
        """The name of the next layer: the caller's, else kind and number."""
        layer = f"{kind}_{len(self._names)}" if name is None else name
        if not _NAME.fullmatch(layer):
            raise ModelError(
                f"layer name {layer!r} must start with a letter and hold only letters, digits, "
                "'_', '.', '/', '-', at most 80"
            )
        if _OF_A_LAYER.search(layer):
            raise ModelError(
                f"layer name {layer!r}: what ends in '/weight' or '/bias' is the tensor of another "
                "layer; choose another name"
            )
        if layer in self._names:
            raise ModelError(f"two layers are called '{layer}'; give each its own name")
        self._names.add(layer)
        return layer

    def finish(self, name: str) -> Tensor:
        """Run the samples through the nodes that are new; `name` is the layer's output."""
        b = self.layers.builder
        for node in b.nodes[self._done :]:
            types = (tuple(map(b.type, node.inputs)), tuple(map(b.type, node.outputs)))
            ins = [self._known(x) for x in node.inputs]
            outs = node.op.evaluate(Signature(*types), ins)
            self.samples.update(zip(node.outputs, outs, strict=True))
        self._done = len(b.nodes)
        return Tensor(name, b.type(name))

    def _known(self, name: str) -> Array:
        if name in self.samples:
            return self.samples[name]
        return self.layers.builder.values[name].require_data()

    def real(self, x: Tensor) -> Array:
        """x on the samples, as real numbers."""
        return dequantise(x.type.quant, self._known(x.name))

    def centred(self, x: Tensor) -> Array:
        """x on the samples minus its zero point, int64."""
        return self._known(x.name).astype(np.int64) - x.type.zero_point

    def rank4(self, x: Tensor, layer: str) -> None:
        """Refuse anything but NHWC."""
        if len(x.shape) != 4:
            raise ModelError(f"layer '{layer}' needs an input of rank 4 (NHWC), has {x.shape}")

    def quant_of(self, x: Tensor, layer: str) -> Quant:
        """The quantisation of x; refuses float32."""
        if x.type.quant is None:
            raise ModelError(f"layer '{layer}': '{x.name}' is float32; int8 is needed here")
        return x.type.quant

    def channels(self, count: int | None, layer: str) -> int:
        """A count of output channels that makes sense."""
        if count is None or not 1 <= count <= 1 << 16:
            raise ModelError(f"layer '{layer}' needs between 1 and 65536 channels, has {count}")
        return count

    def window(
        self,
        x: Tensor,
        kernel: int | Pair,
        stride: int | Pair,
        padding: Padding,
        dilation: int | Pair,
        layer: str,
    ) -> Window:
        """The geometry on x; padding 'same', 'valid', one number, or (top, bottom, left, right)."""
        self.rank4(x, layer)
        size = (x.shape[1], x.shape[2])
        k, s, d = _pair(kernel), _pair(stride), _pair(dilation)
        bare = Window(k, s, (0, 0, 0, 0), d)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ModelError(f"layer '{layer}': padding {padding!r} is not 'same' or 'valid'")
            window = Window.same(k, s, size, d) if padding == "same" and min(s) > 0 else bare
        else:
            pads = (padding,) * 4 if isinstance(padding, int) else padding
            window = Window(k, s, (pads[0], pads[1], pads[2], pads[3]), d)
        check_window(window, size, layer)
        return window

    def weight(
        self, layer: str, shape: tuple[int, ...], axis: int, given: Parameters
    ) -> tuple[Array, Array]:
        """(int8 weight, scales) of the caller's array, or made from the seed."""
        if given.weight is None:
            fan_in = int(np.prod(shape)) // shape[axis]
            q, scales = choose.random_weight(layer, self.seed, shape, fan_in, axis)
            return q, scales if given.per_channel else scales.max(keepdims=True)
        array = np.asarray(given.weight)
        if array.shape != shape:
            raise ModelError(f"layer '{layer}': weight {array.shape} should have shape {shape}")
        if array.dtype == np.int8:
            if given.weight_scale is None:
                raise ModelError(f"layer '{layer}': an int8 weight needs weight_scale")
            return array, np.atleast_1d(np.asarray(given.weight_scale, np.float32))
        return choose.quantise_weight(array, axis, given.per_channel)

    def kernel(
        self, x: Tensor, q: Array, scales: Array, total: Array, given: Parameters, layer: str
    ) -> tuple[Kernel, Quant, tuple[int, int]]:
        """The layer's parameters, output quantisation and activation range.

        total: the integer sums on the samples, without bias.
        """
        k = total.shape[-1]
        each = np.broadcast_to(scales.astype(np.float64), (k,)) * self.quant_of(x, layer).scale[0]
        if given.bias is not None and np.shape(given.bias) != (k,):
            shape = np.shape(given.bias)
            raise ModelError(f"layer '{layer}': bias {shape} should have shape {(k,)}")
        bias = self._bias(layer, total, each, given)
        real = (total + bias) * each
        out = self.out(real, given.activation, given.scale, given.zero_point, layer)
        return Kernel(q, scales, bias), out, activation_range(given.activation, out)

    def _bias(self, layer: str, total: Array, each: Array, given: Parameters) -> Array:
        k = total.shape[-1]
        if given.bias is None and given.weight is not None:
            return np.zeros(k, np.int32)
        if given.bias is None:
            # Up to half of what the layer computes: neither nothing nor everything.
            size = np.abs(total).mean() / 128.0
            noise = choose.random_int8(f"{layer}:bias", self.seed, (k,)).astype(np.float64)
            return np.asarray(np.rint(noise * size / 2), np.int32)
        array: Array = np.asarray(given.bias)
        if array.dtype == np.int32:
            return array
        return choose.quantise_bias(array, each)

    def out(
        self, real: Array, activation: str, scale: float | None, zero_point: int, layer: str
    ) -> Quant:
        """The caller's quantisation, else the one that just holds `real`."""
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ModelError(f"layer '{layer}': activation {activation!r} is none of {known}")
        if scale is not None:
            return make_quant(scale, zero_point, f"layer '{layer}'")
        return choose.output_quant(real, activation)

    def binary(
        self,
        op: type[Add] | type[Mul],
        a: Tensor,
        b: Tensor,
        activation: str,
        scale: float | None,
        zero_point: int,
        layer: str,
    ) -> Tensor:
        """a op b, where b may be broadcast."""
        for x in (a, b):
            self.quant_of(x, layer)
        if len(b.shape) < len(a.shape):
            raise ModelError(f"layer '{layer}': {b.shape} must have as many axes as {a.shape}")
        function: Callable[[Array, Array], Array] = np.add if op is Add else np.multiply
        try:
            self.layers.room(layer, np.broadcast_shapes(a.shape, b.shape))
            real = function(self.real(a), self.real(b))
        except ValueError:
            raise ModelError(
                f"layer '{layer}': {b.shape} does not broadcast to {a.shape}"
            ) from None
        out = self.out(real, activation, scale, zero_point, layer)
        made = op(*activation_range(activation, out))
        type_ = TensorType(a.shape, DType.I8, out)
        return self.finish(self.layers.node(made, (a.name, b.name), type_, layer))

    def pool(
        self,
        op: type[AvgPool] | type[MaxPool],
        x: Tensor,
        window: Window,
        activation: str,
        layer: str,
    ) -> Tensor:
        """A pool; the output has the input's quantisation."""
        out = self.quant_of(x, layer)
        self.out(np.zeros(1), activation, None, 0, layer)
        shape = (x.shape[0], *window.out_size((x.shape[1], x.shape[2])), x.shape[3])
        made = op(window, *activation_range(activation, out))
        return self.finish(
            self.layers.node(made, (x.name,), TensorType(shape, DType.I8, out), layer)
        )

    def rescale(
        self, x: Tensor, function: str, scale: float | None, zero_point: int, layer: str
    ) -> Tensor:
        """A table that changes the scale, or clamps, or both."""
        out = self.quant_of(x, layer)
        if scale is not None:
            out = make_quant(scale, zero_point, f"layer '{layer}'")
        return self.finish(self.layers.requantise(x.name, out, layer, function))


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
