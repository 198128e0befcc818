"""Placing memory areas over one another by OR-tools' CP-SAT: often optimal, and it says when.

Optional: `pip install 'tinyengine-mcu[cp-sat]'`. One boolean per pair of buffers that are ever
alive together says which of the two lies below, as in job-shop scheduling. A buffer that is
written over another may begin `lead_bytes` before it or at any lower place, or lie apart; the
greedy placement knows the first only.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from tinyengine.errors import UserError
from tinyengine.plan.lifetime import Buffer
from tinyengine.plan.place import Placement, Placer, place
from tinyengine.plan.plan import ALIGN_BYTES, aligned

EXTRA = "pip install 'tinyengine-mcu[cp-sat]'"
# of the solver's own clock, which counts its work: the same answer on a busy and an idle computer.
# Nets of 200 buffers need 0.1; the whole of it takes some ten seconds
LIMIT = 2.0


def cp_sat_placer() -> Placer:
    """Return the placer, if its package is here.

    Raises:
        UserError: it is not; the message says how to get it.
    """
    try:
        importlib.import_module("ortools.sat.python.cp_model")
    except ImportError as error:
        raise UserError(
            f"--arena cp-sat needs OR-tools, which cannot be loaded ({error}): {EXTRA}, "
            "or take --arena greedy"
        ) from error
    return place_cp_sat


def place_cp_sat(found: Sequence[Buffer]) -> Placement:
    """Place buffers by CP-SAT, beginning with the greedy placement; never worse than that.

    Deterministic: one worker, one seed, a limit on work instead of time.
    """
    greedy = place(found)
    if greedy.is_optimal:
        return greedy
    return _solve(found, greedy)


def _solve(found: Sequence[Buffer], greedy: Placement) -> Placement:
    from ortools.sat.python import cp_model

    model, most = cp_model.CpModel(), greedy.arena_bytes // ALIGN_BYTES
    sizes = [aligned(b.nbytes) // ALIGN_BYTES for b in found]
    offsets = [model.new_int_var(0, most - size, "") for size in sizes]
    top = model.new_int_var(greedy.bound_bytes // ALIGN_BYTES, most, "")
    for offset, size, start in zip(offsets, sizes, greedy.offsets, strict=True):
        model.add(offset + size <= top)
        model.add_hint(offset, start // ALIGN_BYTES)
    model.add_hint(top, most)
    for i, a in enumerate(found):
        for j, b in enumerate(found[:i]):
            if a.overlaps(b):
                below = model.new_bool_var("")
                apart = _distance(a, b), _distance(b, a)
                model.add(offsets[i] + apart[0] <= offsets[j]).only_enforce_if(below)
                model.add(offsets[j] + apart[1] <= offsets[i]).only_enforce_if(~below)
                model.add_hint(below, greedy.offsets[i] < greedy.offsets[j])
    model.minimize(top)
    solver = _solver(cp_model)
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return greedy
    starts = [int(solver.value(offset)) for offset in offsets]
    return Placement(
        tuple(start * ALIGN_BYTES for start in starts),
        max(start + size for start, size in zip(starts, sizes, strict=True)) * ALIGN_BYTES,
        round(solver.best_objective_bound) * ALIGN_BYTES,
        "cp-sat",
    )


def _distance(low: Buffer, high: Buffer) -> int:
    """How far `low` must begin before `high` if it lies below, in units of the alignment."""
    apart = low.lead_bytes if low.over is high else aligned(low.nbytes)
    return apart // ALIGN_BYTES


def _solver(cp_model: Any) -> Any:
    solver = cp_model.CpSolver()
    chosen = solver.parameters
    chosen.num_workers = 1
    chosen.random_seed = 0
    chosen.max_deterministic_time = LIMIT
    # measured on the nets of docs/benchmarks.md: ten times faster without
    chosen.linearization_level = 0
    chosen.cp_model_presolve = False
    return solver
