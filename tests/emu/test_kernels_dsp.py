"""The DSP kernels on an emulated Cortex-M4 and M7: the bits of the operators' Python."""

import pytest

from codegen.board import load_board
from tests.emu.arm_rig import run_on_arm
from tests.hostc import test_kernels as base
from tests.hostc.dsp_cases import KINDS, dsp_cases
from tests.hostc.kernel_cases import scalar_values
from tests.hostc.kernel_rig import make_rig
from tests.hostc.test_kernels import Result

BOARDS = ("qemu_mps2_an386", "qemu_mps2_an500")


@pytest.fixture(scope="module", params=[(b, s) for b in BOARDS for s in (1, 2)], ids=str)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    name, seed = request.param
    rig, scalars = make_rig(dsp_cases(seed), seed, "dsp"), scalar_values(seed)
    # the emulated RAM is larger than what the board's limit leaves
    board = load_board(name)
    memory = board.memory.model_copy(update={"ram_limit_bytes": None}) if board.memory else None
    board = board.model_copy(update={"memory": memory})
    folder = tmp_path_factory.mktemp("arm")
    return Result(rig, *run_on_arm(rig, board, folder, scalars), scalars)


@pytest.mark.parametrize("kind", KINDS)
def test_bits(result: Result, kind: str) -> None:
    base.test_bits_are_those_of_python(result, kind)


def test_no_other_writes(result: Result) -> None:
    base.test_nothing_else_is_written(result)
