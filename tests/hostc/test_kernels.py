"""Every kernel gives the bits of its operator's Python, and writes nothing else."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.paths import firmware_dir
from tests.hostc.integer_cases import integer_cases, integer_ops
from tests.hostc.kernel_cases import Case, all_cases, scalar_values
from tests.hostc.kernel_rig import Rig, build_rig, kernel_objects, make_rig, run_rig
from tinyengine.ir.graph import Node
from tinyengine.ir.tensor import Array, DType
from tinyengine.ops import fixed, sgd
from tinyengine.ops.registry import OPS
from tinyengine.ops.rescaled import Rescaled
from tinyengine.sim.run_plan import pack

# the harness quantises, no board does; quantize_grad is a part of rescaled
HOST_ONLY = {"quantize", "quantize_grad"}
SEEDS = (1, 2)


def kernel_cases(seed: int) -> list[Case]:
    """Cases of every operator, with float32 gradients and with integer ones."""
    found = all_cases(seed)
    added = list(integer_cases(found, np.random.default_rng([seed, 98])))
    for case in added:
        case.op.check(case.signature())
    return found + added


@dataclass(frozen=True)
class Result:
    """One run of all cases: in C, and as the operators' Python says."""

    rig: Rig
    arena: Array
    state: dict[str, Array]
    scalars: dict[str, Any]


@pytest.fixture(
    scope="module",
    params=[(s, f) for s in SEEDS for f in ("sanitize", "fast")],
    ids=lambda p: f"seed{p[0]}-{p[1]}",
)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    seed, kind = request.param
    rig, scalars = make_rig(kernel_cases(seed), seed), scalar_values(seed)
    sanitize = kind == "sanitize"
    folder = tmp_path_factory.getbasetemp()
    (folder / "kernels").mkdir(exist_ok=True)
    objects = kernel_objects(folder / "kernels", sanitize)
    program = build_rig(rig, tmp_path_factory.mktemp("rig") / "code", objects, sanitize)
    arena, state = run_rig(rig, program, scalars)
    return Result(rig, arena, state, scalars)


def expected(result: Result, node: Node) -> tuple[Array, ...]:
    """The node's outputs as its operator's Python evaluates them."""
    rig, graph = result.rig, result.rig.plan.graph
    case = rig.cases[int(node.layer.removeprefix("case"))]
    ins = [x.data if not x.scalar else result.scalars[x.scalar] for x in case.ins]
    with np.errstate(all="ignore"):
        outs = node.op.evaluate(graph.signature(node), ins)
    types = [graph.type(name) for name in node.outputs]
    return tuple(pack(np.asarray(a), t) for a, t in zip(outs, types, strict=True))


@pytest.mark.parametrize("kind", sorted(set(OPS) - HOST_ONLY))
def test_bits_are_those_of_python(result: Result, kind: str) -> None:
    plan = result.rig.plan
    old = {new: state for state, new in plan.graph.updates}
    nodes = [n for n in plan.graph.nodes if n.op.kind == kind]
    assert len(nodes) >= 10
    for node in nodes:
        for name, want in zip(node.outputs, expected(result, node), strict=True):
            if name in old:
                got = result.state[old[name]]
            else:
                got = result.arena[plan.slots[name].offset : plan.slots[name].end]
            wrong = np.flatnonzero(got != want)
            assert not len(wrong), f"{name} {node.op}: {len(wrong)} bytes, first {wrong[0]}"


def test_every_integer_gradient_has_cases_of_both_formats() -> None:
    seen = {
        (type(c.op.gradient), c.outs[0].dtype)
        for c in kernel_cases(1)
        if isinstance(c.op, Rescaled)
    }
    assert seen == {(op, dtype) for op in integer_ops() for dtype in (DType.I16, DType.I8)}


def test_nothing_else_is_written(result: Result) -> None:
    plan = result.rig.plan
    may = np.zeros(len(result.arena), np.bool_)
    written = [plan.slots[n] for node in plan.graph.nodes for n in node.outputs if n in plan.slots]
    for slot in (*written, *(s for s in plan.scratch if s)):
        may[slot.offset : slot.end] = True
    changed = np.flatnonzero((result.arena != result.rig.before) & ~may)
    assert not len(changed), f"{len(changed)} bytes, first at {changed[0]}"


FLOATS = """
#include <stdio.h>
#include "te_fixed.h"
#include "te_float.h"
int main(void)
{
    float x;
    while (fread(&x, 4, 1, stdin) == 1) {
        float y[4] = {te_exp_f32(x), 0.0f, te_round_even(x) + 0.0f, te_floor(x) + 0.0f};
        const float size = x < 0.0f ? -x : x;
        y[1] = te_log_f32(size + 1e-30f);
        const int32_t whole = te_to_i32(te_round_even(x));
        fwrite(y, 4, 4, stdout);
        fwrite(&whole, 4, 1, stdout);
    }
    return 0;
}
"""

