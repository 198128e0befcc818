"""TensorFlow's benchmark_model on a machine: how it is called, what it says.

Source: tensorflow/lite/tools/benchmark (benchmark_model.cc: the flags, the line of timings and the
line of memory; util/stat_utils and stats_calculator: the line that begins with `count=`, which has
`p5`, `median` and `p95` in newer releases only).
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_melt.record import Latency, MemoryUse, Results, Setting
from bench_melt.targets.machine import Process
from bench_melt.workloads.tables import TfliteTable
from bench_melt.workloads.workload import Bench, resolve
from tinyengine.errors import DeviceError

_POLL_S = 0.01
_MIB = 1 << 20
_NUMBER = r"([-+.\deE]+)"
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
_COUNT = re.compile(r"^(?:INFO: )?(count=\d+.*)$", re.MULTILINE)
_MEMORY = re.compile(rf"emory footprint[^\n]*\(MB\): init={_NUMBER} overall={_NUMBER}")
_PEAK = re.compile(rf"peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}")
_ERROR = re.compile(r"^ERROR: (.*)$", re.MULTILINE)
_LOADED = "Initialized session in "


@dataclass(frozen=True, slots=True)
class Timings:
    """What the tool printed. Times in us, memory in MiB; None where this release does not say."""

    init_us: float
    first_us: float
    warmup_us: float
    inference_us: float
    count: int
    deviation_us: float | None
    median_us: float | None
    memory_overall_mib: float | None  # grown since the tool started
    memory_peak_mib: float | None


def arguments(model: str, table: TfliteTable, warmups: int) -> Sequence[str]:
    """Return the tool's arguments: so many runs, however long they take."""
    return [
        f"--graph={model}",
        f"--num_threads={table.threads}",
        f"--warmup_runs={warmups}",
        "--warmup_min_secs=0",
        f"--num_runs={table.inferences}",
        "--min_secs=0",
        "--max_secs=86400",
        *table.args,
    ]


def parse(text: str) -> Timings:
    """Read the tool's output.

    Raises:
        DeviceError: it says no timings; quotes its errors.
    """
    found, runs = _TIMINGS.search(text), _COUNT.findall(text)
    if found is None or not runs:
        said = _ERROR.findall(text) or [line.strip() for line in text.splitlines()[-4:]]
        raise DeviceError(
            f"benchmark_model gave no timings; it said: {' | '.join(said) or 'nothing'}"
        )
    figures = dict(part.split("=", 1) for part in runs[-1].split() if "=" in part)
    memory, peak = _MEMORY.search(text), _PEAK.search(text)
    try:
        init, first, warmup, average = (float(group) for group in found.groups())
        return Timings(
            init_us=init,
            first_us=first,
            warmup_us=warmup,
            inference_us=average,
            count=int(figures["count"]),
            deviation_us=_figure(figures, "std"),
            median_us=_figure(figures, "median"),
            memory_overall_mib=float(memory[2]) if memory else None,
            memory_peak_mib=float(peak[1]) if peak else None,
        )
    except (ValueError, KeyError) as error:
        raise DeviceError(f"benchmark_model's figures are not numbers: {found[0]!r}") from error


def run_benchmark_model(bench: Bench, table: TfliteTable) -> Results:
    """Run the tool on the bench's machine.

    Raises:
        DeviceError: it ends badly or prints no timings.
    """
    program = bench.machine.deploy(resolve(Path(str(table.program)), bench.folder))
    model = bench.machine.deploy(bench.model.path)
    tool = [program, *arguments(model, table, bench.warmups)]
    # older releases write their log to stderr, newer to stdout
    argv = ["sh", "-c", 'exec "$0" "$@" 2>&1', *tool]
    start_s = time.perf_counter()
    process = bench.machine.start(argv, cores=bench.cores)
    busy_s, begun_s = time.process_time(), time.perf_counter()
    try:
        phases = _watch(process, bench, start_s)
        code = process.wait(bench.deadline)
        share = (time.process_time() - busy_s) / (time.perf_counter() - begun_s)
        usage, text = process.usage(), process.output()
    finally:
        process.kill()
    if code != 0:
        said = _ERROR.findall(text) or [process.tail()]
        raise DeviceError(f"benchmark_model ended with exit code {code}: {' | '.join(said)}")
    timings = parse(text)
    for name, (from_s, to_s) in phases.items():
        bench.events.add(name, from_s, to_s, timings.count if name == "inference" else 1)
    memory = MemoryUse(
        memory_peak_bytes=usage.rss_peak_bytes,
        memory_pss_bytes=usage.pss_bytes,
        cpu_s=usage.cpu_s,
        harness_cpu_share=share,
    )
    return _results(timings, table, memory)


def _watch(process: Process, bench: Bench, start_s: float) -> Mapping[str, tuple[float, float]]:
    """Return phases on this computer's clock, by when the tool's lines arrive.

    Loading is over with its line; a `count=` line ends the warm-ups, a second one the runs.
    """
    seen: list[float | None] = [None, None, None]
    ended = False
    while not ended and seen[2] is None:
        ended = process.poll() is not None
        text, now_s = process.output(), time.perf_counter()
        counts = len(_COUNT.findall(text))
        for at, is_over in enumerate((_LOADED in text, counts >= 1, counts >= 2)):
            if is_over and seen[at] is None:
                seen[at] = now_s
        time.sleep(bench.deadline.remaining_s("benchmark_model ran", at_most_s=_POLL_S))
    loaded_s, warm_s, done_s = seen
    phases = {}
    if loaded_s is not None:
        phases["load"] = (start_s, loaded_s)
    if warm_s is not None and done_s is not None and warm_s < done_s:
        phases["inference"] = (warm_s, done_s)
    return phases


def _results(timings: Timings, table: TfliteTable, memory: MemoryUse) -> Results:
    return Results(
        setting=Setting(runner="benchmark_model", n_threads=table.threads),
        latency=Latency(
            load_ms=timings.init_us / 1000,
            latency_ms_p50=_ms(timings.median_us),
            clock="device",
            avg_ns=round(timings.inference_us * 1000),
            stddev_ns=None if timings.deviation_us is None else round(timings.deviation_us * 1000),
        ),
        memory=memory,
        details={
            "inferences": timings.count,
            "first_inference_ms": timings.first_us / 1000,
            "warmup_avg_ms": timings.warmup_us / 1000,
            "memory_growth_bytes": _bytes(timings.memory_overall_mib),
            "memory_peak_told_bytes": _bytes(timings.memory_peak_mib),
        },
    )


def _figure(figures: Mapping[str, str], name: str) -> float | None:
    return float(figures[name]) if name in figures else None


def _ms(time_us: float | None) -> float | None:
    return None if time_us is None else time_us / 1000


def _bytes(size_mib: float | None) -> int | None:
    return None if size_mib is None else round(size_mib * _MIB)
