"""A compiled model as a shared library of this computer, called through ctypes."""

import ctypes
import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from codegen.board import load_board
from codegen.build import C_FLAGS
from codegen.cnames import module_name
from codegen.emit import emit
from codegen.te_model import Model, U
from tests.hostc.kernel_rig import kernel_objects
from tinyengine.compiled import Compiled
from tinyengine.ir.tensor import Array

MARKS = (
    "#include <stdint.h>\nuint32_t marks;\nvoid te_mark(void);\nvoid te_mark(void) { marks++; }\n"
)


@functools.cache
def fast_objects(folder: Path) -> tuple[Path, ...]:
    folder.mkdir(exist_ok=True)
    return kernel_objects(folder, False)


class HostLibrary:
    """One model, initialised."""

    def __init__(self, compiled: Compiled, base: Path, folder: Path, **hyper: Any) -> None:
        self.name = module_name(compiled.name)
        for path, text in emit(compiled, load_board("host"), **hyper).items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (folder / "mark.c").write_text(MARKS)
        sources = ["mark.c", f"src/{self.name}.c", "src/te_session_model.c"]
        argv = ["gcc", *C_FLAGS, "-O1", "-shared", "-fPIC", "-Isrc", "-Isrc/te", *sources]
        argv += [*fast_objects(base / "library-kernels"), "-o", "model.so"]
        subprocess.run(argv, cwd=folder, check=True)
        self.library = ctypes.CDLL(str(folder / "model.so"))
        self.model = Model.in_dll(self.library, "te_session_model")
        self._marks = U.in_dll(self.library, "marks")
        self.call("init")

    def call(self, function: str, *args: Any) -> int:
        """Call <model>_<function>; return its status."""
        return int(getattr(self.library, f"{self.name}_{function}")(*args))

    def train_step(self, x: Array | None, label: int) -> float:
        """One step; None: the input is in place."""
        loss, before = ctypes.c_float(), self._marks.value
        given = None if x is None else x.tobytes()
        assert self.call("train_step", given, U(label), ctypes.byref(loss)) == 0
        assert self._marks.value - before == self.model.train_marks + self._feed_marks(x)
        return loss.value

    def forward(self, x: Array | None) -> bytes:
        """Return the output's bytes, also compared with what stays in the arena."""
        y, before = ctypes.create_string_buffer(self.model.output_bytes), self._marks.value
        assert self.call("forward", None if x is None else x.tobytes(), y) == 0
        assert self._marks.value - before == self.model.forward_marks + self._feed_marks(x)
        assert ctypes.string_at(self.model.output, self.model.output_bytes) == y.raw
        return y.raw

    def put_input(self, x: Array) -> None:
        """Write the input where the session writes it."""
        assert self.model.input_bytes == x.nbytes
        if self.model.feed:
            assert not self.model.input
            assert self.call("feed", U(0), x.tobytes(), U(x.nbytes)) == 0
        else:
            ctypes.memmove(self.model.input, x.tobytes(), x.nbytes)

    def _feed_marks(self, x: Array | None) -> int:
        """Marks of an input that comes with the call, where it is fed."""
        return 2 if self.model.feed and x is not None else 0

    def logits(self) -> Array:
        """Logits of the last step."""
        raw = ctypes.string_at(self.model.logits, 4 * self.model.classes)
        return np.frombuffer(raw, np.float32)

    def state(self) -> bytes:
        """All state tensors, compared with what save() gives."""
        raw = self.saved()
        return raw[:-4] if self.trains else raw

    @property
    def trains(self) -> bool:
        return bool(self.model.logits)

    def saved(self) -> bytes:
        """What save() gives: the tensors of the descriptor's table, and the step count."""
        tensors = self.model.state[: self.model.state_count]
        raw = b"".join(ctypes.string_at(t.data, t.bytes) for t in tensors)
        if self.trains:
            raw += int(self.model.hyper.contents.step).to_bytes(4, sys.byteorder)
        saved = ctypes.create_string_buffer(len(raw))
        assert self.call("save", saved, U(len(raw))) == 0
        assert saved.raw == raw
        return raw
