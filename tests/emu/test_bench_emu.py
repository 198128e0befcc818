"""`bench-melt` on emulated boards: the simulator's bits, exact counts, faults told."""

from pathlib import Path

import numpy as np
import pytest

from bench_melt.targets.plugin import plugin_library
from bench_melt.workloads.counting import PHASES
from codegen.board import load_board
from codegen.compile_model import compile_model
from codegen.manifest import load_manifest
from codegen.paths import boards_dir
from tests.bench_rig import bench_melt, bench_melt_json, samples, write_fake_folder
from tests.needs import missing
from tinyengine.update.scheme import load_scheme, with_gradients

CASES = Path(__file__).parents[1] / "cases.py"
BOARD = "qemu_mps2_an500"
ALL_BOARDS = f"host,{BOARD},qemu_mps2_an386,qemu_mps3_an547,qemu_netduinoplus2"


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("residual") / "dir"
    compile_model(f"{CASES}:residual", load_board(BOARD), "full", folder)
    return folder


@pytest.mark.parametrize(
    ("case", "gradients"),
    [
        ("residual", "f32"),
        ("depthwise_multiplier", "f32"),
        ("residual", "s16"),
        ("squeeze_excite", "s16"),
        ("pools", "s8"),
    ],
)
def test_every_board_has_the_simulator_s_state_after_every_step(
    tmp_path: Path, case: str, gradients: str
) -> None:
    scheme = with_gradients(load_scheme("full"), gradients)
    compile_model(f"{CASES}:{case}", load_board(BOARD), scheme, tmp_path / "dir")
    got = bench_melt_json("verify", tmp_path / "dir", "--boards", ALL_BOARDS, "--steps", 200)
    assert got["equal"]
    assert list(got["states"]) == ["simulator", *ALL_BOARDS.split(",")]
    assert len(set(got["states"].values())) == 1


@pytest.mark.parametrize(
    ("biases", "fed"),
    [(2, False), (9, False), (2, True)],
    ids=["streams", "gradients over gradients", "input row by row"],
)
def test_a_front_that_runs_row_by_row(tmp_path: Path, biases: int, fed: bool) -> None:
    model = f"{CASES.parent / 'streams.py'}:chain"
    update = tmp_path / "last.toml"
    update.write_text(f'[update]\nbiases = {biases}\nhead = "int8"\n')
    result = compile_model(model, load_board(BOARD), str(update), tmp_path / "dir", fed=fed)
    assert result.compiled.train is not None
    assert bool(result.compiled.train.fed) == fed
    assert bool(result.compiled.train.streams) == (biases == 2)
    got = bench_melt_json("verify", tmp_path / "dir", "--boards", ALL_BOARDS, "--steps", 20)
    assert got["equal"]
    assert len(set(got["states"].values())) == 1


def test_instructions_are_exact_and_a_profile_adds_up(residual: Path, tmp_path: Path) -> None:
    if plugin_library() is None:
        missing("the QEMU plug-in cannot be built here")
    rng = np.random.default_rng(2)
    shape = load_manifest(residual).input.shape[1:]
    np.savez(tmp_path / "d.npz", x=rng.integers(-128, 128, (4, *shape)).astype(np.int8),
             y=[0, 1, 2, 3])  # fmt: skip
    run = ("train", residual, "--board", BOARD, "--data", tmp_path / "d.npz", "--steps", 6)
    first, second = bench_melt_json(*run), bench_melt_json(*run, "--profile")
    profile = second.pop("profile")
    assert first == second
    assert first["instructions_per_step"] > first["instructions_forward"] > 1000
    assert 0 < first["ram_bytes"] < 262144
    total = sum(v for row in profile["layers"] for v in row.values() if isinstance(v, int))
    assert profile["unit"] == "instructions"
    assert total == pytest.approx(first["instructions_per_step"], abs=len(profile["layers"]) * 5)
    assert {row["layer"] for row in profile["layers"]} >= {"stem", "mix", "classifier"}
    page = (residual / "report.html").read_text()
    assert page.count(f"Profile on {BOARD}") == 1 and "means of 6 steps" in page
    assert f"{sum(profile['layers'][0][phase] for phase in PHASES):,}" in page
    # the emulator learns what the host learns
    host = bench_melt_json("train", residual, "--board", "host", *run[4:])
    assert host["state_sha256"] == first["state_sha256"]
    assert host["instructions_per_step"] is None


def test_an_overrun_is_told_as_a_fault_with_its_address(tmp_path: Path) -> None:
    folder = write_fake_folder(tmp_path / "fake")
    text = (boards_dir() / f"{BOARD}.toml").read_text()
    defines = 'port = "cmsdk"\ndefines = ["TE_FAKE_OVERRUN=0x20040000"]'
    (tmp_path / "board.toml").write_text(text.replace('port = "cmsdk"', defines))
    x, _ = samples(2)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 2])
    done = bench_melt(
        "train", folder, "--board", tmp_path / "board.toml", "--data", tmp_path / "d.npz",
        "--steps", 2, "--json",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert "the device stopped with a" in done.stderr
    assert "access to a forbidden address at 0x20040000" in done.stderr
