"""The machine's memory bandwidth, measured once per target and sweep; what decoding takes of it."""

import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from bench_melt.decode_reads import DecodeReads
from bench_melt.targets.machine import Deadline, Machine, MachineInfo
from codegen.toolchain import run_tool
from tinyengine.errors import DeviceError, TinyEngineError

_SOURCE = Path(__file__).parent / "runners" / "bandwidth.c"
_FLAGS = ("-std=c99", "-O3", "-static", "-pthread")
_MEBIBYTES = 256  # larger than the last-level caches of phones, boards and most computers
_MEBIBYTES_MIN = 32
_PASSES = 8
_LIMIT_S = 60.0
_COMPILE_S = 120.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Rate:
    """What a machine reads per second; reason: why it was not measured."""

    bytes_per_s: float | None
    reason: str | None = None


@dataclass(slots=True)
class Bandwidth:
    """Rates of one machine, each measured when first asked for."""

    _known: dict[tuple[int, tuple[int, ...]], Rate] = field(default_factory=dict)

    def measure(
        self, machine: Machine, info: MachineInfo, threads: int, cores: tuple[int, ...]
    ) -> Rate:
        """Return what `threads` threads read per second on these cores (none: all).

        Never raises a failure of the measurement: that is no reason to lose what else is measured.
        """
        key = (threads, cores)
        if key not in self._known:
            try:
                self._known[key] = Rate(_measured(machine, info, threads, cores))
            except (TinyEngineError, OSError) as error:
                self._known[key] = Rate(None, str(error) or type(error).__name__)
        return self._known[key]


def decode_share(
    reads: DecodeReads | None,
    position: float | None,
    tokens_per_s: float | None,
    rate: Rate,
) -> float | None:
    """Return the share of the bandwidth that decoding takes; None where a part is unknown.

    Args:
        reads: What the model reads per token.
        position: Mean number of positions in the context while tokens were made.
        tokens_per_s: Decoding speed of one request.
        rate: What the machine can read.
    """
    if reads is None or position is None or tokens_per_s is None or not rate.bytes_per_s:
        return None
    per_token_bytes = reads.weights_bytes + reads.kv_bytes_per_position * position
    return per_token_bytes * tokens_per_s / rate.bytes_per_s


def _measured(machine: Machine, info: MachineInfo, threads: int, cores: tuple[int, ...]) -> float:
    free = machine.state().memory_available_bytes
    size = _MEBIBYTES if free is None else min(_MEBIBYTES, free // 4 // _MIB)
    if size < _MEBIBYTES_MIN:
        raise DeviceError(f"'{machine.name}' has no {4 * _MEBIBYTES_MIN} MiB of memory to spare")
    sizes = [str(size), str(threads), str(_PASSES)]
    if machine.shares_files:
        return _run(machine, [sys.executable, "-m", "bench_melt.runners.bandwidth", *sizes], cores)
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "te_bandwidth"
        _compile(compiler_for(info.architecture), program)
        return _run(machine, [machine.deploy(program), *sizes], cores)


def compiler_for(architecture: str | None) -> Sequence[str]:
    """Return the command of a compiler here that makes static programs for a processor.

    Raises:
        DeviceError: there is none; says which would do.
    """
    if architecture is None:
        raise DeviceError("the machine does not say what processor it has")
    if architecture == platform.machine() and (native := shutil.which("gcc")):
        return [native]
    if cross := shutil.which(f"{architecture}-linux-gnu-gcc"):
        return [cross]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-musl"]
    raise DeviceError(
        f"no compiler for '{architecture}' is installed here: '{architecture}-linux-gnu-gcc' or "
        "the python package 'ziglang'"
    )


def _compile(compiler: Sequence[str], program: Path) -> None:
    argv = [*compiler, *_FLAGS, str(_SOURCE), "-o", str(program)]
    done = run_tool(argv, timeout_s=_COMPILE_S)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DeviceError(f"'{compiler[0]}' cannot compile '{_SOURCE.name}': {last}")


def _run(machine: Machine, argv: Sequence[str], cores: tuple[int, ...]) -> float:
    deadline = Deadline(_LIMIT_S)
    process = machine.start(argv, cores=cores)
    try:
        line = process.wait_line("bytes_per_s ", deadline)
    finally:
        process.kill()
    try:
        return float(line.partition(" ")[2])
    except ValueError as error:
        raise DeviceError(f"the measurement of memory said '{line}'") from error
