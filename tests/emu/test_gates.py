"""Instructions and bytes against docs/benchmarks.json: nothing grows by more than 1 %.

Counts belong to a compiler: with another version than the record's there is nothing to compare, and
the tests skip with that reason, in CI too. The emulator only counts; its version is noted.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench_melt.targets.plugin import plugin_library
from bench_melt.workloads.gates import TOLERANCE, Subject, grown, toolchain_of, weigh
from bench_melt.workloads.kernel_bench import measure_kernels
from bench_melt.workloads.kernel_layers import LAYERS
from codegen.board import load_board
from tests.gated import KERNEL_BOARD, KERNEL_GRADIENTS, own_subjects, shared_subjects
from tests.needs import missing
from tests.tidy.sources import ROOT
from tinyengine.errors import UserError

AGAIN = "if that is meant, or the record is older than the net: make benchmarks"


@cache
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "docs" / "benchmarks.json").read_text())
    return found


@pytest.fixture(autouse=True)
def same_toolchain() -> None:
    if plugin_library() is None:
        missing("the QEMU plug-in cannot be built here")
    recorded, here = record()["toolchain"]["gcc"], toolchain_of(load_board(KERNEL_BOARD))["gcc"]
    if recorded != here:
        pytest.skip(f"docs/benchmarks.json was recorded with {recorded}, here is {here}")


def gate(subjects: list[Subject], folder: Path) -> None:
    found = list[str]()
    for subject in subjects:
        for board in subject.boards:
            key = subject.key(board)
            assert key in record()["figures"], f"no record of '{key}'; {AGAIN}"
            now = weigh(subject, load_board(board), folder)
            found += grown(key, record()["figures"][key], now)
    assert not found, "\n".join([*found, AGAIN])


def test_small_nets_and_the_demo(tmp_path: Path) -> None:
    gate(own_subjects(), tmp_path / "dir")


def test_nets_of_others(tmp_path: Path, shared: Path) -> None:
    gate(shared_subjects(shared), tmp_path / "dir")


def test_figures_without_the_core_s_instructions_are_refused(tmp_path: Path) -> None:
    board = load_board("qemu_mps3_an547")
    flags = tuple(f.replace("cortex-m55", "cortex-m55+nomve") for f in board.build.cflags)
    slow = board.model_copy(update={"build": board.build.model_copy(update={"cflags": flags})})
    with pytest.raises(UserError, match="has feature 'mve', but its firmware was compiled without"):
        weigh(own_subjects()[0], slow, tmp_path / "dir")


def test_single_layers(tmp_path: Path) -> None:
    board = load_board(KERNEL_BOARD)
    table = measure_kernels(LAYERS, board, KERNEL_GRADIENTS, tmp_path / "dir", lambda: None)
    now = {(row.layer, row.work, row.gradients, row.op): row.instructions for row in table.rows}
    before = {
        (row["layer"], row["work"], row["gradients"], row["op"]): row["instructions"]
        for row in record()["kernels"][KERNEL_BOARD]
    }
    assert set(now) == set(before), AGAIN
    found = [
        f"{key}: {before[key]:,} -> {count:,}"
        for key, count in now.items()
        if count > before[key] * (1 + TOLERANCE)
    ]
    assert not found, "\n".join([*found, AGAIN])
