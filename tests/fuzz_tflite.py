"""Breaks .tflite files and compiles them: `python -m tests.fuzz_tflite --count 10000 --seed 1`.

Every file must become C or be refused with one message: no crash, no hang, no memory over the
limit.
Prints one JSON object; exit code 1 if a file behaved otherwise, and keeps that file.
"""

import argparse
import collections
import json
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np

from codegen.board import load_board
from codegen.emit import emit
from tests.cases import CASES
from tinyengine.compiled import compile_graph
from tinyengine.errors import UserError
from tinyengine.exporters.tflite import export_tflite
from tinyengine.importers.tflite import parse_tflite
from tinyengine.ir.text import write
from tinyengine.ir.verify import Stage, verify
from tinyengine.update.scheme import load_scheme

SECONDS_MAX = 10
MEMORY_MAX = 1 << 30
WORDS = (0, 1, 2, 3, 4, 8, 255, 256, 4096, 65535, 1 << 16, 1 << 24, 2**31 - 1, -(2**31), -1, -4)


@dataclass(frozen=True, slots=True)
class Broken:
    """A file as it was made."""

    kind: str
    source: str
    data: bytes


def sources(real: Path | None) -> dict[str, bytes]:
    found = {case.name: export_tflite(case.graph()) for case in CASES}
    if real is not None:
        found.update({path.name: path.read_bytes() for path in sorted(real.glob("*.tflite"))})
    return found


def broken_files(files: dict[str, bytes], count: int, seed: int) -> Iterator[Broken]:
    rng = np.random.default_rng(seed)
    names = list(files)
    for _ in range(count):
        name = names[rng.integers(len(names))]
        other = files[names[rng.integers(len(names))]]
        kind = ("bits", "words", "truncate", "splice", "shift")[rng.integers(5)]
        yield Broken(kind, name, mutate(kind, files[name], other, rng))


def mutate(kind: str, data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    if kind == "bits":
        for at in rng.integers(len(out), size=rng.choice([1, 2, 4, 16])):
            out[at] ^= 1 << int(rng.integers(8))
    elif kind == "words":
        for at in rng.integers(len(out) // 4, size=rng.choice([1, 1, 2, 4])):
            word = int(rng.choice(WORDS)) if rng.integers(2) else int(rng.integers(-9, 99))
            out[4 * at : 4 * at + 4] = word.to_bytes(4, "little", signed=True)
    elif kind == "truncate":
        del out[int(rng.integers(len(out))) :]
    else:  # a piece of a file over, or between, the bytes of another
        length = int(rng.integers(4, 400))
        start, at = int(rng.integers(len(other))), int(rng.integers(len(out)))
        end = at + length if kind == "splice" else at + int(rng.integers(9))
        out[at:end] = other[start : start + length]
    return bytes(out)


def outcome(broken: Broken) -> str:
    """'compiled' or 'refused'; anything else is a failure.

    Raises:
        Exception: what must not happen.
    """
    try:
        graph = parse_tflite(broken.data, "broken")
        verify(graph, Stage.IMPORT)
        write(graph)
        for scheme in ("none", "bias"):
            emit(compile_graph(graph, load_scheme(scheme)), load_board("host"))
    except UserError as error:
        text = str(error)
        if not text or "MemoryError" in text or len(text) > 3000 or "\n" in text:
            raise ValueError(f"a bad message: {text[:200]!r}") from error
        return "refused"
    return "compiled"


def on_alarm(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {SECONDS_MAX} s")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", type=Path, help="a folder of real .tflite files")
    parser.add_argument("--keep", type=Path, help="where a file that misbehaves is written")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    signal.signal(signal.SIGALRM, on_alarm)
    tally: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    for index, broken in enumerate(
        broken_files(sources(arguments.real), arguments.count, arguments.seed)
    ):
        start = time.monotonic()
        signal.alarm(SECONDS_MAX)
        try:
            result = outcome(broken)
        except Exception:
            result = "failed"
            sys.stderr.write(f"file {index}, {broken.kind} of {broken.source}:\n")
            traceback.print_exc(limit=-4)
            if arguments.keep:
                (arguments.keep / f"broken_{index}.tflite").write_bytes(broken.data)
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.monotonic() - start)
        tally[result] += 1
        tally[f"{broken.kind} {result}"] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {**tally, "slowest_s": round(slowest, 3), "memory_bytes_peak": peak}
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if tally["failed"] or peak > MEMORY_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
