"""Model, scheme and board in; a generated folder out: the whole of `compile`, as a function."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from codegen.board import Board
from codegen.build import MANIFEST
from codegen.costs import target_for
from codegen.emit import constant_bytes, emit, marked_layers
from codegen.folder import Folder
from codegen.graphs import INFER_GRAPH, TRAIN_GRAPH
from codegen.kernels import Variant, variant_for
from codegen.manifest import (
    Border,
    Manifest,
    SchemeEntry,
    StateTensor,
    write_manifest,
)
from codegen.report import peak_consumers, render
from tinyengine.compiled import Compiled, Dump, compile_graph
from tinyengine.errors import BudgetError
from tinyengine.importers import load_model
from tinyengine.ir import text
from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import Role
from tinyengine.plan.place import Placer, place
from tinyengine.plan.plan import Plan
from tinyengine.update.scheme import Learning, Scheme, load_scheme

REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class CompileResult:
    """A generated folder and the figures of the contract (bytes and MACs)."""

    directory: Path
    compiled: Compiled
    figures: dict[str, int]

    @property
    def report(self) -> Path:
        """Where report.html lies."""
        return self.directory / REPORT


def compile_model(
    model: str | Graph,
    board: Board,
    update: str | Scheme,
    out: Path,
    classes: int | None = None,
    seed: int = 0,
    dump_dir: Path | None = None,
    placer: Placer = place,
    fed: bool = False,
) -> CompileResult:
    """Generate the folder `out` for `board`; nothing is written unless all of it succeeds.

    placer, fed: as of `make_plan`.

    Raises:
        UserError: the model, the scheme, the board's budget or the folder does not do.
    """
    folder = Folder(out, MANIFEST)
    graph = load_model(model) if isinstance(model, str) else model
    scheme = load_scheme(update) if isinstance(update, str) else update
    variant = variant_for(board.features)
    target, dump = target_for(board), dumper(dump_dir)
    compiled = compile_graph(graph, scheme, classes, seed, dump, target, placer, fed)
    figures = figures_of(compiled, variant)
    check_budget(compiled, board)
    files = dict(emit(compiled, board))
    files[MANIFEST] = write_manifest(_manifest(compiled, board, scheme, seed, figures))
    files[INFER_GRAPH] = text.write(compiled.infer.graph)
    if compiled.train is not None:
        files[TRAIN_GRAPH] = text.write(compiled.train.graph)
    files[REPORT] = render(compiled, board.name, figures)
    folder.write(files)
    return CompileResult(out, compiled, figures)


def float_warning(scheme: Scheme, board: Board) -> str | None:
    """What float32 gradients cost on a board without a floating-point unit; None where they do."""
    if not scheme.trains or scheme.gradients != "f32" or "fpu" in board.features:
        return None
    return (
        f"board '{board.name}' has no floating-point unit: every multiply-add of the float32 "
        "gradients is two calls of the compiler's software routines, tens of instructions where an "
        'FPU takes one or two. gradients = "s16" (or --gradients s16) keeps them in integers'
    )


def portable_note(board: Board) -> str | None:
    """Return what a core without DSP instructions gets; None for other cores and for the host."""
    if board.is_host or variant_for(board.features) != "portable":
        return None
    return (
        f"board '{board.name}' has no DSP instructions: its code takes the portable kernels, with "
        "the same bits as the fast ones and several times their instructions. If the core has "
        'them, add "dsp" (or "mve") to the board\'s features'
    )


def dumper(folder: Path | None) -> Dump:
    """What writes every stage as text into `folder`, numbered in order; nothing without one."""
    count = itertools.count()

    def dump(stage: str, graph: Graph) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{next(count):02}-{stage}.te"
            path.write_text(text.write(graph, data=False), encoding="utf-8")

    return dump


def figures_of(compiled: Compiled, variant: Variant = "portable") -> dict[str, int]:
    """The contract's figures: arena, trainable, flash and lower-bound bytes; MACs."""
    forward = _macs(compiled.infer.graph, compiled.infer.graph.nodes)
    train = _macs(compiled.train.graph, compiled.train.graph.nodes) if compiled.train else forward
    shared = _macs(compiled.train.graph, _forward_nodes(compiled.train)) if compiled.train else 0
    return {
        "arena_bytes": compiled.arena_bytes,
        "trainable_bytes": compiled.trainable_bytes,
        "flash_bytes": constant_bytes(compiled, variant),
        "macs_forward": forward,
        "macs_backward": train - shared if compiled.train else 0,
        "lower_bound_bytes": compiled.lower_bound_bytes,
    }


