"""Planning: a scheduled graph, streamed where that saves memory, every value with its slot."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from tinyengine.errors import InternalError
from tinyengine.ir.graph import Graph
from tinyengine.plan.lifetime import Buffer, buffers
from tinyengine.plan.place import Placer, alive_bytes, joint_bytes, place
from tinyengine.plan.plan import Plan, Slot, aligned
from tinyengine.plan.rows import Reach, Rows, stream_rows
from tinyengine.plan.schedule import schedule
from tinyengine.plan.search import Range, choose_streams, is_range
from tinyengine.plan.target import PLAIN, Target
from tinyengine.plan.widen import room_bytes, widened

MIN_SAVING_BYTES = 1024  # a stream's table and calls cost flash: for less RAM they are not worth it


def make_plan(
    graph: Graph,
    ranges: Sequence[Range] | None = None,
    beside: Plan | None = None,
    target: Target = PLAIN,
    height: int = 1,
    placer: Placer = place,
    fed: bool = False,
) -> Plan:
    """Schedule the graph and give every arena value a slot.

    ranges: (first, end) of the nodes that run row by row, none overlapping; None: the planner
    finds those that need the least memory. beside: a plan that shares the arena; its memory is
    there in any case, and where its streams do here too, code is shared. target: the core and the
    board. height: of the streams in `ranges`, rows at a time; the planner's own are as high as
    `widened` says. placer: has the last word on where the blocks lie, unless the greedy placement,
    by which streams are chosen, cannot be bettered. fed: the first input arrives row by row and is
    nowhere whole; a plan `beside` takes it with the same rows.

    Raises:
        ValueError: a range that cannot run row by row.
        UserError: the input cannot be fed.
    """
    graph = schedule(graph)
    reach = Reach(graph, target.kernels, graph.inputs[0] if fed else None)
    if ranges is not None:
        wrong = [r for r in ranges if not is_range(reach, *r)]
        if wrong:
            raise ValueError(f"nodes {wrong} cannot run row by row")
        streams: Sequence[Rows] = [stream_rows(reach, *r, height) for r in ranges]
        if fed and not any(rows.stream.fed for rows in streams):
            raise ValueError(f"none of {list(ranges)} takes the input row by row")
        plan, enough = _plan(reach, streams), 0
    else:
        enough = beside.arena_bytes if beside else 0
        plan, streams = (_fed if fed else _streamed)(reach, enough, beside, target)
    best = plan.arena_bytes <= max(plan.placement_bound_bytes, enough)
    return plan if best or placer is place else _plan(reach, streams, placer)


Choice = tuple[Plan, Sequence[Rows]]


def _streamed(reach: Reach, enough: int, beside: Plan | None, target: Target) -> Choice:
    """The greedy plan, with streams where they bring the arena down towards `enough` bytes."""
    whole = _plan(reach, ())
    if whole.arena_bytes <= enough:
        return whole, ()
    shared = _shared(reach, beside)
    if shared is not None and shared[0].arena_bytes <= enough:
        return shared
    streams = choose_streams(reach, enough)
    streamed = _plan(reach, streams) if streams else whole
    saved = whole.arena_bytes - max(streamed.arena_bytes, enough)
    if saved < MIN_SAVING_BYTES:
        return whole, ()
    return _widened(reach, streams, target, max(streamed.arena_bytes, enough))


def _fed(reach: Reach, enough: int, beside: Plan | None, target: Target) -> Choice:
    """The greedy plan in which a stream takes the input row by row, as `beside` does if it does."""
    if beside is None or beside.fed is None:
        streams = choose_streams(reach, enough)
        least = max(_plan(reach, streams).arena_bytes, enough)
        return _widened(reach, streams, target, least)
    shared = _shared(reach, beside)
    if shared is not None and shared[0].arena_bytes <= enough:
        return shared
    front = beside.fed
    a, b = front.first, front.end
    if reach.graph.nodes[a:b] != beside.graph.nodes[a:b] or not is_range(reach, a, b):
        raise InternalError("training takes the input through other nodes than inference")
    streams = choose_streams(reach, enough, stream_rows(reach, a, b, front.height))
    return _plan(reach, streams), streams


def _shared(reach: Reach, beside: Plan | None) -> Choice | None:
    """With the streams of `beside`, if the same nodes stand there in this graph."""
    if beside is None:
        return None
    nodes, others = reach.graph.nodes, beside.graph.nodes
    ranges = [(s.first, s.end) for s in beside.streams]
    if any(nodes[a:b] != others[a:b] or not is_range(reach, a, b) for a, b in ranges):
        return None
    streams = [stream_rows(reach, s.first, s.end, s.height) for s in beside.streams]
    return _plan(reach, streams), streams


def _widened(reach: Reach, streams: Sequence[Rows], target: Target, least_bytes: int) -> Choice:
    """The best choice of heights that can be placed on the board."""
    room = room_bytes(reach.graph, target)
    for choice in widened(reach, streams, target, least_bytes):
        plan = _plan(reach, choice)
        if room is None or plan.arena_bytes <= max(room, least_bytes):
            return plan, choice
    raise InternalError("no choice of heights is the streams as they came")


def _plan(reach: Reach, streams: Sequence[Rows], placer: Placer = place) -> Plan:
    graph = reach.graph
    found = buffers(graph, streams, reach.kernels)
    placed = placer(found)
    slots = {
        name: Slot(offset, b.nbytes if name.startswith("#") else graph.type(name).nbytes)
        for b, offset in zip(found, placed.offsets, strict=True)
        for name in b.names
    }
    scratch = tuple(slots.pop(f"#{i}", None) for i in range(len(graph.nodes)))
    bound = lower_bound(found, graph, streams)
    made = tuple(r.stream for r in streams)
    return Plan(
        graph,
        MappingProxyType(slots),
        scratch,
        placed.arena_bytes,
        bound,
        made,
        placed.bound_bytes,
        placed.placer,
    )


def lower_bound(found: Sequence[Buffer], graph: Graph, streams: Sequence[Rows] = ()) -> int:
    """The most bytes alive in any one step: no placement of this schedule can need fewer.

    Within a stream: lines, output rows written and input rows not yet consumed, row by row.
    """
    alive = alive_bytes(found, len(graph.nodes))
    home = {name: b for b in found for name in b.names}
    for rows in streams:
        first, out = rows.stream.first, graph.nodes[rows.stream.end - 1].outputs[0]
        joint = home[out].over is not None
        map_bytes = joint_bytes(home[out]) if joint else aligned(home[out].nbytes)
        lines = aligned(home[f"#{first}"].nbytes) if rows.line_bytes else 0
        alive[first] += rows.live_bytes[joint] - map_bytes - lines
    return int(alive.max(initial=0))
