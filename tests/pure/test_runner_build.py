"""`bench-melt runner build`: its argv, the unpacking, what it says when something is missing."""

import stat
from pathlib import Path

import pytest

from bench_melt.commands.runner import Action, command
from bench_melt.runners import build, compilers, source
from bench_melt.runners.build import Tree, configure_argv, llama_options
from bench_melt.runners.compilers import Choice, Compiler, find_compiler, find_processor
from bench_melt.runners.source import Source, get_source
from tests.runner_rig import COMMIT, TOP, archive_of, own_cache, project_files
from tinyengine.errors import UserError

pytestmark = pytest.mark.pure

CMAKE, NINJA = Path("bin/cmake"), Path("bin/ninja")
SOURCE = Source(Path("src"), "a.tar.gz", "00" * 32, COMMIT)
TREE = Tree(Path("src"), Path("work"), llama_options(SOURCE))
LLAMA = (
    *("-DBUILD_SHARED_LIBS=OFF", "-DGGML_CCACHE=OFF", "-DGGML_OPENMP=OFF"),
    *("-DLLAMA_BUILD_APP=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_TESTS=OFF"),
    *("-DLLAMA_BUILD_UI=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"),
    *("-DLLAMA_BUILD_COMMIT=012345678", "-DLLAMA_BUILD_NUMBER=0"),
    f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={Path(build.__file__).with_name('fewer_units.cmake')}",
)
BEGIN = ("bin/cmake", "-G", "Ninja", "-S", "src", "-B", "work")


def quiet(line: str) -> None:
    """Say nothing."""


def test_argv_of_a_build_for_this_computer() -> None:
    gcc = Compiler("gcc 12", "gcc", "g++", None, None, "", "-s")
    found = configure_argv(TREE, find_processor("host"), gcc, CMAKE, NINJA)
    assert found == (
        *BEGIN,
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_MAKE_PROGRAM=bin/ninja",
        "-DCMAKE_C_COMPILER=gcc",
        "-DCMAKE_CXX_COMPILER=g++",
        "-DCMAKE_EXE_LINKER_FLAGS=-s",
        "-DGGML_NATIVE=ON",
        *LLAMA,
    )


def test_argv_of_a_cross_build() -> None:
    zig = Compiler("zig 1", "zig-cc", "zig-c++", "zig-ar", "zig-ranlib", "-mcpu=x", "-static -s")
    found = configure_argv(TREE, find_processor("aarch64"), zig, CMAKE, NINJA)
    assert found == (
        *BEGIN,
        "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_MAKE_PROGRAM=bin/ninja",
        "-DCMAKE_C_COMPILER=zig-cc",
        "-DCMAKE_CXX_COMPILER=zig-c++",
        "-DCMAKE_EXE_LINKER_FLAGS=-static -s",
        "-DGGML_NATIVE=OFF",
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_C_FLAGS=-mcpu=x",
        "-DCMAKE_CXX_FLAGS=-mcpu=x",
        "-DCMAKE_AR=zig-ar",
        "-DCMAKE_RANLIB=zig-ranlib",
        *LLAMA,
    )


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_gcc_comes_before_zig_and_zig_is_called_through_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name in ("gcc", "g++"):
        program(tmp_path, f"aarch64-linux-gnu-{name}", "echo 'cross  gcc 12'")
    zig = program(tmp_path, "zig with space", 'echo "$@"')
    monkeypatch.setattr(compilers, "_zig", lambda: zig)
    processor = find_processor("aarch64-i8mm")
    gcc = find_compiler(processor, Choice.AUTO, tmp_path / "bin")
    assert gcc == Compiler(
        version="cross gcc 12",
        cc=str(tmp_path / "aarch64-linux-gnu-gcc"),
        cxx=str(tmp_path / "aarch64-linux-gnu-g++"),
        ar=None,
        ranlib=None,
        flags="-march=armv8.2-a+dotprod+fp16+i8mm",
        link="-static -s",
    )
    found = find_compiler(processor, Choice.ZIG, tmp_path / "bin")
    assert found.version == "zig version"
    assert found.flags == "-mcpu=generic+v8_2a+dotprod+fullfp16+i8mm"
    said = [
        compilers.run_tool([str(path), "-c", "a b.c"], timeout_s=10).stdout.strip()
        for path in (found.cc, found.cxx, found.ar, found.ranlib)
    ]
    target = "-target aarch64-linux-musl"
    assert said == [f"cc {target} -c a b.c", f"c++ {target} -c a b.c", "ar -c a b.c",
                    "ranlib -c a b.c"]  # fmt: skip
    assert stat.S_IMODE(Path(found.cc).stat().st_mode) & 0o100


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice.AUTO, r"'aarch64' is installed; gcc: apt-get.*g\+\+-aarch64.*; or zig: pip inst"),
        (Choice.GCC, r"gcc: apt-get.*libc6-dev-arm64-cross$"),
        (Choice.ZIG, r"zig: pip install 'tinyengine-mcu\[runner\]'$"),
    ],
)
def test_without_a_cross_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: Choice, message: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compilers, "_zig", lambda: None)
    with pytest.raises(UserError, match=message):
        find_compiler(find_processor("aarch64"), choice, tmp_path)


