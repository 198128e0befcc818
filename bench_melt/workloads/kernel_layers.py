"""The layers that `bench-melt kernels` measures, as nets around one layer, and what others take.

Published and measured figures are instructions per multiply-accumulate: CMSIS-NN at -O3 under
QEMU, counted alike, for the int8 forward kernels; the training engine of arXiv 2206.15472 for
float32 gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tinyengine.importers.net import Net
from tinyengine.importers.tracer import Tensor
from tinyengine.ir.graph import Graph

LAYER, BEFORE = "layer", "before"  # names of the layer under test and of the one before it
_CLASSES = 2

# by phase of the step, then core
Others = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class BenchLayer:
    """One row of the table: `write` applies the layer to a map of `shape` (h, w, c).

    others: what CMSIS-NN (forward) or the published engine (float32 gradients) takes.
    """

    title: str
    shape: tuple[int, int, int]
    write: Callable[[Net, Tensor], Tensor]
    others: Others = field(default_factory=dict)

    def graph(self) -> Graph:
        """A net that trains: input, a learning bias before the layer, the layer, a small head.

        The bias is what makes the layer's input gradient needed.
        """
        net = Net("kernel_bench", seed=1)
        x = net.input(self.shape, 1 / 64, 0)
        x = net.depthwise(x, kernel=1, name=BEFORE)
        y = self.write(net, x)
        if len(y.shape) == 4:
            y = net.mean(y, name="after")
        return net.graph(net.dense(y, _CLASSES, name="head"))


def _conv(channels: int, kernel: int, stride: int = 1) -> Callable[[Net, Tensor], Tensor]:
    return lambda t, x: t.conv(x, channels, kernel=kernel, stride=stride, name=LAYER)


def _depthwise(kernel: int) -> Callable[[Net, Tensor], Tensor]:
    return lambda t, x: t.depthwise(x, kernel=kernel, name=LAYER)


def _dense(t: Net, x: Tensor) -> Tensor:
    return t.dense(t.flatten(x), 128, name=LAYER)


def _cmsis(m4: float, m7: float, m55: float) -> Others:
    return {"forward": {"cortex-m4": m4, "cortex-m7": m7, "cortex-m55": m55}}


_TTE_POINTWISE: Others = {
    "weight_gradient": {"cortex-m4": 3.86, "cortex-m7": 3.85},
    "input_gradient": {"cortex-m4": 5.85, "cortex-m7": 5.65},
}
_TTE_DEPTHWISE: Others = {"input_gradient": {"cortex-m4": 4.21, "cortex-m7": 4.07}}

LAYERS = (
    BenchLayer("conv 3x3, 64 -> 64, 8x8", (8, 8, 64), _conv(64, 3), _cmsis(1.76, 1.75, 0.21)),
    BenchLayer("conv 3x3, 16 -> 16, 32x32", (32, 32, 16), _conv(16, 3), _cmsis(2.33, 2.31, 0.39)),
    BenchLayer(
        "conv 3x3 stride 2, 3 -> 8, 96x96", (96, 96, 3), _conv(8, 3, 2), _cmsis(6.15, 6.03, 1.99)
    ),
    BenchLayer(
        "pointwise 64 -> 64, 25x5",
        (25, 5, 64),
        _conv(64, 1),
        {**_cmsis(2.09, 2.05, 0.40), **_TTE_POINTWISE},
    ),
    BenchLayer(
        "pointwise 128 -> 128, 6x6",
        (6, 6, 128),
        _conv(128, 1),
        {**_cmsis(1.83, 1.80, 0.28), **_TTE_POINTWISE},
    ),
    BenchLayer(
        "pointwise 8 -> 16, 48x48",
        (48, 48, 8),
        _conv(16, 1),
        {**_cmsis(6.63, 6.69, 2.18), **_TTE_POINTWISE},
    ),
    BenchLayer(
        "depthwise 3x3, 64 ch, 25x5",
        (25, 5, 64),
        _depthwise(3),
        {**_cmsis(8.33, 8.25, 2.32), **_TTE_DEPTHWISE},
    ),
    BenchLayer(
        "depthwise 3x3, 8 ch, 48x48",
        (48, 48, 8),
        _depthwise(3),
        {**_cmsis(9.95, 9.84, 5.21), **_TTE_DEPTHWISE},
    ),
    BenchLayer(
        "depthwise 5x5, 64 ch, 12x12", (12, 12, 64), _depthwise(5), _cmsis(9.30, 9.03, 1.71)
    ),
    BenchLayer("fully connected 640 -> 128", (1, 1, 640), _dense, _cmsis(1.95, 1.95, 0.49)),
    BenchLayer("add, 24 ch, 16x16", (16, 16, 24), lambda t, x: t.add(x, x, name=LAYER)),
    BenchLayer(
        "add per channel, 24 ch, 16x16",
        (16, 16, 24),
        lambda t, x: t.add(x, t.constant(np.linspace(-1, 1, 24).reshape(1, 1, 1, 24)), name=LAYER),
    ),
    BenchLayer("mul, 24 ch, 16x16", (16, 16, 24), lambda t, x: t.mul(x, x, name=LAYER)),
    BenchLayer(
        "average pool 2x2, 24 ch, 16x16",
        (16, 16, 24),
        lambda t, x: t.avg_pool(x, 2, stride=2, name=LAYER),
    ),
    BenchLayer(
        "max pool 2x2, 24 ch, 16x16",
        (16, 16, 24),
        lambda t, x: t.max_pool(x, 2, stride=2, name=LAYER),
    ),
    BenchLayer("mean, 160 ch, 4x4", (4, 4, 160), lambda t, x: t.mean(x, name=LAYER)),
)
