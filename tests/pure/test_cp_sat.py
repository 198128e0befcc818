"""Placement by CP-SAT: never worse than greedy, optimal where it says so, always the same."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.board import load_board
from codegen.cli import new_app, run
from codegen.commands import compile as command
from codegen.compile_model import compile_model
from codegen.costs import target_for
from tests.needs import package
from tests.training import LR, TRAINABLE, compiled, everything, random_samples
from tinyengine.compiled import compile_graph
from tinyengine.errors import UserError
from tinyengine.importers import load_model
from tinyengine.plan.check import check_plan
from tinyengine.plan.cp_sat import cp_sat_placer, place_cp_sat
from tinyengine.plan.lifetime import Buffer
from tinyengine.plan.place import Placement, Task, alive_bytes, place
from tinyengine.plan.plan import aligned
from tinyengine.sim.run_plan import FlatMachine
from tinyengine.sim.train import Trainer
from tinyengine.update.scheme import load_scheme

# greedy leaves 944 bytes between the blocks of its training step
GAP = """
def net(t):
    a = t.conv(t.input((8, 8, 3), 1 / 64, 0), 28, kernel=1, activation="relu", name="a")
    t.conv(a, 4, kernel=1, activation="relu", name="unused")
    b = t.conv(a, 12, kernel=1, activation="relu", name="b")
    c = t.conv(b, 8, kernel=1, activation="relu", name="c")
    d = t.conv(b, 8, kernel=1, activation="relu", name="d")
    return t.dense(t.mean(t.concat([c, d])), 4, name="classifier")
