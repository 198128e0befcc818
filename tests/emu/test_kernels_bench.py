"""`bench-melt kernels`: exact counts, and no benchmark of what was compiled for another core."""

from pathlib import Path

import pytest

from bench_melt.targets.plugin import plugin_library
from codegen.paths import boards_dir
from tests.bench_rig import bench_melt, bench_melt_json
from tests.needs import missing

BOARD = "qemu_mps2_an386"


@pytest.fixture(autouse=True)
def counted() -> None:
    if plugin_library() is None:
        missing("the QEMU plug-in cannot be built here")


def test_counts_repeat_and_every_kind_of_work_is_there() -> None:
    run = ("kernels", "--board", BOARD, "--only", "pointwise 128")
    first, second = bench_melt_json(*run), bench_melt_json(*run)
    assert first == second
    rows = {(row["work"], row["op"]): row for row in first["kernels"]}
    assert {
        ("forward", "conv2d"),
        ("input_gradient", "conv2d_bwd_input"),
        ("weight_gradient", "conv2d_bwd_weight"),
        ("weight_gradient", "row_step"),
        ("update", "sgd_i32"),
    } <= set(rows)
    forward = rows["forward", "conv2d"]
    assert forward["macs"] == 128 * 128 * 36 and forward["outputs"] == 128 * 36
    assert forward["others"] == 1.83
    assert forward["per_mac"] == forward["instructions"] / forward["macs"]
    assert 0.5 < forward["per_mac"] < 10
    # the update comes on top of the gradient
    both, alone = (rows["weight_gradient", op] for op in ("row_step", "conv2d_bwd_weight"))
    assert both["instructions"] > alone["instructions"] > alone["macs"]


def test_a_table_for_people() -> None:
    done = bench_melt("kernels", "--board", BOARD, "--only", "max pool")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("layer")
    assert "max_pool_s8_bwd_f32" in done.stdout


def test_helium_that_was_not_compiled_for_fails_the_benchmark(tmp_path: Path) -> None:
    text = (boards_dir() / "qemu_mps3_an547.toml").read_text()
    board = tmp_path / "board.toml"
    board.write_text(text.replace("-mcpu=cortex-m55", "-mcpu=cortex-m55+nomve"))
    done = bench_melt("kernels", "--board", board, "--only", "max pool")
    assert (done.returncode, done.stdout) == (1, "")
    assert "has feature 'mve', but its firmware was compiled without it" in done.stderr
    assert "-mcpu=cortex-m55+nomve" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--board", "host"), "nothing counts instructions on board 'host'"),
        (("--board", BOARD, "--only", "nonsense"), "no layer's title holds 'nonsense'"),
        (("--board", BOARD, "--gradients", "s9"), "gradient format 's9' is not one of"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments: tuple[str, ...], message: str) -> None:
    done = bench_melt("kernels", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
