"""The wheel carries the firmware and the boards, and finds them without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.needs import package
from tests.tidy.sources import ROOT, tracked

ASK = """
import codegen.board, codegen.paths
print(codegen.paths.firmware_dir() / "include" / "te_model.h")
print(codegen.board.load_board("qemu_mps2_an500").ram_usable_bytes)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package("hatchling")
    package("pip")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", folder, ROOT], check=True, timeout=120, capture_output=True)
    return next(folder.glob("*.whl"))


def test_everything_tracked_travels(wheel: Path) -> None:
    carried = set(zipfile.ZipFile(wheel).namelist())
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        top = name.split("/")[0]
        if top in ("firmware", "boards"):
            assert f"codegen/_data/{name}" in carried
        elif top in ("tinyengine", "codegen", "bench_melt"):
            assert name in carried


def test_an_unpacked_wheel_finds_its_own_files(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    answer = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    header, ram_bytes = answer.stdout.split()
    assert Path(header).is_relative_to(tmp_path) and Path(header).is_file()
    assert int(ram_bytes) == 262144
