"""Every kernel file: one public function, named as the file, and no state of its own.

Read from the compiler's output, not from the text.
"""

from pathlib import Path

import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from codegen.build import C_FLAGS
from codegen.paths import firmware_dir
from codegen.toolchain import run_tool


def compile_kernel(source: Path, folder: Path) -> Path:
    target = folder / f"{source.stem}.o"
    include = f"-I{firmware_dir() / 'include'}"
    argv = ["gcc", *C_FLAGS, "-O1", include, f"-I{source.parent}", "-c", str(source)]
    answer = run_tool([*argv, "-o", str(target)], timeout_s=60)
    assert answer.returncode == 0, answer.stderr
    return target


def public_functions(elf: ELFFile) -> list[str]:
    return [
        symbol.name
        for symbol in elf.get_section_by_name(".symtab").iter_symbols()
        if symbol["st_info"]["bind"] != "STB_LOCAL" and symbol["st_shndx"] != "SHN_UNDEF"
    ]


def state_bytes(elf: ELFFile) -> int:
    wanted = SH_FLAGS.SHF_ALLOC | SH_FLAGS.SHF_WRITE
    return sum(
        section["sh_size"]
        for section in elf.iter_sections()
        if section["sh_flags"] & wanted == wanted and not section.name.startswith(".data.rel.ro")
    )


@pytest.mark.parametrize(
    "source", sorted(firmware_dir().glob("kernels/**/*.c")), ids=lambda path: path.stem
)
def test_one_public_function_and_no_state(source: Path, tmp_path: Path) -> None:
    with compile_kernel(source, tmp_path).open("rb") as file:
        elf = ELFFile(file)
        assert public_functions(elf) == [source.stem]
        assert state_bytes(elf) == 0


def test_the_check_sees_what_it_should(tmp_path: Path) -> None:
    source = tmp_path / "te_one.c"
    source.write_text(
        "int te_one(void);\nint te_two(void);\nstatic int calls;\n"
        "int te_one(void)\n{\n    return ++calls;\n}\n"
        "int te_two(void)\n{\n    return calls;\n}\n"
    )
    with compile_kernel(source, tmp_path).open("rb") as file:
        elf = ELFFile(file)
        assert sorted(public_functions(elf)) == ["te_one", "te_two"]
        assert state_bytes(elf) == 4
