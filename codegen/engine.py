"""The generated C, built for this computer, as a training engine: the simulator's bits, far faster.

No session, no port, no link: the folder's model as a shared library, called through ctypes.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codegen.board import load_board
from codegen.build import C_FLAGS
from codegen.build_records import load_records, locked, save_records
from codegen.cnames import module_name
from codegen.compile_c import Unit, compile_units
from codegen.graphs import load_infer_graph, load_train_graph
from codegen.manifest import Manifest, load_manifest
from codegen.paths import firmware_dir
from codegen.te_model import Model, U
from codegen.toolchain import find_toolchain, run_tool
from tinyengine.errors import InternalError, UserError
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType
from tinyengine.sim.engine import prove_equal
from tinyengine.sim.train import Trainer

PROOF_STEPS = 3
_OUT = "build/engine"


def open_engine(
    directory: Path, lr: float, seed: int = 0, *, proof_steps: int = PROOF_STEPS
) -> HostEngine:
    """Build the folder's model for this computer, prove it equal to the simulator, start it afresh.

    directory: what `tinyengine-codegen compile` made, with a scheme that trains. lr, seed: as of
    `Trainer`. proof_steps: steps on random samples, compared bit for bit.

    Raises:
        UserError: not such a folder, nothing learns in it, or there is no C compiler.
        InternalError: the C computes something else than the simulator.
    """
    directory = directory.resolve()
    manifest = load_manifest(directory)
    if not manifest.trains:
        raise UserError(
            f"'{directory}' was compiled with scheme '{manifest.scheme.name}', in which nothing "
            "learns; compile with --update head, bias, full or a scheme of your own"
        )
    graph, infer = load_train_graph(directory), load_infer_graph(directory)
    engine = HostEngine(build_library(directory), manifest, graph, lr, seed)
    trainer = Trainer(graph, lr, seed, infer)
    prove_equal(trainer, engine, _random_samples(graph, proof_steps))
    engine.reset()
    return engine


def build_library(directory: Path) -> Path:
    """Build the folder's model as `build/engine/model.so` with the host's flags; what has not
    changed is not compiled again.

    Raises:
        UserError: there is no C compiler.
        InternalError: the compiler refused our code.
    """
    host = load_board("host")
    gcc = find_toolchain(host.build.toolchain).gcc
    folder = directory / _OUT
    library = folder / "model.so"
    command = [
        *(str(gcc.path), *C_FLAGS, *host.build.cflags, "-fPIC", "-DTE_MARK_SLOTS=0"),
        *("-Isrc", "-Isrc/te"),
    ]
    with locked(folder):
        records, _ = compile_units(
            list(_units(directory)),
            command,
            cwd=directory,
            identity=gcc.version,
            before=load_records(folder / "build.json"),
        )
        fresh = library.with_suffix(".tmp")
        argv = [str(gcc.path), "-shared", *records, "-o", str(fresh)]
        answer = run_tool(argv, timeout_s=300, cwd=directory)
        if answer.returncode:
            raise InternalError(f"the linker refuses '{library}':\n{answer.stderr.strip()[:2000]}")
        fresh.replace(library)
        save_records(folder / "build.json", records)
    return library


def _units(directory: Path) -> Iterator[Unit]:
    """The model and its kernels: of the runtime, which talks to the host, just the layer marks."""
    runtime = {path.name for path in firmware_dir().glob("runtime/*.c")} - {"te_mark.c"}
    for path in sorted((directory / "src").rglob("*.c")):
        if path.name not in runtime:
            name = path.relative_to(directory).as_posix()
            yield Unit(name, f"{_OUT}/obj/{name.removesuffix('.c')}.o")


def _random_samples(graph: Graph, count: int) -> Iterator[tuple[Array, int]]:
    rng = np.random.default_rng(0)
    type_, classes = graph.type(graph.inputs[0]), graph.type(graph.outputs[1]).count
    for _ in range(count):
        yield rng.integers(-128, 128, type_.shape).astype(np.int8), int(rng.integers(classes))


class HostEngine:
    """The C of a folder as a `tinyengine.sim.engine.TrainingEngine`; it starts as compiled."""

    def __init__(
        self, library: Path, manifest: Manifest, graph: Graph, lr: float, seed: int = 0
    ) -> None:
        """Load a copy of `library` of its own: the C holds its state in static memory.

        Raises:
            InternalError: the library is of another model.
        """
        self._library = _load_copy(library)
        self._name = module_name(manifest.model)
        self._model = Model.in_dll(self._library, f"{self._name}_descriptor")
        if bytes(self._model.hash).hex() != manifest.model_hash:
            raise InternalError(f"'{library}' holds another model than the folder's manifest names")
        self._x = graph.type(graph.inputs[0])
        self._types = {v.name: v.type for v in graph.state()}
        output = manifest.output
        self._output = DType(output.device_dtype).numpy
        self.lr, self.seed = lr, seed
        self.reset()

    def reset(self) -> None:
        """Weights and step count back to as compiled; learning rate and seed stay."""
        getattr(self._library, f"{self._name}_init")()

    @property
    def step_count(self) -> int:
        """Steps taken since the start or the last reset."""
        return int(self._model.hyper.contents.step)

    def step(self, x: Array, label: int) -> float:
        """One step at batch 1: x of the model's input shape, label in [0, classes). The loss."""
        hyper = self._model.hyper.contents
        hyper.lr, hyper.seed = self.lr, self.seed & 0xFFFFFFFF
        loss = ctypes.c_float()
        given = np.ascontiguousarray(x, self._x.dtype.numpy)
        self._call("train_step", given, U(label), ctypes.byref(loss))
        return loss.value

    def predict(self, x: Array) -> Array:
        """Classes (n,) of samples (n, *input shape without the batch): the largest output."""
        samples = np.ascontiguousarray(x, self._x.dtype.numpy)
        y = np.empty((len(samples), self._model.output_bytes // self._output.itemsize),
                     self._output)  # fmt: skip
        for sample, row in zip(samples, y, strict=True):
            self._call("forward", sample, row.ctypes.data_as(ctypes.c_void_p))
        classes: Array = np.argmax(y, axis=1)
        return classes

    def _call(self, function: str, x: Array, *args: object) -> None:
        if x.nbytes != self._model.input_bytes:
            raise InternalError(
                f"the input has {x.nbytes} bytes, the model takes {self._model.input_bytes}"
            )
        call = getattr(self._library, f"{self._name}_{function}")
        status = call(x.ctypes.data_as(ctypes.c_void_p), *args)
        if status != 0:
            raise InternalError(f"{function} of the generated C answers with status {status}")

    def state(self) -> dict[str, Array]:
        """Current arrays in state order."""
        tensors = self._model.state[: self._model.state_count]
        return {
            name: np.frombuffer(ctypes.string_at(t.data, t.bytes), type_.dtype.numpy).reshape(
                type_.shape
            )
            for t, (name, type_) in zip(tensors, self._types.items(), strict=True)
        }

    def hash(self) -> str:
        """SHA-256 over the bytes of all state tensors in state order, as hex."""
        digest = hashlib.sha256()
        for tensor in self._model.state[: self._model.state_count]:
            digest.update(ctypes.string_at(tensor.data, tensor.bytes))
        return digest.hexdigest()


def _load_copy(library: Path) -> ctypes.CDLL:
    """Load a library that shares nothing with one loaded before from the same file."""
    with tempfile.TemporaryDirectory(prefix="te-engine-") as folder:
        copy = Path(folder) / library.name
        shutil.copy(library, copy)
        return ctypes.CDLL(str(copy))
