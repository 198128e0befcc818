"""The reference: the tflite-micro interpreter, one picture at a time."""

from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from tests.needs import package

Array = NDArray[Any]
ARENA_BYTES = 16_000_000


class Reference:
    """Runs the bytes of a .tflite file in tflite-micro."""

    def __init__(self, data: bytes, keep_all: bool = False) -> None:
        package("tflite_micro")
        from tflite_micro import runtime

        kinds = runtime.InterpreterConfig
        kind = kinds.kPreserveAllTensors if keep_all else kinds.kAllocationRecording
        self._net = runtime.Interpreter.from_bytes(
            data, arena_size=ARENA_BYTES, intrepreter_config=kind
        )
        graph = tflite.Model.GetRootAsModel(data, 0).Subgraphs(0)
        operators = range(graph.OperatorsLength())
        self._made = [int(graph.Operators(i).Outputs(0)) for i in operators]

    def output(self, x: Array) -> Array:
        """Rows in, rows out."""
        rows = []
        for row in x:
            self._net.set_input(np.ascontiguousarray(row[None]), 0)
            self._net.invoke()
            rows.append(np.array(self._net.get_output(0)))
        return np.concatenate(rows)

    def intermediates(self, x: Array) -> list[Array]:
        """What each operator makes of one picture (1, ...); needs `keep_all`."""
        self._net.set_input(np.ascontiguousarray(x), 0)
        self._net.invoke()
        return [np.array(self._net.GetTensor(i, 0)["tensor_data"]) for i in self._made]
