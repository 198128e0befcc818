"""Building a generated folder for this computer."""

import json
import subprocess
from pathlib import Path

import pytest

from codegen.board import Board, load_board
from codegen.build import build
from codegen.size import read_sizes
from codegen.toolchain import run_tool
from tests.fake_dir import write_bare, write_fake
from tinyengine.errors import InternalError, UserError

HOST = load_board("host")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bare(tmp_path / "gen", "host", "host")


def test_the_program_runs(folder: Path) -> None:
    result = build(folder, HOST)
    assert result.elf == folder / "build" / "host" / "firmware.elf"
    assert subprocess.run([result.elf], timeout=10, check=False).returncode == 0


def test_sizes_are_those_of_binutils(folder: Path) -> None:
    elf = build(folder, HOST).elf
    # text, data, bss
    row = run_tool(["size", str(elf)], timeout_s=20).stdout.splitlines()[1].split()
    text, data, bss = (int(word) for word in row[:3])
    sizes = read_sizes(elf)
    assert (sizes.flash_bytes, sizes.ram_static_bytes) == (text + data, data + bss)


def test_stack_sees_through_the_function_pointer(folder: Path) -> None:
    result = build(folder, HOST)
    # 400 bytes of locals stand behind te_model.train_step
    assert result.stack_bytes is not None and 400 < result.stack_bytes < 600
    assert result.ram_bytes == result.ram_static_bytes + result.stack_bytes


def test_only_what_changed_is_compiled_again(folder: Path) -> None:
    assert build(folder, HOST).compiled_count == 3
    stamp = (folder / "build" / "host" / "firmware.elf").stat().st_mtime_ns
    again = build(folder, HOST)
    assert again.compiled_count == 0 and again.elf.stat().st_mtime_ns == stamp
    main = folder / "src" / "main.c"
    main.write_text(main.read_text() + "\n/* touched */\n")
    assert build(folder, HOST).compiled_count == 1


def test_a_changed_header_compiles_its_readers(folder: Path) -> None:
    build(folder, HOST)
    header = folder / "src" / "te" / "te_mark.h"
    header.write_text(header.read_text() + "\n/* touched */\n")
    assert build(folder, HOST).compiled_count == 2  # te_mark.c and the model, not main.c


def test_other_flags_compile_everything_again(folder: Path) -> None:
    build(folder, HOST)
    flags = HOST.build.model_copy(update={"defines": ("TE_OTHER=1",)})
    assert build(folder, HOST.model_copy(update={"build": flags})).compiled_count == 3


def test_a_damaged_record_is_no_obstacle(folder: Path) -> None:
    build(folder, HOST)
    (folder / "build" / "host" / "build.json").write_text("[1, 2")
    assert build(folder, HOST).compiled_count == 3


def test_an_object_without_its_source_goes(folder: Path) -> None:
    extra = folder / "src" / "extra.c"
    extra.write_text("extern int extra;\nint extra = 1;\n")
    build(folder, HOST)
    extra.unlink()
    build(folder, HOST)
    assert not (folder / "build" / "host" / "obj" / "src" / "extra.o").exists()


def test_the_real_runtime(tmp_path: Path) -> None:
    result = build(write_fake(tmp_path / "gen", "host"), HOST)
    assert result.stack_bytes is not None and result.elf.is_file()


def test_sanitizers_stop_an_overrun(folder: Path) -> None:
    model = folder / "src" / "te_session_model.c"
    model.write_text(model.read_text().replace("i < sizeof scratch", "i <= sizeof scratch"))
    result = build(folder, HOST, sanitize=True)
    assert result.stack_bytes is None and result.ram_bytes is None
    answer = run_tool([str(result.elf)], timeout_s=20)
    assert answer.returncode != 0 and "index 400 out of bounds" in answer.stderr


def test_not_a_generated_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder that 'tinyengine-codegen compile' made"):
        build(tmp_path, HOST)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_sources(folder: Path) -> None:
    for path in (folder / "src").rglob("*.c"):
        path.unlink()
    with pytest.raises(UserError, match="holds no C files"):
        build(folder, HOST)


def test_a_folder_whose_own_sources_are_gone(folder: Path) -> None:
    (folder / "src/te").mkdir(exist_ok=True)
    for path in (folder / "src").glob("*.c"):
        path.rename(folder / "src/te" / path.name)
    with pytest.raises(UserError, match="holds no C files"):
        build(folder, HOST)


def test_a_folder_of_another_version(folder: Path) -> None:
    manifest = folder / "te_manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": 2}))
    with pytest.raises(UserError, match="format version 2, this tool reads 1; compile the model"):
        build(folder, HOST)


def test_an_unknown_port(folder: Path) -> None:
    flags = HOST.build.model_copy(update={"port": "moon"})
    board: Board = HOST.model_copy(update={"build": flags})
    with pytest.raises(UserError, match="board 'host' names port 'moon'"):
        build(folder, board)


def test_recursion_is_refused(folder: Path) -> None:
    (folder / "src" / "main.c").write_text(
        "int main(int argc, char **argv);\n"
        "int main(int argc, char **argv)\n"
        "{\n    volatile int once = 0;\n    if (argc > 1) {\n        once = main(argc - 1, argv);\n"
        "    }\n    return once + 1;\n}\n"
    )
    with pytest.raises(InternalError, match="no bound: 'main' -> 'main'"):
        build(folder, HOST)


def test_refused_code_is_an_internal_error_with_the_compilers_words(folder: Path) -> None:
    (folder / "src" / "main.c").write_text("int main(void) { return missing; }\n")
    with pytest.raises(InternalError, match=r"refuses 'src/main\.c':\n.*"):
        build(folder, HOST)
