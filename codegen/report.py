"""report.html: where every byte of the arena is at every step, the layers, the totals."""

from __future__ import annotations

from dataclasses import dataclass

import jinja2

from codegen.layers import layer_rows
from tinyengine.compiled import Compiled
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Role
from tinyengine.plan.lifetime import last_uses
from tinyengine.plan.plan import Plan, Slot

WIDTH, HEIGHT = 1000.0, 360.0


@dataclass(frozen=True, slots=True)
class Block:
    """One value in the picture; x, y, w, h in picture units."""

    kind: str
    x: float
    y: float
    w: float
    h: float
    label: str


@dataclass(frozen=True, slots=True)
class Consumer:
    """A value alive at the peak."""

    name: str
    layer: str
    nbytes: int


def alive(plan: Plan) -> list[tuple[str, Slot, int, int]]:
    """(name, slot, first step, last step) of every arena value, line buffer and scratch of a plan.

    The nodes of a stream run together: what lives in one lives in all of them.
    """
    graph, last = plan.graph, last_uses(plan.graph)
    made = {out: i for i, node in enumerate(graph.nodes) for out in node.outputs}
    begin, end = list(range(len(graph.nodes))), list(range(len(graph.nodes)))
    for s in plan.streams:
        begin[s.first : s.end] = [s.first] * (s.end - s.first)
        end[s.first : s.end] = [s.end - 1] * (s.end - s.first)
    rows = [
        (n, slot, begin[made[n]] if n in made else 0, end[last[n]])
        for n, slot in plan.slots.items()
    ]
    streamed = {s.first for s in plan.streams}
    rows += [
        (f"scratch of {graph.nodes[i].layer}", slot, i, i)
        for i, slot in enumerate(plan.scratch)
        if slot and i not in streamed
    ]
    rows += [
        (f"scratch of {graph.nodes[int(n[1:])].layer}" if n[0] == "#" else f"lines of {n}",
         plan.line(s, n), s.first, s.end - 1)
        for s in plan.streams for n in s.lines
    ]  # fmt: skip
    return rows


def peak_consumers(compiled: Compiled, count: int = 5) -> list[Consumer]:
    """The largest values alive in the step of the larger plan that needs most, biggest first."""
    plans = [p for p in (compiled.infer, compiled.train) if p is not None]
    plan = max(plans, key=lambda p: p.arena_bytes)
    rows = alive(plan)
    steps = range(len(plan.graph.nodes))
    peak = max(
        steps,
        key=lambda i: _covered([s for _, s, first, last in rows if first <= i <= last]),
        default=0,
    )
    producers = plan.graph.producers()
    # values that follow one another in place are one block of memory, called as the largest
    now = [(name, slot) for name, slot, first, last in rows if first <= peak <= last]
    now.sort(key=lambda item: item[1].nbytes)
    blocks = {slot.offset: (name, slot) for name, slot in now}
    found = [
        Consumer(name, producers[name].layer if name in producers else "input", slot.nbytes)
        for name, slot in blocks.values()
    ]
    return sorted(found, key=lambda c: (-c.nbytes, c.name))[:count]


def _covered(slots: list[Slot]) -> int:
    """Bytes in at least one of the slots."""
    total = end = 0
    for slot in sorted(slots, key=lambda s: s.offset):
        total += max(slot.end - max(slot.offset, end), 0)
        end = max(end, slot.end)
    return total


