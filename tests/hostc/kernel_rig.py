"""Cases as one compiled model, its C, and a process that runs it on a given arena."""

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codegen.board import load_board
from codegen.build import C_FLAGS, SANITIZE_FLAGS
from codegen.emit import emit
from codegen.kernels import Variant, kernels_for
from codegen.paths import firmware_dir
from tests.hostc.kernel_cases import Case, Operand
from tinyengine.compiled import Compiled
from tinyengine.ir.graph import Builder, Graph, Node
from tinyengine.ir.tensor import Array, DType, Role, TensorType
from tinyengine.ops.layout import Reshape
from tinyengine.ops.loss import SoftmaxXent
from tinyengine.plan.plan import Plan, Slot
from tinyengine.plan.scratch import Kernels, constants
from tinyengine.sim.run_plan import pack
from tinyengine.update.scheme import Learning, Scheme

NAME = "cases"
GAP = 24  # bytes between slots: a store out of bounds shows
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "te_mark.h"
#include "cases.h"

static uint32_t marks;
void te_mark(void) { marks++; }

int main(int argc, char **argv)
{
    static uint8_t state[CASES_STATE_BYTES + 1];
    const uint32_t lr = (uint32_t)strtoul(argv[2], NULL, 0);
    float loss = 0.0f;
    if (argc != 5 || fread(cases_arena, 1, ARENA_BYTES, stdin) != ARENA_BYTES) {
        return 2;
    }
    cases_init();
    memcpy(&cases_hyper.lr, &lr, sizeof lr);
    cases_hyper.seed = (uint32_t)strtoul(argv[3], NULL, 0);
    cases_hyper.step = (uint32_t)strtoul(argv[4], NULL, 0);
    if (cases_train_step(NULL, (uint32_t)strtoul(argv[1], NULL, 0), &loss) != TE_OK ||
        marks != cases_descriptor.train_marks ||
        cases_save(state, CASES_STATE_BYTES) != TE_OK) {
        return 3;
    }
    fwrite(cases_arena, 1, ARENA_BYTES, stdout);
    fwrite(state, 1, CASES_STATE_BYTES, stdout);
    return 0;
}
"""


@dataclass(frozen=True)
class Rig:
    """Cases laid out in an arena: what is in it before a run."""

    cases: tuple[Case, ...]
    compiled: Compiled
    before: Array

    @property
    def plan(self) -> Plan:
        assert self.compiled.train is not None
        return self.compiled.train


class _Layout:
    """Gives every value a slot of its own, with gaps."""

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}
        self.scratch: list[Slot | None] = []
        self.top = 0

    def slot(self, nbytes: int) -> Slot:
        made = Slot(self.top, nbytes)
        self.top = -(-(self.top + nbytes + GAP) // 8) * 8
        return made


def make_rig(cases: list[Case], seed: int, variant: Variant = "portable") -> Rig:
    b, layout, kernels = Builder(NAME), _Layout(), kernels_for(variant)
    layout.slots["x"] = layout.slot(8)
    b.input("x", TensorType((1, 8), DType.I8))
    for name, dtype in (
        ("label", DType.U32),
        ("lr", DType.F32),
        ("seed", DType.U32),
        ("step", DType.U32),
    ):
        b.input(name, TensorType((), dtype))
    data: dict[str, Array] = {}
    for number, case in enumerate(cases):
        _add(b, layout, data, case, number, kernels)
    loss = next(n for n in b.nodes if isinstance(n.op, SoftmaxXent))
    b.outputs = [loss.outputs[0], loss.outputs[1]]
    train = b.build()
    for node in train.nodes:
        scratch = kernels.scratch(node.op, train.signature(node), constants(train, node))
        layout.scratch.append(layout.slot(scratch) if scratch else None)
    infer, infer_slots = _inference(layout)
    size = layout.top
    before = np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)
    for name, array in data.items():
        slot = layout.slots[name]
        before[slot.offset : slot.end] = pack(array, train.type(name))
    learning = Learning(Scheme("cases"), frozenset(), {})
    plans = (
        Plan(infer, infer_slots, (None,), size, 0),
        Plan(train, layout.slots, tuple(layout.scratch), size, 0),
    )
    return Rig(tuple(cases), Compiled(NAME, *plans, "ab" * 32, learning, infer), before)


def _inference(layout: _Layout) -> tuple[Graph, dict[str, Slot]]:
    b = Builder(NAME)
    b.input("x", TensorType((1, 8), DType.I8))
    b.outputs = list(b.node(Reshape(), ["x"], [("y", TensorType((1, 1, 8), DType.I8))], "copy"))
    return b.build(), {"x": layout.slots["x"], "y": layout.slot(8)}


def _add(
    b: Builder, layout: _Layout, data: dict[str, Array], case: Case, number: int, kernels: Kernels
) -> None:
    layer = f"case{number}"
    names = []
    for index, operand in enumerate(case.ins):
        # every other case has its data in flash, of the rest half only its bias and scaling
        whole = number % 2 == 0 or (number % 4 == 1 and operand.type.dtype is DType.I32)
        constant = whole and index > 0 and operand.type.dtype is not DType.B1
        names.append(_operand(b, layout, data, operand, f"{layer}/{index}", constant))
    sig = case.signature()
    olds = [n for n, x in zip(names, case.ins, strict=True) if x.is_state]
    outs = [f"{layer}.out{i}" for i in range(len(case.outs))]
    for name, type_ in zip(outs, case.outs, strict=True):
        b.value(name, type_, Role.GRADIENT)
    shared = [names[i] for i in kernels.inplace(case.op, sig, ()) if names[i] in layout.slots]
    shared = [n for n in shared if b.type(n).nbytes == case.outs[0].nbytes]
    made = outs[: len(outs) - len(olds)]  # next states come last
    b.updates += zip(olds, outs[len(made) :], strict=True)
    for index, name in enumerate(made):
        host = shared[number % len(shared)] if shared and index == 0 and number % 3 else None
        layout.slots[name] = layout.slots[host] if host else layout.slot(b.type(name).nbytes)
    b.nodes.append(Node(case.op, tuple(names), tuple(outs), layer))


def _operand(
    b: Builder, layout: _Layout, data: dict[str, Array], operand: Operand, name: str, flash: bool
) -> str:
    if operand.scalar:
        return operand.scalar
    assert operand.data is not None
    if operand.is_state or flash:
        role = Role.STATE if operand.is_state else Role.CONSTANT
        return b.value(name, operand.type, role, operand.data)
    layout.slots[name] = layout.slot(operand.type.nbytes)
    data[name] = operand.data
    return b.input(name, operand.type)


@functools.cache
def kernel_objects(folder: Path, sanitize: bool) -> tuple[Path, ...]:
    """Compile every kernel; with sanitizers, or as fast as the host's board has it."""
    flags = (*C_FLAGS, "-fPIC", *(("-O1", *SANITIZE_FLAGS) if sanitize else ("-O3",)))
    into = folder / ("sanitize" if sanitize else "fast")
    into.mkdir()
    sources = sorted((firmware_dir() / "kernels").rglob("*.c"))
    include = f"-I{firmware_dir() / 'include'}"
    subprocess.run(["gcc", *flags, include, "-c", *sources], cwd=into, check=True)
    return tuple(into / f"{source.stem}.o" for source in sources)


