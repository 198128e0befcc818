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
from bench_melt.workloads.kernel_layers import BEFORE, LAYER, BenchLayer
from codegen.board import Board
from codegen.compile_model import compile_model
from codegen.manifest import MarkedLayer, load_manifest
from codegen.statements import operator_name
from tinyengine.errors import BudgetError, UserError
from tinyengine.ir.graph import Graph, Node
from tinyengine.ops.conv2d import Conv2d
from tinyengine.ops.row_step import RowStep
from tinyengine.update.scheme import Scheme


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

    Forward and input gradient are those of a frozen layer. Where a weight's gradient and update are
    one loop, a net that accumulates gradients, which keeps them apart, tells what the gradient
    alone takes.

    gradients: formats to measure the backward kernels in; forward rows come from the first.
    folder: scratch. told: called after each net.

    Raises:
        UserError: nothing counts on this board, or the fast kernels were not compiled in.
    """
    if board.meters.instructions is None:
        raise UserError(f"nothing counts instructions on board '{board.name}'; take a qemu board")
    board = board.without_ram_limit()  # so that more layers fit
    rows, left_out = list[KernelRow](), list[str]()
    for number, format_ in enumerate(gradients):
        for layer in layers:
            for run in _runs(layer, format_):
                try:
                    found = _measure(layer, board, run, folder)
                except BudgetError:
                    left_out.append(f"{layer.title}, {', '.join(run.works)} {format_}")
                    continue
                rows += [row for row in found if number == 0 or row.work != "forward"]
            told()
    require_fast_kernels(board, (function for row in rows for function in row.kernels))
    return KernelTable(tuple(rows), tuple(left_out))


@dataclass(frozen=True, slots=True)
class _Run:
    """A net with a scheme, and the rows that are taken from it."""

    scheme: Scheme
    works: tuple[str, ...]
    multiplies: bool = False  # only kernels that do


def _runs(layer: BenchLayer, gradients: str) -> Iterator[_Run]:
    """Frozen for the way through, since most layers of a sparse scheme are; then learning."""
    frozen = Scheme("bench", biases=(BEFORE,), gradients=gradients)
    yield _Run(frozen, ("forward", "input_gradient"))
    if any(f"{LAYER}/weight" in node.inputs for node in layer.graph().nodes):
        learning = replace(frozen, biases=(LAYER,), weights={LAYER: 1.0})
        yield _Run(learning, ("weight_gradient", "update"))
        if any(isinstance(node.op, Conv2d) and node.layer == LAYER for node in layer.graph().nodes):
            yield _Run(replace(learning, accumulate=2), ("weight_gradient",), multiplies=True)


def _measure(layer: BenchLayer, board: Board, run: _Run, folder: Path) -> list[KernelRow]:
    graph, scheme = layer.graph(), run.scheme
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
        if node and marked.layer == LAYER and marked.phase in run.works and functions:
            row = _row(layer.title, train, marked, node, functions, int(taken))
            if row.macs or not run.multiplies:
                rows.append(_compared(row, layer, board, scheme.gradients))
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


def _nodes_of(graph: Graph, marked: Sequence[MarkedLayer]) -> Iterator[Node | None]:
    """The graph's nodes that the marks lie between; None for several that run row by row."""
    at = 0
    for mark in marked:
        found = (
            index
            for index, node in enumerate(graph.nodes[at:], at)
            if (node.layer, operator_name(node.op)) == (mark.layer, mark.op)
        )
        index = next(found, None)
        at = at if index is None else index + 1
        yield None if index is None else graph.nodes[index]


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
        op=marked.op,
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