def render(compiled: Compiled, board: str, figures: dict[str, int]) -> str:
    """The report as one self-contained page. figures: name -> bytes or MACs, of `compile`."""
    pictures = [_picture("Memory of one inference", compiled.infer)]
    if compiled.train is not None:
        pictures.insert(0, _picture("Memory of one training step", compiled.train))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("codegen", "templates"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    state = (compiled.train or compiled.infer).graph.state()
    return (
        environment.get_template("report.html.j2").render(
            title=f"{compiled.forward.name}: memory plan",
            board=board,
            hash=compiled.hash,
            scheme=compiled.learning.scheme.name,
            totals=[*_totals(figures), placement(compiled)],
            pictures=pictures,
            peak=peak_consumers(compiled),
            layers=_layers(compiled),
            state=[
                {
                    "name": v.name,
                    "dtype": v.type.dtype.value,
                    "nbytes": v.type.nbytes,
                    "shape": "x".join(map(str, v.type.shape)),
                }
                for v in state
            ],
        )
        + "\n"
    )


_NOTES = {
    "arena_bytes": "activations, gradients and scratch, of the larger plan",
    "trainable_bytes": "what learns, in RAM",
    "lower_bound_bytes": "most bytes alive in one step, or one row of a stream: no placement needs "
    "fewer",
    "flash_bytes": "constants and initial values; the code comes on top (see build)",
    "macs_forward": "multiply-accumulates of one inference",
    "macs_backward": "multiply-accumulates that one training step adds",
}


def _totals(figures: dict[str, int]) -> list[tuple[str, str, str]]:
    rows = [(name, f"{value:,}", _NOTES[name]) for name, value in figures.items()]
    gap = figures["arena_bytes"] - figures["lower_bound_bytes"]
    return [*rows, ("gap", f"{gap:,}", "arena above the lower bound, bytes")]


def placement(compiled: Compiled) -> tuple[str, str, str]:
    """Whether fewer bytes of arena would do for the same blocks: name, verdict, grounds."""
    who, bound = compiled.larger.placer, compiled.placement_bound_bytes
    if compiled.arena_bytes == bound:
        why = f"by {who}; no placement of these blocks, streams' line buffers whole, ends lower"
        return "placement", "proven optimal", why
    above = (compiled.arena_bytes - bound) / bound
    why = f"by {who}; any placement of these blocks needs at least {bound:,} B: {above:.1%} above"
    return "placement", "not proven optimal", why


def _layers(compiled: Compiled) -> list[dict[str, object]]:
    learning, rows = compiled.learning, list[dict[str, object]]()
    for row in layer_rows(compiled.forward):
        parts = []
        if f"{row.name}/bias" in learning.biases:
            parts.append("bias")
        channels = learning.weights.get(f"{row.name}/weight")
        if channels is not None:
            parts.append(f"weight, {len(channels)} of {row.input_shape[-1]} input channels")
        rows.append(
            {
                "name": row.name,
                "op": row.op,
                "output_shape": row.output_shape,
                "macs": f"{row.macs:,}",
                "parameters": f"{row.parameters:,}",
                "learns": "; ".join(parts),
            }
        )
    return rows


def _picture(title: str, plan: Plan) -> dict[str, object]:
    steps, arena = max(len(plan.graph.nodes), 1), max(plan.arena_bytes, 1)
    dx, dy = WIDTH / steps, HEIGHT / arena
    blocks = [
        Block(
            _kind(plan.graph, name),
            round(first * dx, 2),
            round(HEIGHT - slot.end * dy, 2),
            round((last - first + 1) * dx, 2),
            round(slot.nbytes * dy, 2),
            f"{name}: {slot.nbytes} B at {slot.offset}, steps {first} to {last}",
        )
        for name, slot, first, last in alive(plan)
    ]
    return {
        "title": title,
        "steps": steps,
        "arena": plan.arena_bytes,
        "width": WIDTH,
        "height": HEIGHT,
        "bound": plan.lower_bound_bytes,
        "blocks": blocks,
        "streams": _streams(plan),
        "bound_y": round(HEIGHT - plan.lower_bound_bytes * dy, 2),
    }


def _streams(plan: Plan) -> list[str]:
    """What runs row by row, in words."""
    found = []
    for s in plan.streams:
        nodes = plan.graph.nodes[s.first : s.end]
        block = plan.scratch[s.first]
        whole = sum(plan.graph.type(n.outputs[0]).nbytes for n in nodes[:-1])
        found.append(
            f"steps {s.first} to {s.end - 1} ({nodes[0].layer} to {nodes[-1].layer}): "
            f"{block.nbytes if block else 0:,} B of line buffers stand for maps of {whole:,} B"
        )
    return found


def _kind(graph: Graph, name: str) -> str:
    if name not in graph.values:
        return "lines" if name.startswith("lines of ") else "scratch"
    if name in graph.outputs:
        return "output"
    role = graph.values[name].role
    return {Role.INPUT: "input", Role.GRADIENT: "gradient"}.get(role, "activation")
