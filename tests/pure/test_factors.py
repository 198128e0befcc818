"""Scales so far apart that no fixed-point factor bridges them are refused on import."""

import pytest

from tinyengine.errors import ModelError
from tinyengine.ir.graph import Builder
from tinyengine.ir.tensor import DType, Quant, TensorType
from tinyengine.ir.verify import Stage, verify
from tinyengine.ops.add import Add
from tinyengine.ops.mean import Mean
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Op


def tensor(shape: tuple[int, ...], scale: float) -> TensorType:
    return TensorType(shape, DType.I8, Quant.per_tensor(scale))


@pytest.mark.parametrize("op", [Mean(1, 2), Mul(), Add()], ids=lambda op: op.kind)
def test_a_factor_beyond_fixed_point_is_the_models_fault(op: Op) -> None:
    b = Builder("far")
    x = b.input("x", tensor((1, 2, 2, 3), 1e20))
    operands = (x,) if isinstance(op, Mean) else (x, x)
    shape = (1, 3) if isinstance(op, Mean) else (1, 2, 2, 3)
    b.outputs = list(b.node(op, operands, [("y", tensor(shape, 1e-20))], "y"))
    with pytest.raises(ModelError, match="needs a requantisation factor of .*, not in"):
        verify(b.build(), Stage.IMPORT)
