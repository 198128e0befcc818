"""How fast this computer reads memory, measured in a process of its own.

Run as `python -m bench_melt.runners.bandwidth`. Each thread reads its own part of one large buffer
(numpy's maximum of 64-bit words, which is limited by memory and not by arithmetic), all at a time;
a pass lasts from the first start to the last end, and the fastest pass counts. Writes
`bytes_per_s FIGURE`. `bandwidth.c` does the same on machines without Python.
"""

import argparse
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the figure."""
    parser = argparse.ArgumentParser(prog="bandwidth")
    for name in ("mebibytes", "threads", "passes"):
        parser.add_argument(name, type=int)
    wanted = parser.parse_args(argv)
    figure = read_bytes_per_s(wanted.mebibytes << 20, wanted.threads, wanted.passes)
    sys.stdout.write(f"bytes_per_s {figure:.6g}\n")
    return 0


def read_bytes_per_s(size_bytes: int, threads: int, passes: int) -> float:
    """Return the highest read rate of `passes` passes over a buffer of `size_bytes`."""
    words = size_bytes // 8 // threads
    together = threading.Barrier(threads)
    spans: list[list[tuple[float, float]]] = [[] for _ in range(threads)]

    def read(mine: list[tuple[float, float]]) -> None:
        part = np.arange(words, dtype=np.int64)  # its pages are there before the first pass
        for _ in range(passes):
            together.wait()
            start_s = time.perf_counter()
            part.max()
            mine.append((start_s, time.perf_counter()))

    readers = [threading.Thread(target=read, args=(mine,), daemon=True) for mine in spans]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    fastest_s = min(
        max(end for _, end in each) - min(start for start, _ in each)
        for each in zip(*spans, strict=True)
    )
    return float(words * 8 * threads / fastest_s)


if __name__ == "__main__":
    sys.exit(main())
