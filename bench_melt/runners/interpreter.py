"""The TensorFlow Lite interpreter of this Python, in a process of its own.

Run as `python -m bench_melt.runners.interpreter MODEL ...`. It loads, warms up, measures, writes
one line of JSON and ends; what goes wrong is one line on stderr, and exit code 1. Times are those
of `time.perf_counter`, which on Linux is one clock for all processes of a computer.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench_melt.targets.linux_files import process_files, usage_of
from bench_melt.targets.machine import Usage

# package -> module with the interpreter: the first that loads is taken
RUNTIMES: Mapping[str, str] = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What the process writes.

    main_s, import_s, load_s, first_s: when its own code began, the runtime was imported, the model
    was loaded (tensors allocated), and the first inference ended. load_start_s: loading began.
    inferences: (start, end) of each measured one. memory_before_bytes: resident before loading.
    """

    runtime: str
    main_s: float
    import_s: float
    load_start_s: float
    load_s: float
    first_s: float
    inferences: Sequence[tuple[float, float]]
    memory_before_bytes: int | None
    memory_peak_bytes: int | None
    memory_pss_bytes: int | None
    cpu_s: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the report."""
    wanted = _arguments(argv)
    main_s = time.perf_counter()
    try:
        report = _measure(wanted, main_s)
    except _RefusalError as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    return 0


class _RefusalError(Exception):
    """Why nothing was measured, in one line."""


def load_runtime(
    runtimes: Mapping[str, str] = RUNTIMES,
) -> tuple[str, Any]:
    """Return package and interpreter class of the first runtime that loads.

    Raises:
        ImportError: none does; says why of each.
    """
    reasons = []
    for package, module in runtimes.items():
        try:
            return package, importlib.import_module(module).Interpreter
        # a runtime that was built for another numpy fails in ways of its own
        except (ImportError, AttributeError, SystemError) as error:
            reasons.append(f"{package}: {_one_line(error)}")
    raise ImportError("; ".join(reasons))


def random_inputs(details: Sequence[Mapping[str, Any]], seed: int) -> Iterator[NDArray[Any]]:
    """Yield an array per input of the model, drawn from the seed.

    Integers of 8 and 16 bits over their whole range, floats from -1 to 1; wider integers and
    booleans are 0 or 1, since they may be indices or lengths.
    """
    rng = np.random.default_rng(seed)
    for one in details:
        shape, kind = tuple(int(n) for n in one["shape"]), np.dtype(one["dtype"])
        if kind.kind == "f":
            yield rng.uniform(-1, 1, shape).astype(kind)
        elif kind.kind in "iu" and kind.itemsize <= 2:
            low, high = np.iinfo(kind).min, np.iinfo(kind).max
            yield rng.integers(low, high, shape, dtype=kind, endpoint=True)
        elif kind.kind in "iub":
            yield rng.integers(0, 2, shape).astype(kind)
        else:
            raise _RefusalError(
                f"input '{one['name']}' is of type {kind}: no input can be made for it"
            )


def _measure(wanted: argparse.Namespace, main_s: float) -> Report:
    try:
        runtime, interpreter = load_runtime()
    except ImportError as error:
        raise _RefusalError(f"no TensorFlow Lite interpreter can be loaded: {error}") from error
    import_s = time.perf_counter()
    before = _usage()
    load_start_s = time.perf_counter()
    try:
        net = interpreter(model_path=wanted.model, num_threads=wanted.threads)
        net.allocate_tensors()
        load_s = time.perf_counter()
        details = net.get_input_details()
        for one, array in zip(details, random_inputs(details, wanted.seed), strict=True):
            net.set_tensor(one["index"], array)
        net.invoke()
        first_s = time.perf_counter()
        for _ in range(wanted.warmups):
            net.invoke()
        inferences = [_timed(net.invoke) for _ in range(wanted.inferences)]
    except (RuntimeError, ValueError, TypeError) as error:
        raise _RefusalError(f"{runtime} refuses the model: {_one_line(error)}") from error
    after = _usage()
    return Report(
        runtime=runtime,
        main_s=main_s,
        import_s=import_s,
        load_start_s=load_start_s,
        load_s=load_s,
        first_s=first_s,
        inferences=inferences,
        memory_before_bytes=before.rss_bytes,
        memory_peak_bytes=after.rss_peak_bytes,
        memory_pss_bytes=after.pss_bytes,
        cpu_s=time.process_time(),
    )


def _timed(work: Any) -> tuple[float, float]:
    start_s = time.perf_counter()
    work()
    return start_s, time.perf_counter()


def _usage() -> Usage:
    files = {}
    for path in process_files(os.getpid()):
        try:
            files[path] = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return usage_of(files)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="interpreter")
    parser.add_argument("model")
    for name, default in (("threads", 1), ("warmups", 0), ("inferences", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