INTEGERS = """
#include <stdio.h>
#include "te_fixed.h"
int main(void)
{
    int32_t v[4];
    while (fread(v, 4, 4, stdin) == 4) {
        const int32_t y[4] = {te_high_mul(v[0], v[1]), te_rounding_shift(v[0], v[2]),
                              te_add_sat(v[0], v[1]),
                              te_requantise(v[0], v[1] & INT32_MAX, v[3])};
        fwrite(y, 4, 4, stdout);
    }
    return 0;
}
"""


def run_c(folder: Path, text: str, given: Array) -> bytes:
    (folder / "f.c").write_text(text)
    argv = ["gcc", "-std=c99", "-O2", "-ffp-contract=off", "-fsanitize=undefined"]
    argv += ["-fno-sanitize-recover=all", f"-I{firmware_dir() / 'include'}", "f.c", "-o", "f"]
    subprocess.run(argv, cwd=folder, check=True)
    return subprocess.run(
        [folder / "f"], input=given.tobytes(), capture_output=True, check=True, timeout=60
    ).stdout


def test_float_functions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.uniform(-100, 95, 200_000),
            rng.normal(0, 3, 200_000),
            rng.integers(-9, 9, 50) + 0.5,
            np.sign(rng.normal(size=200_000)) * 10.0 ** rng.uniform(-37, 37, 200_000),
            [0.0, -0.0, 2.0**23, -(2.0**23), 2.0**23 - 0.5, 2.0**31, -(2.0**31), 1 - 2.0**-24],
        ]
    ).astype(np.float32)
    raw = np.frombuffer(run_c(tmp_path, FLOATS, x), np.float32).reshape(-1, 5)
    zero = np.float32(0)
    want = (
        fixed.exp_f32(x),
        fixed.log_f32(np.abs(x) + np.float32(1e-30)),
        fixed.round_half_even(x) + zero,
        np.floor(x) + zero,
    )
    for column, what in enumerate(want):
        assert raw[:, column].tobytes() == what.tobytes(), ("exp", "log", "round", "floor")[column]
    whole = fixed.to_i32(fixed.round_half_even(x)).astype(np.int32)
    assert raw[:, 4].tobytes() == whole.tobytes()


def test_integer_functions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    edges = np.array([-(2**31), 1 - 2**31, -1, 0, 1, 2**30, 2**31 - 1])
    pairs = np.concatenate(
        [
            rng.integers(-(2**31), 2**31, (200_000, 2)),
            rng.integers(-5, 6, (20_000, 2)),
            np.repeat(np.stack(np.meshgrid(edges, edges), -1).reshape(-1, 2), 200, axis=0),
        ]
    )
    exponent, shift = rng.integers(0, 32, len(pairs)), rng.integers(-31, 31, len(pairs))
    a, b = pairs.T
    given = np.stack([a, b, exponent, shift], -1).astype(np.int32)
    raw = np.frombuffer(run_c(tmp_path, INTEGERS, given), np.int32).reshape(-1, 4)
    want = (
        fixed.high_mul(a, b),
        fixed.rounding_shift_right(a, exponent),
        fixed.saturate_i32(a + b),
        fixed.requantise(a, b & (2**31 - 1), shift),
    )
    for column, what in enumerate(want):
        assert np.array_equal(raw[:, column], what), ("mul", "shift", "add", "scale")[column]


STEPS = """
#include <stdio.h>
#include "te_sgd_exact.h"
int main(void)
{
    int32_t v[3];
    while (fread(v, 4, 3, stdin) == 3) {
        const te_rate rate = te_rate_of(te_float_of_bits((uint32_t)v[1]), v[2]);
        const int32_t y[2] = {te_exact_step(0, v[0], &rate, 0u),
                              te_exact_step(1, v[0], &rate, (uint32_t)v[0])};
        fwrite(y, 4, 2, stdout);
    }
    return 0;
}
"""


def test_exact_steps(tmp_path: Path) -> None:
    """At every power of two of a rate, for small and large gradients and at ties."""
    rng = np.random.default_rng(0)
    e = np.repeat(np.arange(-70, 71), 400)
    n = len(e)
    g = rng.integers(-(2**31), 2**31, n) >> rng.integers(0, 32, n)
    g[::50] = rng.choice([-(2**31), 2**31 - 1, 0, 1, -1, -(2**30)], len(g[::50]))
    rate = (rng.choice([-1, 1], n) * 2.0 ** rng.integers(-40, 21, n)).astype(np.float32)
    rate[::2] *= rng.uniform(1, 2, n // 2).astype(np.float32)
    rate[1::50] = rng.choice([0.0, np.inf, np.nan, 1e-40], len(rate[1::50]))
    given = np.stack([g, rate.view(np.int32), e], -1).astype(np.int32)
    raw = np.frombuffer(run_c(tmp_path, STEPS, given), np.int32).reshape(-1, 2)
    bits = fixed.mix32(g.astype(np.int32).view(np.uint32))
    for column, rounding in enumerate((sgd.Rounding.NEAREST, sgd.Rounding.STOCHASTIC)):
        for i in np.split(np.arange(n), n // 400):  # one exponent at a time
            want = sgd.exact_step(g[i].astype(np.int32), rate[i], int(e[i[0]]), rounding, bits[i])
            assert np.array_equal(raw[i, column], want), (e[i[0]], rounding)
