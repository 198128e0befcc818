"""llama.cpp's programs built for a processor: configured, compiled, copied out with a manifest.

A second call goes on where the first was interrupted (ninja knows what is done), and does nothing
where the folder already holds what would be built.
"""

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench_melt.models import file_sha256
from bench_melt.packaged import user_cache
from bench_melt.runners.compilers import (
    EMULATOR,
    Choice,
    Compiler,
    Processor,
    find_compiler,
    find_program,
)
from bench_melt.runners.source import Source, Tell, get_source
from codegen.toolchain import run_tool
from tinyengine.errors import UserError

PROGRAMS = ("llama-server", "llama-bench", "llama-cli", "llama-perplexity")
MANIFEST = "manifest.json"

_LAST_LINES = 12
_CHECK_S = 120.0
_STEP = re.compile(r"^\[(\d+)/(\d+)\]")

# llama.cpp without what a measurement does not need: no web page, no TLS, no OpenMP runtime (its
# own threads do), no tests. Everything is linked into the programs.
_LLAMA_OPTIONS = {
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_CCACHE": "OFF",
    "GGML_OPENMP": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}

Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Tree:
    """A project to compile: its source, where it is compiled, and CMake's variables for it."""

    source: Path
    work: Path
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Built:
    """The folder with the programs, and what its manifest says. fresh: False: it was there."""

    folder: Path
    manifest: Mapping[str, Any]
    fresh: bool


def runners_folder() -> Path:
    """Return the folder of the user's cache that holds one sub-folder per target."""
    return user_cache() / "runners"


