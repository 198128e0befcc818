"""Compiles and links a generated folder for a board, and weighs the result."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codegen.board import Board
from codegen.build_records import load_records, locked, save_records
from codegen.compile_c import Record, Unit, compile_units, digest_of
from codegen.linker import render_linker_script
from codegen.paths import firmware_dir
from codegen.size import check_budget, overflow_error, read_sizes
from codegen.stack import worst_stack_bytes
from codegen.toolchain import Toolchain, find_toolchain, run_tool
from tinyengine.errors import InternalError, UserError

MANIFEST = "te_manifest.json"
FORMAT_VERSION = 1  # of the manifest

# ports, kernels and generated code all live with the same rules; the optimisation level and the
# machine are the board's. Arena bytes change their type over time, hence no strict aliasing.
C_FLAGS = (
    *("-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow"),
    *("-Wcast-qual", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wdouble-promotion"),
    *("-Wvla", "-Wundef", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing"),
    *("-ffunction-sections", "-fdata-sections", "-fno-common"),
)
SANITIZE_FLAGS = (
    *("-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A linked firmware and what it takes; sizes in bytes, None where they were not measured."""

    elf: Path
    flash_bytes: int
    ram_static_bytes: int
    stack_bytes: int | None
    ram_bytes: int | None
    compiled_count: int


@dataclass(frozen=True, slots=True)
class _Job:
    """Everything that one build works with; `out` is relative to `directory`."""

    directory: Path
    board: Board
    chain: Toolchain
    out: str
    sanitize: bool

    @property
    def elf(self) -> str:
        return f"{self.out}/firmware.elf"

    @property
    def records(self) -> Path:
        return self.directory / self.out / "build.json"


def build(directory: Path, board: Board, *, sanitize: bool = False) -> BuildResult:
    """Build `directory` (made by `tinyengine-codegen compile`) for `board`.

    The program lands in `build/<board>/firmware.elf` of that folder; a second build compiles only
    what has changed. `sanitize` (host only) makes `build/<board>-sanitize/` with address and
    undefined-behaviour checks, without a stack figure.

    Raises:
        UserError: not such a folder, or the toolchain is missing.
        BudgetError: the program needs more memory than the board has.
        InternalError: the compiler refused our code.
    """
    directory = directory.resolve()
    _check_version(directory)
    if sanitize and not board.is_host:
        raise UserError(f"sanitizers need the board 'host', not '{board.name}'")
    out = f"build/{board.name}{'-sanitize' if sanitize else ''}"
    job = _Job(directory, board, find_toolchain(board.build.toolchain), out, sanitize)
    with locked(directory / out):
        return _build(job)