def test_without_a_compiler_or_build_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compilers.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UserError, match=r"no C\+\+ compiler for this computer.*apt-get.* g\+\+ "):
        find_compiler(find_processor("host"), Choice.AUTO, tmp_path)
    with pytest.raises(UserError, match=r"needs 'ninja'.*ninja-build, or pip install"):
        compilers.find_program("ninja")
    program(tmp_path, "cmake", "true")
    assert compilers.find_program("cmake") == tmp_path / "cmake"


def test_what_was_asked_for_is_checked_first() -> None:
    with pytest.raises(UserError, match=r"unknown target 'arm64' \(nearest: 'aarch64'"):
        command(Action.BUILD, target="arm64")
    with pytest.raises(UserError, match=r"unknown program 'lama-bench' \(nearest: 'llama-bench'"):
        command(Action.BUILD, target="host", program=["lama-bench"])


def test_only_llama_cpp_is_unpacked_and_only_once(tmp_path: Path) -> None:
    lines: list[str] = []
    archive = archive_of(tmp_path / "a.tar.gz", project_files())
    found = get_source(tmp_path / "cache", archive, lines.append)
    names = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*")}
    assert "CMakeLists.txt" in names and "main.c" in names
    assert not names & {".git", "setup.py"} and found.commit == COMMIT
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [found.sha256[:16]]
    assert get_source(tmp_path / "cache", archive, lines.append) == found
    assert lines == ["source: unpacking a.tar.gz"]


@pytest.mark.parametrize(
    ("files", "link", "message"),
    [
        ({f"{TOP}/vendor/llama.cpp/../../../../../x": b""}, None, "cannot unpack"),
        ({}, (f"{TOP}/vendor/llama.cpp/out", "../../../../etc"), "cannot unpack"),
        ({f"{TOP}/README.md": b"no source"}, None, r"holds no vendor/llama.cpp/CMakeLists.txt"),
    ],
)
def test_an_archive_that_is_none_of_ours(
    tmp_path: Path, files: dict[str, bytes], link: tuple[str, str] | None, message: str
) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", files, link)
    with pytest.raises(UserError, match=message):
        get_source(tmp_path / "cache", archive, quiet)
    assert list((tmp_path / "cache").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "cache"]


def test_an_archive_that_is_broken_or_absent(tmp_path: Path) -> None:
    whole = archive_of(tmp_path / "a.tar.gz", project_files()).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cannot unpack source package '.*cut.tar.gz'"):
        get_source(tmp_path / "cache", tmp_path / "cut.tar.gz", quiet)
    (tmp_path / "text.tar.gz").write_text("no archive")
    with pytest.raises(UserError, match=r"'.*text.tar.gz': it is no archive of tar$"):
        get_source(tmp_path / "cache", tmp_path / "text.tar.gz", quiet)
    with pytest.raises(UserError, match="there is no source package"):
        get_source(tmp_path / "cache", tmp_path / "b.tar.gz", quiet)


def test_a_download_that_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(folder: Path) -> Path:
        return archive_of(folder / "llama_cpp_python.tar.gz", project_files())

    monkeypatch.setattr(source, "_download", other)
    with pytest.raises(UserError, match=rf"has the sha256 \w+, expected {source.SHA256}.*--source"):
        get_source(tmp_path, None, quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache(monkeypatch, tmp_path)
    monkeypatch.setattr(source, "VERSION", "0.0.0.no")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        UserError, match=r"cannot download package 'llama-cpp-python==0.0.0.no'.*--source"
    ):
        get_source(tmp_path, None, quiet)