def _macs(graph: Graph, nodes: Iterable[Node]) -> int:
    return sum(node.op.macs(graph.signature(node)) for node in nodes)


def _forward_nodes(plan: Plan) -> list[Node]:
    values = plan.graph.values
    return [n for n in plan.graph.nodes if values[n.outputs[0]].role is Role.ACTIVATION]


def check_budget(compiled: Compiled, board: Board) -> None:
    """Refuse what cannot fit: arena and trainables alone against the board's RAM.

    Raises:
        BudgetError: names the five largest consumers at the peak and the lower bound.
    """
    limit = board.ram_usable_bytes
    need = compiled.arena_bytes + compiled.trainable_bytes
    if limit is None or need <= limit:
        return
    consumers = "; ".join(
        f"'{c.name}' of layer '{c.layer}' {c.nbytes} B" for c in peak_consumers(compiled)
    )
    raise BudgetError(
        f"model '{compiled.name}' with scheme '{compiled.learning.scheme.name}' needs "
        f"{compiled.arena_bytes} B of arena and {compiled.trainable_bytes} B for what learns; "
        f"board '{board.name}' has {limit} B of RAM. Largest at the peak: {consumers}. No "
        f"placement of this schedule needs less than {compiled.lower_bound_bytes} B of arena: "
        "train fewer layers (smaller `biases`, lower ratios) or take a board with more RAM"
    )


def _manifest(
    compiled: Compiled, board: Board, scheme: Scheme, seed: int, figures: dict[str, int]
) -> Manifest:
    graph = compiled.infer.graph
    state = (compiled.train or compiled.infer).graph.state()
    out_type = graph.type(graph.outputs[0])
    forward, train = marked_layers(compiled, variant_for(board.features))
    is_row = out_type.count == out_type.shape[-1] and out_type.count > 1
    return Manifest(
        tool_version=metadata.version("tinyengine-mcu"),
        model=compiled.name,
        model_hash=compiled.hash,
        board=board.name,
        scheme=_scheme_entry(compiled.learning, (compiled.train or compiled.infer).graph),
        classes=out_type.count if is_row else 0,
        seed=seed,
        input=_border(graph, graph.inputs[0], "input_dtype"),
        input_fed=compiled.feeding.fed is not None,
        output=_border(graph, graph.outputs[0], "output_dtype"),
        state=tuple(
            StateTensor(name=v.name, shape=v.type.shape, dtype=v.type.dtype.value) for v in state
        ),
        forward_layers=forward,
        train_layers=train,
        **figures,
    )


def _scheme_entry(learning: Learning, graph: Graph) -> SchemeEntry:
    scheme = learning.scheme
    return SchemeEntry(
        name=scheme.name,
        head=scheme.head,
        rounding=scheme.rounding.value,
        gradients=scheme.gradients,
        optimizer=scheme.optimizer,
        accumulate=scheme.accumulate,
        biases=tuple(sorted(learning.biases)),
        weights={w: len(c) / _channels(graph, w) for w, c in sorted(learning.weights.items())},
    )


def _channels(graph: Graph, weight: str) -> int:
    frozen = f"{weight}.frozen"
    parts = (weight, frozen) if frozen in graph.values else (weight,)
    return sum(graph.type(name).shape[-1] for name in parts)


def _border(graph: Graph, name: str, key: str) -> Border:
    type_ = graph.type(name)
    return Border(
        shape=type_.shape,
        dtype=graph.meta.get(key, type_.dtype.value),
        device_dtype=type_.dtype.value,
        scale=type_.quant.per_tensor_scale if type_.quant else None,
        zero_point=type_.quant.zero_point if type_.quant else None,
    )
