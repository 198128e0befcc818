"""Building for Cortex-M: sizes, budgets, what may not be linked in."""

from pathlib import Path

import pytest

from codegen.board import load_board
from codegen.build import build
from codegen.toolchain import run_tool
from tests.fake_dir import write_bare, write_fake
from tinyengine.errors import BudgetError, InternalError, UserError

BOARDS = ("qemu_mps2_an386", "qemu_mps2_an500", "qemu_mps3_an547", "qemu_netduinoplus2")


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


def stack_bytes(folder: Path) -> int:
    result = build(folder, load_board("qemu_mps2_an500"))
    assert result.stack_bytes is not None
    return result.stack_bytes


def hook_folder(tmp_path: Path, name: str, override: str) -> Path:
    """A main that calls hook(), which is weak and small; `override` may define it again."""
    folder = write_bare(tmp_path / name, "qemu_mps2_an500", "cmsdk")
    (folder / "src" / "main.c").write_text(
        "void hook(void);\nint main(void);\nint main(void)\n{\n    hook();\n    return 0;\n}\n"
    )
    (folder / "src" / "weak.c").write_text(
        "void hook(void);\n__attribute__((weak)) void hook(void) {}\n"
    )
    (folder / "src" / "override.c").write_text(override)
    return folder


LARGE = "{\n    volatile char a[512];\n    a[0] = 1;\n    a[511] = a[0];\n}\n"


@pytest.mark.parametrize(
    "override",
    [
        "void hook(void);\nvoid hook(void)\n" + LARGE,
        # another name at the same address
        "void real(void);\nvoid hook(void);\nvoid real(void)\n"
        + LARGE
        + 'void hook(void) __attribute__((alias("real")));\n',
        # a call that only the disassembly shows
        "void hook(void);\nvoid real(void);\n__attribute__((used)) void real(void)\n"
        + LARGE
        + '__attribute__((naked)) void hook(void) { __asm__ volatile("b real"); }\n',
    ],
    ids=["weak", "alias", "assembly"],
)
def test_stack_follows_what_was_linked(tmp_path: Path, override: str) -> None:
    small = stack_bytes(hook_folder(tmp_path, "small", "extern int unused;\nint unused = 0;\n"))
    large = stack_bytes(hook_folder(tmp_path, "large", override))
    assert 500 < large - small < 560


def test_a_frame_of_unknown_size_is_refused(tmp_path: Path) -> None:
    folder = hook_folder(
        tmp_path,
        "gen",
        "#include <alloca.h>\n#include <string.h>\nvoid hook(void);\nvolatile unsigned n = 3;\n"
        "extern volatile unsigned n;\nvoid hook(void)\n{\n    memset(alloca(n), 1, n);\n"
        "    char *volatile p = alloca(n);\n    p[0] = 1;\n}\n",
    )
    with pytest.raises(InternalError, match="the stack frame of 'hook' has no fixed size"):
        stack_bytes(folder)
