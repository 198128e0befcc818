"""A compiled model as C files: a pure function, sorted, with no time and no place in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import numpy as np

from codegen.board import Board
from codegen.calls import Table, ctype, real
from codegen.cnames import Names, module_name, string
from codegen.kernels import Variant, source_of, variant_for
from codegen.manifest import MarkedLayer
from codegen.paths import firmware_dir, templates_dir
from codegen.places import Places, packed
from codegen.statements import Statements, Step, array_text
from codegen.streams import feed_function, plan_steps
from tinyengine.compiled import Compiled
from tinyengine.ir.tensor import DType
from tinyengine.plan.plan import Plan, Slot

DEFAULT_LR = 0.01
FEED_STATE = "fed"  # the te_feed of a model whose input arrives row by row
_STEP_BYTES = 4  # of the step count, which save and load move too
_TE_TYPES = {
    DType.I8: "TE_I8",
    DType.I16: "TE_I16",
    DType.I32: "TE_I32",
    DType.U32: "TE_U32",
    DType.F32: "TE_F32",
    DType.B1: "TE_B1",
}


@dataclass(frozen=True, slots=True)
class Code:
    """A model's code before it is laid out in files."""

    places: Places
    statements: Statements
    forward: tuple[Step, ...]
    train: tuple[Step, ...]
    feed: str | None  # the function that takes the input row by row; None: it is whole
    constants: tuple[str, ...]  # definitions
    constant_bytes: int  # weights, tables and initial state: data in flash


@dataclass(frozen=True, slots=True)
class _State:
    """One state tensor as the template sees it."""

    name: str
    array: str
    initial: str | None
    element: str
    te_type: str
    count: int
    nbytes: int
    offset: int


def emit(
    compiled: Compiled, board: Board, *, lr: float = DEFAULT_LR, seed: int = 0
) -> dict[str, str]:
    """Return path -> text of `src/`: the model, its session file, kernels, headers and runtime.

    lr, seed: what the device starts with; both can be changed while it runs.

    Raises:
        UserError: a layer is beyond what the kernels can compute; the message names it.
    """
    name = module_name(compiled.name)
    code = write_code(compiled, variant_for(board.features))
    facts = _facts(compiled, code, lr, seed)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    files = {
        f"src/{name}.c": environment.get_template("model.c.j2").render(facts),
        f"src/{name}.h": environment.get_template("model.h.j2").render(facts),
        "src/te_session_model.c": environment.get_template("te_session_model.c.j2").render(facts),
    }
    files.update(_firmware(code.statements.functions))
    return dict(sorted(files.items()))


def marked_layers(
    compiled: Compiled, variant: Variant = "portable"
) -> tuple[tuple[MarkedLayer, ...], tuple[MarkedLayer, ...]]:
    """Return what runs between neighbouring marks: of a forward pass, and of a training step."""
    code = write_code(compiled, variant)
    forward, train = (
        tuple(MarkedLayer(layer=s.layer, op=s.op, phase=s.phase) for s in steps)
        for steps in (code.forward, code.train)
    )
    return forward, train


def constant_bytes(compiled: Compiled, variant: Variant = "portable") -> int:
    """Return the bytes of constant data in flash: weights, tables, initial state; no code."""
    return write_code(compiled, variant).constant_bytes


def write_code(compiled: Compiled, variant: Variant = "portable") -> Code:
    """Return the model's statements and the constants they use."""
    name, names = module_name(compiled.name), Names()
    places = Places(compiled, f"{name}_arena", names)
    statements = Statements(places, names, f"&{name}_hyper", variant)
    feeding = compiled.feeding
    feed = feed_function(statements, feeding, FEED_STATE) if feeding.fed else None
    forward = plan_steps(statements, compiled.infer, feeding)
    train = plan_steps(statements, compiled.train, feeding) if compiled.train else ()
    tables = [
        (c_name, value) for c_name, value in places.constants.items() if c_name in statements.used
    ]
    tables += [(s.initial, s.value) for s in places.state if s.initial]
    texts = tuple(
        array_text(c_name, ctype(v.type), Table(packed(v.require_data(), v.type)))
        for c_name, v in tables
    )
    total = statements.table_bytes + sum(v.type.nbytes for _, v in tables)
    return Code(places, statements, forward, train, feed, texts, total)


def _facts(compiled: Compiled, code: Code, lr: float, seed: int) -> dict[str, object]:
    """Everything that the templates print."""
    infer, train = compiled.infer, compiled.train
    output = infer.graph.type(infer.graph.outputs[0])
    x = infer.graph.inputs[0]
    states = _states(code.places)
    learned_bytes = sum(s.nbytes for s in states)
    return {
        "name": module_name(compiled.name),
        "title": string(compiled.name),
        "hash": ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(compiled.hash)),
        "arena_bytes": max(compiled.arena_bytes, 8),
        "places": code.places,
        "declarations": [*code.constants, *code.statements.declarations],
        "forward": code.forward,
        "train": code.train,
        "trains": train is not None,
        "input": compiled.feeding.slots.get(x),
        "infer_input": infer.slots.get(x),
        "input_bytes": infer.graph.type(x).nbytes,
        "input_rows": infer.graph.type(x).shape[1] if code.feed else None,
        "feed": code.feed,
        "feed_state": FEED_STATE,
        "output": infer.slots[infer.graph.outputs[0]],
        "output_bytes": output.nbytes,
        "output_type": _TE_TYPES[output.dtype],
        "classes": classes_of(compiled),
        "loss": _output(train, 0),
        "logits": _output(train, 1),
        "states": states,
        "state_bytes": learned_bytes + (_STEP_BYTES if train else 0),
        "step_offset": learned_bytes,
        "lr": real(lr),
        "seed": seed & 0xFFFFFFFF,
        "uses_memcpy": "memcpy" in code.statements.functions,
    }


def _output(plan: Plan | None, index: int) -> Slot | None:
    return plan.slots[plan.graph.outputs[index]] if plan else None


def classes_of(compiled: Compiled) -> int:
    """Return how many classes the model tells apart; 0 when its output is not one row."""
    if compiled.train is not None:
        return compiled.train.graph.type(compiled.train.graph.outputs[1]).count
    output = compiled.infer.graph.type(compiled.infer.graph.outputs[0])
    is_row = bool(output.shape) and output.count == output.shape[-1] > 1
    return output.count if is_row else 0


def _states(places: Places) -> list[_State]:
    offsets = np.cumsum([0, *(s.nbytes for s in places.state)]).tolist()
    return [
        _State(
            string(s.value.name),
            s.array,
            s.initial,
            ctype(s.value.type),
            _TE_TYPES[s.value.type.dtype],
            packed(s.value.require_data(), s.value.type).size,
            s.nbytes,
            offset,
        )
        for s, offset in zip(places.state, offsets, strict=False)
    ]


def _firmware(functions: Sequence[str] | set[str]) -> dict[str, str]:
    """Copies of the kernels in use, all headers and the runtime."""
    paths = [source_of(f) for f in functions if f.startswith("te_")]
    paths += [*firmware_dir().glob("include/*.h"), *firmware_dir().glob("runtime/*.c")]
    return {f"src/te/{path.name}": path.read_text(encoding="utf-8") for path in paths}