def build_runner(
    processor: Processor,
    out: Path,
    *,
    choice: Choice,
    programs: Sequence[str],
    archive: Path | None,
    jobs: int,
    tell: Tell,
    step: Step,
) -> Built:
    """Have llama.cpp's programs for a processor in a folder.

    Args:
        processor: For what.
        out: The folder.
        choice: With which compiler.
        programs: Names out of PROGRAMS.
        archive: The source package; None: the pinned one from the package index.
        jobs: Compilers that run at a time.
        tell: Receives a line before each part.
        step: Receives how many steps of how many are done while it compiles.

    Raises:
        UserError: a tool is missing, or a part fails: the last lines of its output are quoted.
    """
    work = runners_folder() / "work"
    compiler = find_compiler(processor, choice, work / "bin")
    cmake, ninja = find_program("cmake"), find_program("ninja")
    source = get_source(runners_folder() / "source", archive, tell)
    tree = Tree(
        source.folder, work / f"{processor.name}-{source.sha256[:16]}", llama_options(source)
    )
    argv = configure_argv(tree, processor, compiler, cmake, ninja)
    wanted = _wanted(processor, compiler, source, argv, programs)
    if (there := _there(out, wanted)) is not None:
        return Built(out, there, fresh=False)
    tell(f"configure: target {processor.name}, {compiler.version}")
    configure(tree, argv)
    tell(f"compile: {', '.join(programs)}")
    compile_programs(tree, cmake, programs, jobs, step)
    manifest = {**wanted, "programs": _install(tree, out, processor, programs)}
    _write(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return Built(out, manifest, fresh=True)


def llama_options(source: Source) -> Mapping[str, str]:
    """Return CMake's variables for llama.cpp. The archive has no history: the build number is 0."""
    commit = source.commit[:9] if source.commit else "unknown"
    fewer = Path(__file__).with_name("fewer_units.cmake")
    return {
        **_LLAMA_OPTIONS,
        "LLAMA_BUILD_COMMIT": commit,
        "LLAMA_BUILD_NUMBER": "0",
        "CMAKE_PROJECT_llama.cpp_INCLUDE": str(fewer),
    }


def configure_argv(
    tree: Tree, processor: Processor, compiler: Compiler, cmake: Path, ninja: Path
) -> tuple[str, ...]:
    """Return the words that configure a tree."""
    variables = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_MAKE_PROGRAM": str(ninja),
        "CMAKE_C_COMPILER": compiler.cc,
        "CMAKE_CXX_COMPILER": compiler.cxx,
        "CMAKE_EXE_LINKER_FLAGS": compiler.link,
        "GGML_NATIVE": "ON" if processor.is_host else "OFF",
    }
    if not processor.is_host:
        variables |= {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": "aarch64"}
        variables |= {"CMAKE_C_FLAGS": compiler.flags, "CMAKE_CXX_FLAGS": compiler.flags}
    if compiler.ar is not None and compiler.ranlib is not None:
        variables |= {"CMAKE_AR": compiler.ar, "CMAKE_RANLIB": compiler.ranlib}
    defined = [f"-D{name}={value}" for name, value in {**variables, **tree.options}.items()]
    return (str(cmake), "-G", "Ninja", "-S", str(tree.source), "-B", str(tree.work), *defined)


def configure(tree: Tree, argv: Sequence[str]) -> None:
    """Run CMake; another compiler or another option than last time begins a new tree.

    Raises:
        UserError: it fails.
    """
    note = tree.work / "configured.json"
    text = json.dumps(list(argv))
    if note.is_file() and note.read_text(encoding="utf-8") == text:
        return
    shutil.rmtree(tree.work, ignore_errors=True)
    tree.work.mkdir(parents=True)
    _run(argv, tree.work / "configure.log", "configuring", lambda line: None)
    _write(note, text)


def compile_programs(
    tree: Tree, cmake: Path, programs: Sequence[str], jobs: int, step: Step
) -> None:
    """Compile programs of a configured tree, and only what they need.

    Raises:
        UserError: a source does not compile; the compiler's last lines are quoted.
    """

    def count(line: str) -> None:
        if found := _STEP.match(line):
            step(int(found[1]), int(found[2]))

    argv = [str(cmake), "--build", str(tree.work), "--parallel", str(jobs), "--target", *programs]
    _run(argv, tree.work / "compile.log", "compiling", count)


def find_in(tree: Tree, program: str) -> Path:
    """Return a compiled program of a tree.

    Raises:
        UserError: it was not made.
    """
    for folder in (tree.work / "bin", tree.work):
        if (folder / program).is_file():
            return folder / program
    raise UserError(f"compiling made no '{program}' in '{tree.work}'")


def version_of(program: Path, processor: Processor) -> str | None:
    """Return what `--version` prints, under emulation where needed; None where it cannot run.

    Raises:
        UserError: it runs and fails.
    """
    emulator = () if processor.is_host else (shutil.which(EMULATOR),)
    if None in emulator:
        return None
    argv = [*(str(word) for word in emulator), str(program), "--version"]
    answer = run_tool(argv, timeout_s=_CHECK_S)
    said = [line.strip() for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
    if answer.returncode != 0:
        raise UserError(
            f"'{program.name}' for target '{processor.name}' was built but '--version' ends with "
            f"exit code {answer.returncode}: {' | '.join(said[-3:]) or 'nothing said'}"
        )
    return " | ".join(said)


def _wanted(
    processor: Processor,
    compiler: Compiler,
    source: Source,
    argv: Sequence[str],
    programs: Sequence[str],
) -> dict[str, Any]:
    """Return what the manifest says of how programs were made."""
    return {
        "target": processor.name,
        "source": source.archive,
        "source_sha256": source.sha256,
        "llama_cpp_commit": source.commit,
        "compiler": compiler.version,
        "cmake": _first_line([argv[0], "--version"]),
        "options": [word for word in argv if word.startswith("-D")],
        "program_names": sorted(programs),
    }


def _there(out: Path, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a folder's manifest where all of it is as wanted and no file differs."""
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        same = {name: found[name] for name in wanted} == dict(wanted)
        kept = all(file_sha256(out / p["name"]) == p["sha256"] for p in found["programs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if same and kept else None


def _install(
    tree: Tree, out: Path, processor: Processor, programs: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Copy programs out, each beside its goal and then renamed; return what they are."""
    out.mkdir(parents=True, exist_ok=True)
    found: list[Mapping[str, Any]] = []
    for name in programs:
        made = find_in(tree, name)
        version = version_of(made, processor)
        fresh = out / f".{name}.new"
        shutil.copyfile(made, fresh)
        fresh.chmod(0o755)
        fresh.replace(out / name)
        size, digest = (out / name).stat().st_size, file_sha256(out / name)
        found.append({"name": name, "bytes": size, "sha256": digest, "version": version})
    return found


def _run(argv: Sequence[str], log: Path, what: str, see: Callable[[str], None]) -> None:
    """Run a build tool, its output line by line into a log, and to `see`."""
    # a git repository around the cache is not the source's own
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "TERM": "dumb",
        "NINJA_STATUS": "[%f/%t] ",
        "GIT_CEILING_DIRECTORIES": str(log.parent.parent),
    }
    last: deque[str] = deque(maxlen=_LAST_LINES)
    # ninja holds its lines back unless it writes to a terminal; a dumb one gets plain lines
    reader, writer = pty.openpty()
    with (
        log.open("w", encoding="utf-8", buffering=1) as kept,
        os.fdopen(reader, encoding="utf-8", errors="replace") as output,
        subprocess.Popen(
            list(argv),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        os.close(writer)
        try:
            for line in _lines(output):
                kept.write(f"{line}\n")
                last.append(line)
                see(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        said = "\n  ".join(line for line in last if line.strip())
        raise UserError(
            f"{what} failed with exit code {process.returncode}; the whole output is in '{log}', "
            f"it ends with:\n  {said}"
        )


def _lines(terminal: IO[str]) -> Iterator[str]:
    """Yield lines until nobody holds the other end: Linux tells that by an error."""
    with contextlib.suppress(OSError):
        for line in terminal:
            yield line.rstrip()


def _first_line(argv: Sequence[str]) -> str:
    return run_tool(argv, timeout_s=60).stdout.partition("\n")[0].strip()


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
