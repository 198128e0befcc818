"""Building for Cortex-M: sizes, budgets, what may not be linked in."""

from pathlib import Path

import pytest

from codegen.board import load_board
from codegen.build import build
from codegen.toolchain import run_tool
from tests.fake_dir import write_bare, write_fake
from tinyengine.errors import BudgetError, InternalError, UserError

BOARDS = ("qemu_mps2_an386", "qemu_mps2_an500", "qemu_netduinoplus2")


def bare(tmp_path: Path, name: str, arena_bytes: int = 64) -> Path:
    port = load_board(name).build.port
    return write_bare(tmp_path / "gen", name, port, arena_bytes=arena_bytes)


@pytest.mark.parametrize("name", BOARDS)
def test_the_real_runtime_and_port(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    result = build(write_fake(tmp_path / "gen", name), board)
    assert board.memory is not None and result.ram_bytes is not None
    assert 400 < (result.stack_bytes or 0) < 4096
    assert result.ram_bytes < board.memory.ram_usable_bytes
    assert 1000 < result.flash_bytes < 32768


def test_sizes_are_those_of_binutils(tmp_path: Path) -> None:
    result = build(bare(tmp_path, "qemu_mps2_an500"), load_board("qemu_mps2_an500"))
    words = run_tool(["arm-none-eabi-size", str(result.elf)], timeout_s=20).stdout.split()
    text, data, bss = (int(word) for word in words[6:9])
    assert result.flash_bytes == text + data
    assert result.ram_static_bytes == data + bss


def test_boards_do_not_mix(tmp_path: Path) -> None:
    folder = write_fake(tmp_path / "gen", "qemu_mps2_an386")
    elves = {build(folder, load_board(name)).elf for name in BOARDS}
    assert len(elves) == len(BOARDS) and all(path.is_file() for path in elves)


@pytest.mark.parametrize(
    ("arena_bytes", "message"),
    [
        # the linker refuses it
        (
            300_000,
            r"needs 300\d{3} B of RAM for static data alone, 3\d{4} B more than the 262144 B",
        ),
        # it links, but the stack has no room any more
        (261_900, r"needs 262\d{3} B of RAM \(\d+ B static data \+ \d+ B worst-case stack\)"),
    ],
)
def test_over_budget(tmp_path: Path, arena_bytes: int, message: str) -> None:
    folder = bare(tmp_path, "qemu_mps2_an500", arena_bytes)
    with pytest.raises(BudgetError, match=message) as error:
        build(folder, load_board("qemu_mps2_an500"))
    text = str(error.value)
    assert f"largest: 'arena' {arena_bytes} B, " in text and "'qemu_mps2_an500'" in text


def test_over_flash(tmp_path: Path) -> None:
    folder = bare(tmp_path, "qemu_netduinoplus2")
    (folder / "src" / "big.c").write_text(
        '__attribute__((section(".vectors"), used)) static const char big[2000000] = {1};\n'
    )
    with pytest.raises(BudgetError, match=r"needs 20\d{5} B of flash, .* 1048576 B of board"):
        build(folder, load_board("qemu_netduinoplus2"))


def test_malloc_does_not_link(tmp_path: Path) -> None:
    folder = bare(tmp_path, "qemu_mps2_an500")
    (folder / "src" / "main.c").write_text(
        "#include <stdlib.h>\nint main(void);\n"
        "int main(void)\n{\n    int *volatile p = malloc(4);\n    return p == 0;\n}\n"
    )
    with pytest.raises(InternalError, match="the linker refuses"):
        build(folder, load_board("qemu_mps2_an500"))


def test_sanitizers_are_for_the_host(tmp_path: Path) -> None:
    folder = bare(tmp_path, "qemu_mps2_an500")
    with pytest.raises(UserError, match="sanitizers need the board 'host'"):
        build(folder, load_board("qemu_mps2_an500"), sanitize=True)
