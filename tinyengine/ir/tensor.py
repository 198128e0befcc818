"""Types of the graph's values: shape, element type and quantisation."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class DType(enum.Enum):
    """Element type. `B1` is one bit per element, packed little-endian into bytes in memory."""

    I8 = "i8"
    I16 = "i16"
    I32 = "i32"
    U32 = "u32"
    F32 = "f32"
    B1 = "b1"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type that holds one element in the simulator (bits are `bool`)."""
        return np.dtype(_NUMPY[self])


_NUMPY = {
    DType.I8: np.int8,
    DType.I16: np.int16,
    DType.I32: np.int32,
    DType.U32: np.uint32,
    DType.F32: np.float32,
    DType.B1: np.bool_,
}


class Role(enum.Enum):
    """What a value is for."""

    INPUT = "input"
    CONSTANT = "constant"
    TRAINABLE = "trainable"  # a parameter that the scheme may update
    STATE = "state"  # what an update remembers: fractions, accumulated gradients
    ACTIVATION = "activation"
    GRADIENT = "gradient"


@dataclass(frozen=True, slots=True)
class Quant:
    """Affine quantisation: real = scale * (q - zero_point).

    `scale` has one entry, or one per index of dimension `axis`. Every scale is a float32 value, as
    in the TFLite format. A gradient may carry a scale too: real gradient = scale * stored value.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    @staticmethod
    def per_tensor(scale: float, zero_point: int = 0) -> Quant:
        """One scale for the whole tensor, rounded to float32."""
        return Quant((float(np.float32(scale)),), int(zero_point))

    @staticmethod
    def per_axis(scales: Array, axis: int) -> Quant:
        """One scale per index of `axis`, symmetric (zero point 0)."""
        return Quant(tuple(float(s) for s in np.asarray(scales, np.float32)), 0, axis)

    @property
    def per_tensor_scale(self) -> float:
        """The one scale of a per-tensor quantisation."""
        if self.axis is not None or len(self.scale) != 1:
            raise ValueError(f"expected one scale, have {len(self.scale)} along axis {self.axis}")
        return self.scale[0]

    def scales_of(self, count: int) -> NDArray[np.float32]:
        """`count` scales, shape (count,), float32; a single scale is repeated."""
        scales = np.asarray(self.scale, np.float32)
        return np.broadcast_to(scales, (count,)).copy() if len(scales) == 1 else scales


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape (NHWC for activations, OHWI for weights), element type and quantisation."""

    shape: tuple[int, ...]
    dtype: DType
    quant: Quant | None = None

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory; bits are rounded up to whole bytes."""
        if self.dtype is DType.B1:
            return -(-self.count // 8)
        return self.count * self.dtype.numpy.itemsize

    @property
    def zero_point(self) -> int:
        """Zero point, 0 where there is no quantisation."""
        return self.quant.zero_point if self.quant else 0

    @property
    def scale(self) -> float:
        """The per-tensor scale, 1.0 where there is no quantisation."""
        return self.quant.per_tensor_scale if self.quant else 1.0


@dataclass(frozen=True, slots=True)
class Value:
    """A named value. Constants, trainables and states carry their (initial) `data`."""

    name: str
    type: TensorType
    role: Role
    data: Array | None = field(default=None, compare=False, repr=False)

    def require_data(self) -> Array:
        """The data of a constant, trainable or state value."""
        if self.data is None:
            raise ValueError(f"value '{self.name}' ({self.role.value}) carries no data")
        return self.data


def dequantise(quant: Quant | None, array: Array) -> Array:
    """Dequantise `array` to float64: scale * (q - zero point)."""
    if quant is None:
        return np.asarray(array, np.float64)
    scale = np.asarray(quant.scale, np.float64)
    if quant.axis is not None:
        shape = [1] * array.ndim
        shape[quant.axis] = len(scale)
        scale = scale.reshape(shape)
    return (np.asarray(array, np.float64) - quant.zero_point) * scale
