"""The Helium kernels on an emulated Cortex-M55: the bits of the operators' Python."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from codegen.board import Board, load_board
from codegen.compile_model import compile_model
from codegen.kernels import twin_of
from tests.bench_rig import bench_melt_json
from tests.emu.arm_rig import run_on_arm
from tests.emu.mve_cases import gradient_cases, subnormal_cases
from tests.hostc import kernel_cases as cases
from tests.hostc import test_kernels as base
from tests.hostc.kernel_rig import make_rig
from tests.hostc.test_kernels import Result
from tinyengine.ops.conv2d import Conv2d
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.window import Window

BOARD = "qemu_mps3_an547"
SEEDS = (1, 2, 3)
KINDS = sorted({case.op.kind for case in base.kernel_cases(1)})


def board_with_room() -> Board:
    """The board with its RAM in the 2 MB SRAM bank of the image."""
    board = load_board(BOARD)
    bank = {"ram_origin": 0x21000000, "ram_bytes": 1 << 21, "ram_limit_bytes": None}
    memory = board.memory.model_copy(update=bank) if board.memory else None
    return board.model_copy(update={"memory": memory})


def conv(
    rng: cases.Rng, g: Window, size: tuple[int, int], c: int, k: int, lo: int | None = None
) -> cases.Case:
    """One convolution; lo None: limits as they come, else the output's zero point is at lo."""
    x = cases.i8(rng, (1, *size, c))
    first, *rest = cases.split(rng, cases.weight(rng, (k, *g.kernel, c)))
    limits = cases.limits(rng) if lo is None else (lo, 127)
    y = cases.out((1, *g.out_size(size), k), rng)
    ins = (x, first, *cases.requantisation(rng, k), *rest)
    return cases.Case(Conv2d(g, *limits), ins, (y,))


def convolutions(rng: cases.Rng) -> Iterator[cases.Case]:
    """Every length of a row around the register's, counts of pixels around a round's and a
    block's, and long rows."""
    one = Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
    for c in (*range(1, 18), 24, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 127, 200):
        yield conv(rng, one, (int(rng.integers(1, 6)), int(rng.integers(1, 6))), c, 5)
    for pixels in range(1, 18):
        yield conv(rng, one, (1, pixels), int(rng.choice([3, 16, 20, 40, 70])), 3, -128)
    for c, k, zero_point_is_lo in product(range(8, 73, 8), (1, 9), (None, -128)):
        yield conv(rng, one, (2, int(rng.integers(4, 13))), c, k, zero_point_is_lo)
    for pixels in (63, 64, 65, 66, 129):
        yield conv(rng, one, (1, pixels), int(rng.choice([24, 72, 80])), 3)
    three = Window((3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    for c in (1, 3, 5, 7, 16, 64, 65, 130, 300):
        yield conv(rng, three, (4, 5), c, 4)
    yield conv(rng, three, (3, 4), 9, 259)
    for c in (2, 3, 16):
        yield conv(rng, Window((3, 3), (2, 2), (0, 1, 0, 1), (1, 1)), (14, 33), c, 5)


def depthwises(rng: cases.Rng) -> Iterator[cases.Case]:
    """Square windows as networks have them, on maps of every small size, and a wide one."""
    for kernel, stride, side in product((3, 5, 7), (1, 2), (1, 2, 3, 4, 5, 8, 11, 17)):
        pad = kernel // 2
        g = Window((kernel, kernel), (stride, stride), (pad, pad, pad, pad), (1, 1))
        yield depthwise(rng, g, (side, side + int(rng.integers(0, 3))), int(rng.integers(1, 19)))
    for kernel, width in product((1, 3, 5), (40, 70, 130, 300)):
        pad = kernel // 2
        g = Window((kernel, kernel), (1, 1), (pad, pad, pad, pad), (1, 1))
        yield depthwise(rng, g, (7, width), 2)
    for kernel, stride in product(((1, 7), (8, 8), (7, 6), (2, 3), (4, 4)), (1, 2, 3, 5)):
        g = Window(kernel, (stride, stride), (0, 1, 1, 0), (1, 1))
        yield depthwise(rng, g, (13, 14), 3)


def depthwise(rng: cases.Rng, g: Window, size: tuple[int, int], c: int) -> cases.Case:
    x, w = cases.i8(rng, (1, *size, c)), cases.weight(rng, (1, *g.kernel, c))
    y = cases.out((1, *g.out_size(size), c), rng)
    ins = (x, w, *cases.requantisation(rng, c))
    return cases.Case(DepthwiseConv2d(g, *cases.limits(rng)), ins, (y,))


@pytest.fixture(scope="module", params=SEEDS)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    seed = request.param
    rng = np.random.default_rng([seed, 7])
    found = [*base.kernel_cases(seed), *convolutions(rng), *depthwises(rng)]
    found += gradient_cases(np.random.default_rng([seed, 8]))
    found += subnormal_cases(base.kernel_cases(seed), np.random.default_rng([seed, 9]))
    for case in found:
        case.op.check(case.signature())
    rig, scalars = make_rig(found, seed), cases.scalar_values(seed)
    folder = tmp_path_factory.mktemp("mve")
    return Result(rig, *run_on_arm(rig, board_with_room(), folder, scalars), scalars)


@pytest.mark.parametrize("kind", KINDS)
def test_bits(result: Result, kind: str) -> None:
    base.test_bits_are_those_of_python(result, kind)


def test_no_other_writes(result: Result) -> None:
    base.test_nothing_else_is_written(result)


def test_the_board_gets_the_twins() -> None:
    assert twin_of("te_conv2d_s8", "mve") == "te_conv2d_s8_mve"
    assert twin_of("te_conv2d_s8", "portable") == "te_conv2d_s8"
    assert twin_of("te_softmax_s8", "mve") == "te_softmax_s8"


def test_a_front_that_runs_row_by_row(tmp_path: Path) -> None:
    """Rows are moved by a twin too, which is no operator of its own."""
    update = tmp_path / "last.toml"
    update.write_text('[update]\nbiases = 2\nhead = "int8"\ngradients = "s16"\n')
    model = f"{Path(__file__).parents[1] / 'streams.py'}:chain"
    compile_model(model, load_board(BOARD), str(update), tmp_path / "dir")
    code = (tmp_path / "dir" / "src" / "chain.c").read_text()
    assert "te_slide_s8_mve(" in code
    assert bench_melt_json("verify", tmp_path / "dir", "--boards", BOARD, "--steps", 5)["equal"]