"""


@pytest.fixture(autouse=True)
def solver() -> None:
    package("ortools")


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(GAP)
    return f"{tmp_path / 'net.py'}:net"


def instance(seed: int, count: int, ties: bool = True) -> list[Buffer]:
    """Random buffers; every other step one is written over the one that dies there."""
    rng = np.random.default_rng(seed)
    found: list[Buffer] = []
    for i in range(count):
        first = int(rng.integers(count))
        last = first + int(rng.integers(6))
        found.append(Buffer([str(i)], int(rng.integers(1, 3000)), first, last))
        host = found[-1]
        if ties and rng.random() < 0.4 and not any(b.first == last for b in found if b.over):
            nbytes = int(rng.integers(1, 3000))
            over = Buffer([f"{i}'"], nbytes, last, last + int(rng.integers(4)), host)
            over.lead_bytes = aligned(int(rng.integers(nbytes)))
            found.append(over)
    return found


def check(found: list[Buffer], placed: Placement) -> None:
    """What is alive together lies apart, or as far over what it overwrites as allowed."""
    for (a, at_a), (b, at_b) in itertools.permutations(zip(found, placed.offsets, strict=True), 2):
        if a.overlaps(b):
            over = a.over is b and at_a + a.lead_bytes <= at_b
            over = over or (b.over is a and at_b + b.lead_bytes <= at_a)
            assert over or at_a + a.nbytes <= at_b or at_b + b.nbytes <= at_a
    ends = [at + aligned(b.nbytes) for b, at in zip(found, placed.offsets, strict=True)]
    assert placed.arena_bytes == max(ends) and min(placed.offsets) >= 0
    assert not any(at % 8 for at in placed.offsets)


def test_never_worse_than_greedy_and_never_below_what_is_alive() -> None:
    better = 0
    for seed in range(60):
        found = instance(seed, 4 + seed % 24)
        greedy, placed = place(found), place_cp_sat(found)
        check(found, greedy)
        check(found, placed)
        steps = max(b.last for b in found) + 1
        bound = int(alive_bytes(found, steps).max())
        assert greedy.bound_bytes == bound <= placed.bound_bytes <= placed.arena_bytes
        assert placed.arena_bytes <= greedy.arena_bytes
        better += placed.arena_bytes < greedy.arena_bytes
    assert better >= 5


def test_proven_optimal_is_optimal() -> None:
    """First fit in the order of the offsets of a best placement finds one as good: try all."""
    by_solver = 0
    for seed in range(400):
        found = instance(seed, 6, ties=False)
        placed = place_cp_sat(found)
        assert placed.is_optimal
        by_solver += placed.placer == "cp-sat"
        if placed.placer == "cp-sat" or seed < 20:
            task = Task([b.nbytes for b in found], np.array([[a.overlaps(b) for a in found]
                                                             for b in found]))  # fmt: skip
            tried = (task.first_fit(order)[0] for order in itertools.permutations(range(6)))
            assert min(tried) == placed.arena_bytes
    assert by_solver >= 2


def test_the_same_answer_every_time() -> None:
    found = next(f for s in range(99) if not place(f := instance(s, 25)).is_optimal)
    assert place_cp_sat(found) == place_cp_sat(found)


def test_nothing_to_place() -> None:
    assert place_cp_sat([]) == Placement((), 0, 0)


def test_the_net_with_a_gap_is_placed_without_and_computes_the_same(model: str) -> None:
    graph = load_model(model)
    greedy = compile_graph(graph, everything(), seed=3)
    made = compile_graph(graph, everything(), seed=3, placer=place_cp_sat)
    assert greedy.arena_bytes > greedy.placement_bound_bytes
    assert made.arena_bytes == made.placement_bound_bytes == greedy.placement_bound_bytes
    assert made.hash == greedy.hash and made.larger.placer == "cp-sat"
    plan = made.train
    assert plan is not None
    machine, trainer = FlatMachine(plan), Trainer(plan.graph, LR, seed=5)
    for step, (x, label) in enumerate(random_samples(plan.graph, 3)):
        scalars = (x, np.uint32(label), np.float32(LR), np.uint32(5), np.uint32(step))
        loss = machine.run(dict(zip(plan.graph.inputs, scalars, strict=True)))
        assert trainer.step(x, label) == float(loss[plan.graph.outputs[0]])
        assert all(np.array_equal(machine.state[n], a) for n, a in trainer.state().items())


def test_a_large_net_with_streams(shared: Path) -> None:
    board = load_board("qemu_mps2_an500")
    graph = load_model(str(shared / "data/models/mcunet-5fps.json"))
    scheme = replace(load_scheme("148kb"), gradients="s16")
    target = target_for(board)
    greedy = compile_graph(graph, scheme, 10, target=target)
    made = compile_graph(graph, scheme, 10, target=target, placer=place_cp_sat)
    assert made.train is not None and made.train.streams
    check_plan(made.train, target.kernels)
    assert made.arena_bytes == made.placement_bound_bytes <= greedy.arena_bytes


def test_the_report_says_whether_the_placement_is_optimal(model: str, tmp_path: Path) -> None:
    board = load_board("host")
    page = compile_model(model, board, "full", tmp_path / "a").report.read_text()
    assert "not proven optimal" in page and "by greedy; any placement of these blocks" in page
    made = compile_model(model, board, "full", tmp_path / "b", placer=cp_sat_placer())
    page = made.report.read_text()
    assert "not proven" not in page and "proven optimal" in page and "by cp-sat" in page


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    app = new_app("test")
    app.command("compile")(command.command)
    monkeypatch.setattr("sys.argv", ["tool", "compile", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        run(app)
    return end.value.code


def test_the_option_of_compile(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (model, "--board", "host", "--update", "full", "--json", "--out")
    figures = {}
    for arena in ("greedy", "cp-sat"):
        assert called(monkeypatch, *asked, tmp_path / arena, "--arena", arena) == 0
        figures[arena] = json.loads(capsys.readouterr().out)
    greedy, cp_sat = figures["greedy"], figures["cp-sat"]
    assert list(cp_sat) == list(greedy)
    assert cp_sat["arena_bytes"] == greedy["lower_bound_bytes"] < greedy["arena_bytes"]
    assert called(monkeypatch, *asked, tmp_path / "c", "--arena", "best") == 2


def test_without_ortools_it_says_what_to_install(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    asked = (model, "--board", "host", "--update", "full", "--out", tmp_path / "out")
    assert called(monkeypatch, *asked, "--arena", "cp-sat") == 1
    assert "pip install 'tinyengine-mcu[cp-sat]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="needs OR-tools"):
        cp_sat_placer()
    assert called(monkeypatch, *asked) == 0


def test_small_nets_are_placed_as_greedy_does_where_that_is_optimal() -> None:
    for case in TRAINABLE[:4]:
        made = compiled(case, everything(head="int8"))
        assert made.arena_bytes == made.placement_bound_bytes
        assert made.larger.placer == "greedy"