def build_rig(
    rig: Rig, folder: Path, objects: tuple[Path, ...], sanitize: bool, board: str = "host"
) -> Path:
    """Emit the cases as for `board` and link them with the kernels; return the program."""
    folder.mkdir()
    for name, text in emit(rig.compiled, load_board(board)).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "main.c").write_text(MAIN)
    extra = SANITIZE_FLAGS if sanitize else ()
    argv = ["gcc", *C_FLAGS, "-O1", *extra, f"-DARENA_BYTES={rig.compiled.arena_bytes}u"]
    argv += ["-Isrc", "-Isrc/te", "main.c", f"src/{NAME}.c", *objects, "-o", "rig"]
    subprocess.run(argv, cwd=folder, check=True)
    return folder / "rig"


def run_rig(rig: Rig, program: Path, scalars: dict[str, Any]) -> tuple[Array, dict[str, Array]]:
    """Run one step; return the arena afterwards, and the states by name as bytes."""
    lr = int(scalars["lr"].view(np.uint32))
    numbers = (scalars["label"], lr, scalars["seed"], scalars["step"])
    answer = subprocess.run(
        [program, *(str(int(n)) for n in numbers)],
        input=rig.before.tobytes(),
        capture_output=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr.decode()[:4000]
    return split_answer(rig, answer.stdout)


def split_answer(rig: Rig, answer: bytes) -> tuple[Array, dict[str, Array]]:
    """The arena, and the states by name, from a program's answer."""
    raw = np.frombuffer(answer, np.uint8)
    size = rig.compiled.arena_bytes
    found, at = {}, size
    for value in rig.plan.graph.state():
        found[value.name] = raw[at : at + value.type.nbytes]
        at += value.type.nbytes
    assert at + 4 == len(raw)  # the step count
    return raw[:size], found
