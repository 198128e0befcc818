"""Which kernels a program calls, and the refusal to measure slow ones in place of fast ones."""

from pathlib import Path

import pytest

from bench_melt.workloads import kernel_check
from bench_melt.workloads.kernel_check import (
    calls_between_marks,
    require_fast_kernels,
    require_instructions,
    variant_of,
)
from codegen.board import load_board
from codegen.kernels import source_of, twin_of
from tinyengine.errors import UserError

CODE = """\
static void run_forward(void)
{
    te_mark();
    te_other(1);
    te_mark();
}

static void run_train(uint32_t label)
{
    te_mark();
    /* layer: conv2d */
    te_conv2d_s8_dsp(&p, x, y);
    te_mark();
    for (int32_t k = 0; k < 4; k++) {
        te_gradient(&p, k);
        te_sgd(&q, k);
    }
    te_mark();
    memcpy(a, b, 4u);
    te_mark();
}
"""


def test_calls_of_each_interval_in_order() -> None:
    expected = [("te_conv2d_s8_dsp",), ("te_gradient", "te_sgd"), ()]
    assert calls_between_marks(CODE, "run_train") == expected
    assert calls_between_marks(CODE, "run_forward") == [("te_other",)]


def test_the_fastest_kind_among_the_kernels() -> None:
    assert variant_of(["te_a", "te_b_dsp", "te_c_mve"]) == "mve"
    assert variant_of(["te_a", "te_b_dsp"]) == "dsp"
    assert variant_of(["te_a"]) == variant_of([]) == "portable"


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = tmp_path / "kernels" / "arm"
    arm.mkdir(parents=True)
    for name in ("te_conv_dsp", "te_conv_mve", "te_add_dsp", "te_depthwise_5x5_s8_dsp"):
        (arm / f"{name}.c").touch()
    monkeypatch.setattr(kernel_check, "firmware_dir", lambda: tmp_path)


@pytest.mark.usefixtures("firmware")
def test_slow_kernels_where_fast_ones_exist_are_refused() -> None:
    m7, m55, host = (load_board(n) for n in ("qemu_mps2_an500", "qemu_mps3_an547", "host"))
    with pytest.raises(UserError, match="of kernels te_add, te_conv only the portable form was"):
        require_fast_kernels(m7, ["te_conv", "te_add", "te_mean"])
    with pytest.raises(UserError, match="of kernels te_conv only the portable form"):
        require_fast_kernels(m55, ["te_conv", "te_add_dsp"])
    # a layer beyond what the fast kernel takes may fall back, as long as others use it
    require_fast_kernels(m7, ["te_conv", "te_conv_dsp", "te_mean"])
    require_fast_kernels(m55, ["te_conv", "te_conv_mve", "te_add", "te_add_dsp"])
    require_fast_kernels(host, ["te_conv"])


@pytest.mark.usefixtures("firmware")
def test_depthwise_kernels_of_some_sizes_are_missed_too() -> None:
    m7, m55 = load_board("qemu_mps2_an500"), load_board("qemu_mps3_an547")
    for board in (m7, m55):
        with pytest.raises(UserError, match="of kernels te_depthwise_conv2d_s8 only the portable"):
            require_fast_kernels(board, ["te_depthwise_conv2d_s8", "te_conv_dsp", "te_conv"])
    require_fast_kernels(m7, ["te_depthwise_conv2d_s8", "te_depthwise_5x5_s8_dsp"])


def test_each_depthwise_kernel_of_some_sizes_exists() -> None:
    m7, m55 = load_board("qemu_mps2_an500"), load_board("qemu_mps3_an547")
    for forms in kernel_check._BY_SIZE.values():
        assert all(source_of(f"{form}_dsp").is_file() for form in forms)
    assert twin_of("te_depthwise_conv2d_s8", "mve") == "te_depthwise_conv2d_s8_mve"
    for board in (m7, m55):
        with pytest.raises(UserError, match="te_depthwise_conv2d_s8 only the portable"):
            require_fast_kernels(board, ["te_depthwise_conv2d_s8"])


@pytest.mark.parametrize(
    ("features", "compiled", "missing"),
    [
        (("fpu", "dsp", "mve"), {"TAG_MVE_ARCH": 2}, None),
        (("fpu", "dsp", "mve"), {"TAG_MVE_ARCH": 1}, "mve"),
        (("fpu", "dsp", "mve"), {}, "mve"),
        (("dsp", "mve"), {"TAG_MVE_ARCH": 1}, None),
    ],
)
def test_helium_without_its_floats_is_noticed(
    features: tuple[str, ...],
    compiled: dict[str, int],
    missing: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = load_board("qemu_mps3_an547").model_copy(update={"features": features})
    tags = {"TAG_DSP_EXTENSION": 1, "TAG_FP_ARCH": 8, **compiled}
    monkeypatch.setattr(kernel_check, "_attributes", lambda elf: tags)
    if missing is None:
        require_instructions(board, Path("firmware.elf"))
        return
    with pytest.raises(UserError, match=f"has feature '{missing}', but its firmware was compiled"):
        require_instructions(board, Path("firmware.elf"))
