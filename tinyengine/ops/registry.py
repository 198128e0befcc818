"""Every operator by its name in graph text. A new operator is one more line here."""

from __future__ import annotations

from types import MappingProxyType

from tinyengine.ops.add import Add, GradAdd
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.borders import Dequantize, Quantize
from tinyengine.ops.conv2d import Conv2d, Conv2dBwdInput, Conv2dBwdWeight
from tinyengine.ops.depthwise import DepthwiseBwdInput, DepthwiseBwdWeight, DepthwiseConv2d
from tinyengine.ops.layout import Concat, Crop, GatherChannels, Pad, Reshape, Transpose
from tinyengine.ops.linear import Linear, LinearBwdInput, LinearBwdWeight
from tinyengine.ops.loss import SoftmaxXent
from tinyengine.ops.lut import Lut, LutBwd
from tinyengine.ops.mask import Inside, MaskGrad
from tinyengine.ops.mean import Mean, MeanBwd
from tinyengine.ops.mul import Mul, MulBwd
from tinyengine.ops.op import Op
from tinyengine.ops.pool import AvgPool, AvgPoolBwd, MaxPool, MaxPoolBwd
from tinyengine.ops.rescaled import QuantizeGrad, Rescaled
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import Accumulate, SgdF32, SgdI8, SgdI32
from tinyengine.ops.softmax import Softmax

_ALL: tuple[type[Op], ...] = (
    # forward, int8
    Quantize,
    Dequantize,
    Conv2d,
    DepthwiseConv2d,
    Add,
    Mul,
    AvgPool,
    MaxPool,
    Mean,
    Lut,
    Softmax,
    Pad,
    Crop,
    Concat,
    Reshape,
    Transpose,
    GatherChannels,
    # head and loss, float32
    Linear,
    SoftmaxXent,
    # backward, float32
    Inside,
    MaskGrad,
    GradAdd,
    BiasGrad,
    Conv2dBwdInput,
    Conv2dBwdWeight,
    DepthwiseBwdInput,
    DepthwiseBwdWeight,
    MulBwd,
    AvgPoolBwd,
    MaxPoolBwd,
    MeanBwd,
    LutBwd,
    LinearBwdInput,
    LinearBwdWeight,
    # the same in int16 or int8
    QuantizeGrad,
    Rescaled,
    # update
    Accumulate,
    SgdI8,
    SgdI32,
    SgdF32,
    RowStep,
)

OPS = MappingProxyType({op.kind: op for op in _ALL})