def read_manifest(directory: Path) -> Mapping[str, object]:
    """Return the manifest of a generated folder.

    Raises:
        UserError: the folder is not one that `tinyengine-codegen compile` made.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"'{directory}' is not a folder that 'tinyengine-codegen compile' made: "
            f"it has no {MANIFEST}"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read '{directory / MANIFEST}': {error}") from error
    if not isinstance(manifest, dict):
        raise UserError(f"'{directory / MANIFEST}' is not a JSON object; compile the model again")
    return manifest


def _check_version(directory: Path) -> None:
    """Refuse a folder that another version of the tool made."""
    version = read_manifest(directory).get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise UserError(
            f"'{directory / MANIFEST}' has format version {version!r}, this tool reads "
            f"{FORMAT_VERSION}; compile the model again"
        )


def _build(job: _Job) -> BuildResult:
    units = list(_units(job))
    records, compiled = compile_units(
        units,
        _command(job),
        cwd=job.directory,
        identity=job.chain.gcc.version,
        before=load_records(job.records),
    )
    _forget_others(job, records)
    objects = [unit.object for unit in units]
    linked_before = load_records(job.records).get(job.elf)
    save_records(job.records, records)
    records[job.elf] = _link(job, objects, linked_before)
    save_records(job.records, records)
    return _weigh(job, [job.directory / name for name in objects], compiled)


def _weigh(job: _Job, objects: list[Path], compiled_count: int) -> BuildResult:
    elf = job.directory / job.elf
    sizes = read_sizes(elf)
    stack = ram = None
    if job.chain.has_callgraph and not job.sanitize:
        stack = worst_stack_bytes(elf, objects, job.chain.objdump, job.board)
        ram = sizes.ram_static_bytes + stack
        check_budget(sizes, stack, objects, job.board)
    return BuildResult(elf, sizes.flash_bytes, sizes.ram_static_bytes, stack, ram, compiled_count)


def _port_folders(job: _Job) -> list[Path]:
    """Return the port's folders: the generated folder's own where it has them, else ours."""
    names = [job.board.build.port] + ([] if job.board.is_host else ["cortex_m"])
    folders = []
    for name in names:
        own, ours = job.directory / "port" / name, firmware_dir() / "port" / name
        folder = own if own.is_dir() else ours
        if not folder.is_dir():
            raise UserError(
                f"board '{job.board.name}' names port '{name}', which is neither in "
                f"'{job.directory / 'port'}' nor in the installed firmware"
            )
        folders.append(folder)
    return folders


def _units(job: _Job) -> Iterator[Unit]:
    sources = sorted((job.directory / "src").rglob("*.c"))
    # the kernels below src/te are no program without the model's own files
    if all(path.parent != job.directory / "src" for path in sources):
        raise UserError(f"'{job.directory / 'src'}' holds no C files; compile the model again")
    for path in sources:
        name = path.relative_to(job.directory).as_posix()
        yield Unit(name, f"{job.out}/obj/{name.removesuffix('.c')}.o")
    for folder in _port_folders(job):
        for path in sorted(folder.glob("*.c")):
            yield Unit(_short(job, path), f"{job.out}/obj/port/{folder.name}/{path.stem}.o")


def _short(job: _Job, path: Path) -> str:
    inside = path.is_relative_to(job.directory)
    return path.relative_to(job.directory).as_posix() if inside else str(path)


def _command(job: _Job) -> list[str]:
    ports = _port_folders(job)
    # the generated folder's own headers come first; ours only serve ports taken from here
    includes = ["src", "src/te", *(_short(job, folder) for folder in ports)]
    includes.append(str(firmware_dir() / "include"))
    board = job.board.build
    return [
        str(job.chain.gcc.path),
        *C_FLAGS,
        *board.cflags,
        f'-DTE_BOARD_NAME="{job.board.name}"',
        *(f"-D{define}" for define in board.defines),
        *(SANITIZE_FLAGS if job.sanitize else ()),
        *(("-fcallgraph-info=su",) if job.chain.has_callgraph else ()),
        f"-ffile-prefix-map={firmware_dir()}=firmware",
        *(f"-I{folder}" for folder in includes),
    ]


def _link(job: _Job, objects: list[str], before: Record | None) -> Record:
    argv = [str(job.chain.gcc.path), *job.board.build.cflags, *objects, "-o", job.elf]
    argv += ["-Wl,--gc-sections", "-Wl,--fatal-warnings"]
    inputs = list(objects)
    if job.sanitize:
        argv += SANITIZE_FLAGS
    if not job.board.is_host:
        script = f"{job.out}/cortex_m.ld"
        (job.directory / script).write_text(render_linker_script(job.board), encoding="utf-8")
        # no system calls are linked in: whatever needs malloc or files does not link
        argv += ["-nostartfiles", "--specs=nano.specs", f"-Wl,-T,{script}"]
        inputs.append(script)
    salt = "\0".join((job.chain.gcc.version, *argv))
    digest = digest_of(inputs, salt, job.directory)
    if before is not None and before.digest == digest and (job.directory / job.elf).is_file():
        return before
    answer = run_tool(argv, timeout_s=300, cwd=job.directory)
    if answer.returncode:
        (job.directory / job.elf).unlink(missing_ok=True)
        paths = [job.directory / name for name in objects]
        overflow = overflow_error(answer.stderr, paths, job.board)
        if overflow is not None:
            raise overflow
        lines = "\n".join(answer.stderr.strip().splitlines()[:20])
        raise InternalError(f"the linker refuses '{job.elf}':\n{lines}")
    return Record(tuple(inputs), digest)


def _forget_others(job: _Job, records: Mapping[str, Record]) -> None:
    """Delete objects whose source is gone."""
    for path in (job.directory / job.out / "obj").rglob("*.o"):
        if path.relative_to(job.directory).as_posix() not in records:
            path.unlink()
