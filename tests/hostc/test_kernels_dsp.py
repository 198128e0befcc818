"""The DSP kernels in plain C, as a host builds them: same bits, nothing else written."""

import pytest

from tests.hostc import test_kernels as base
from tests.hostc.dsp_cases import KINDS, dsp_cases
from tests.hostc.kernel_cases import scalar_values
from tests.hostc.kernel_rig import build_rig, kernel_objects, make_rig, run_rig
from tests.hostc.test_kernels import Result

BOARD = "qemu_mps2_an386"


@pytest.fixture(scope="module", params=["sanitize", "fast"])
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    sanitize = request.param == "sanitize"
    rig, scalars = make_rig(dsp_cases(1), 1, "dsp"), scalar_values(1)
    folder = tmp_path_factory.mktemp("dsp")
    objects = kernel_objects(folder, sanitize)
    program = build_rig(rig, folder / "code", objects, sanitize, BOARD)
    return Result(rig, *run_rig(rig, program, scalars), scalars)


@pytest.mark.parametrize("kind", KINDS)
def test_bits(result: Result, kind: str) -> None:
    base.test_bits_are_those_of_python(result, kind)


def test_no_other_writes(result: Result) -> None:
    base.test_nothing_else_is_written(result)


def test_the_fast_way_is_taken(result: Result) -> None:
    fast = [s for s in result.rig.plan.scratch if s]
    assert len(fast) > len(result.rig.cases) // 3
