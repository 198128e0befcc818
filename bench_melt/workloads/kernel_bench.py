"""Instructions per multiply-accumulate of single layers, counted on an emulated board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench_melt.device import open_device
from bench_melt.workloads.kernel_check import (
    calls_between_marks,
    require_fast_kernels,
    require_instructions,
    variant_of,
)
from bench_melt.workloads.kernel_layers import LAYER, BenchLayer
from codegen.board import Board
from codegen.compile_model import compile_model
from codegen.manifest import MarkedLayer, load_manifest
from tinyengine.errors import BudgetError, UserError
from tinyengine.ir.graph import Graph, Node
from tinyengine.ops.row_step import RowStep
from tinyengine.update.scheme import ALL, Scheme

_OUR_PHASES = ("forward", "input_gradient", "weight_gradient", "update")


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel on one layer.

    work: "forward", "input_gradient", "weight_gradient" or "update". outputs: elements that it
    writes (an update: that it changes). macs: multiply-accumulates with taps in the padding counted
    like the others; None where the kernel has none. others: what another library takes per
    multiply-accumulate, None where not known.
    """

    layer: str
    work: str
    gradients: str | None
    op: str
    kernels: tuple[str, ...]
    variant: str
    macs: int | None
    outputs: int
    instructions: int
    others: float | None

    @property
    def per_mac(self) -> float | None:
        """Instructions per multiply-accumulate."""
        return self.instructions / self.macs if self.macs else None

    @property
    def per_output(self) -> float:
        """Instructions per element written."""
        return self.instructions / self.outputs


@dataclass(frozen=True, slots=True)
class KernelTable:
    """What was measured, and the layers (with their gradient format) that do not fit the board."""

    rows: tuple[KernelRow, ...]
    left_out: tuple[str, ...]


def measure_kernels(
    layers: Sequence[BenchLayer],
    board: Board,
    gradients: Sequence[str],
    folder: Path,
    told: Callable[[], object],
) -> KernelTable:
    """Compile each layer in a net of its own, take one training step, read the counter at marks.

    Where a weight's gradient and update are one loop, a net that accumulates gradients, which
    keeps them apart, tells what the gradient alone takes.

    gradients: formats to measure the backward kernels in; forward rows come from the first.
    folder: scratch. told: called after each net.

    Raises:
        UserError: nothing counts on this board, or the fast kernels were not compiled in.
    """
    if board.meters.instructions is None:
        raise UserError(f"nothing counts instructions on board '{board.name}'; take a qemu board")
    board = _whole_ram(board)
    rows, left_out = list[KernelRow](), list[str]()
    for number, format_ in enumerate(gradients):
        for layer in layers:
            title = f"{layer.title}, {format_}"
            try:
                found = _measure(layer, board, format_, folder)
                rows += [row for row in found if number == 0 or row.work != "forward"]
                title += ", weight gradient alone"
                if any(row.op == RowStep.kind for row in found):
                    found = _measure(layer, board, format_, folder, accumulate=2)
                    rows += [row for row in found if row.work == "weight_gradient" and row.macs]
            except BudgetError:
                left_out.append(title)
            told()
    require_fast_kernels(board, (function for row in rows for function in row.kernels))
    return KernelTable(tuple(rows), tuple(left_out))


def _whole_ram(board: Board) -> Board:
    """The board without its artificial limit: counts do not depend on it, and more layers fit."""
    if board.memory is None:
        return board
    return board.model_copy(
        update={"memory": board.memory.model_copy(update={"ram_limit_bytes": None})}
    )


def _measure(
    layer: BenchLayer, board: Board, gradients: str, folder: Path, accumulate: int = 1
) -> list[KernelRow]:
    graph = layer.graph()
    learns = any(node.layer == LAYER and f"{LAYER}/weight" in node.inputs for node in graph.nodes)
    scheme = Scheme(
        "bench",
        biases=ALL,
        weights={LAYER: 1.0} if learns else {},
        gradients=gradients,
        accumulate=accumulate,
    )
    made = compile_model(graph, board, scheme, folder)
    assert made.compiled.train is not None
    counts = _count(folder, board)
    manifest = load_manifest(folder)
    train = made.compiled.train.graph
    code = (folder / "src" / f"{manifest.model}.c").read_text(encoding="utf-8")
    intervals = zip(
        manifest.train_layers,
        _nodes_of(train, manifest.train_layers),
        calls_between_marks(code, "run_train"),
        counts,
        strict=True,
    )
    rows = list[KernelRow]()
    for marked, node, functions, taken in intervals:
        if marked.layer == LAYER and marked.phase in _OUR_PHASES and functions:
            row = _row(layer.title, train, marked, node, functions, int(taken))
            rows.append(_compared(row, layer, board, gradients))
    return rows


def _count(folder: Path, board: Board) -> Sequence[int]:
    """Instructions between the marks of one training step on a fake sample."""
    manifest = load_manifest(folder)
    with open_device(folder, manifest, board) as device:
        require_instructions(board, folder / "build" / board.name / "firmware.elf")
        if device.counter is None:
            raise UserError(
                "the QEMU plug-in that counts instructions cannot be used here; "
                "'bench-melt doctor' says why"
            )
        label = device.session.fill(0, 0)
        device.counter.read()
        device.session.train(label)
        return list(np.diff(device.counter.read()))


def _nodes_of(graph: Graph, marked: Sequence[MarkedLayer]) -> Iterator[Node]:
    """The graph's nodes that the marks lie between; what emits no code has none."""
    nodes = iter(graph.nodes)
    for mark in marked:
        yield next(n for n in nodes if (n.layer, n.op.kind) == (mark.layer, mark.op))


def _row(
    title: str,
    graph: Graph,
    marked: MarkedLayer,
    node: Node,
    functions: tuple[str, ...],
    instructions: int,
) -> KernelRow:
    sig = graph.signature(node)
    changed = sig.ins[2] if isinstance(node.op, RowStep) else sig.outs[0]
    return KernelRow(
        layer=title,
        work=marked.phase,
        gradients=None,
        op=node.op.kind,
        kernels=tuple(dict.fromkeys(functions)),
        variant=variant_of(functions),
        macs=node.op.macs(sig) or None,
        outputs=changed.count,
        instructions=instructions,
        others=None,
    )


def _compared(row: KernelRow, layer: BenchLayer, board: Board, gradients: str) -> KernelRow:
    """The row with its gradient format, and what others take for the same work."""
    format_ = None if row.work == "forward" else gradients
    known = layer.others.get(row.work, {}) if row.macs and format_ in (None, "f32") else {}
    return replace(row, gradients=format_, others=known.get(board.core))
