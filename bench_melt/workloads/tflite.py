"""The `tflite` workload: inferences of a .tflite model, by an interpreter or by benchmark_model."""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from bench_melt.models import ModelFile
from bench_melt.record import Latency, MemoryUse, Results, Setting
from bench_melt.runners.interpreter import RUNTIMES, Report
from bench_melt.workloads.benchmark_model import run_benchmark_model
from bench_melt.workloads.percentiles import percentiles
from bench_melt.workloads.tables import TfliteTable
from bench_melt.workloads.workload import Bench, resolve
from tinyengine.errors import DeviceError, UserError


class TfliteWorkload:
    """Inferences, one after the other, on an input drawn from the seed."""

    def __init__(self, table: TfliteTable) -> None:
        """Take what the suite says."""
        self._table = table

    def check(self, model: ModelFile, folder: Path) -> None:
        """Refuse a model or a program that cannot work.

        Raises:
            UserError: names the file or the package.
        """
        table = self._table
        if model.format != "tflite":
            raise UserError(
                f"workload '{table.name}' takes .tflite models, '{model.path.name}' is "
                f".{model.format}; name its models with 'models'"
            )
        if table.program is not None:
            program = resolve(table.program, folder)
            if not program.is_file():
                raise UserError(f"workload '{table.name}': there is no program '{program}'")
        elif not any(find_spec(module.partition(".")[0]) for module in RUNTIMES.values()):
            raise UserError(
                f"workload '{table.name}' needs the python package 'ai-edge-litert' "
                "(pip install 'tinyengine-mcu[litert]') or 'tflite-runtime'"
            )

    def run(self, bench: Bench) -> Results:
        """Measure once."""
        if self._table.engine == "benchmark_model":
            return run_benchmark_model(bench, self._table)
        return _run_interpreter(bench, self._table)


def _run_interpreter(bench: Bench, table: TfliteTable) -> Results:
    if not bench.machine.shares_files:
        raise DeviceError(
            f"the interpreter runs on this computer only, not on '{bench.machine.name}'; use "
            "engine = 'benchmark_model' with a program for its processor"
        )
    argv = [sys.executable, "-m", "bench_melt.runners.interpreter"]
    argv += [bench.machine.deploy(bench.model.path)]
    sizes = {
        "threads": table.threads,
        "warmups": bench.warmups,
        "inferences": table.inferences,
        "seed": bench.seed,
    }
    argv += [word for name, n in sizes.items() for word in (f"--{name}", str(n))]
    start_s = time.perf_counter()
    process = bench.machine.start(argv, cores=bench.cores)
    busy_s, begun_s = time.process_time(), time.perf_counter()
    try:
        code = process.wait(bench.deadline)
        share = (time.process_time() - busy_s) / (time.perf_counter() - begun_s)
        if code != 0:
            raise DeviceError(f"the interpreter ended with exit code {code}: {process.tail()}")
        report = _report(process.output())
    finally:
        process.kill()
    bench.events.add("load", report.load_start_s, report.load_s)
    # one phase, not one per inference: meters are slower than those
    start, end = report.inferences[0][0], report.inferences[-1][1]
    bench.events.add("inference", start, end, len(report.inferences))
    return _results(report, table, start_s, share)


def _report(output: str) -> Report:
    try:
        return Report(**json.loads(output.strip().rpartition("\n")[2]))
    except (ValueError, TypeError) as error:
        raise DeviceError(f"the interpreter gave no report but {output[-300:]!r}") from error


def _results(report: Report, table: TfliteTable, start_s: float, harness: float) -> Results:
    times_ms = [(end - start) * 1000 for start, end in report.inferences]
    p50, p90, p99 = percentiles(times_ms)
    return Results(
        setting=Setting(runner=report.runtime, n_threads=table.threads),
        latency=Latency(
            load_ms=(report.load_s - report.load_start_s) * 1000,
            latency_ms_p50=p50,
            latency_ms_p90=p90,
            latency_ms_p99=p99,
            clock="device",
            cold_start_ms=(report.first_s - start_s) * 1000,
            cold_start_stages=json.dumps(_stages(report, start_s)),
            avg_ns=round(statistics.fmean(times_ms) * 1e6),
            stddev_ns=round(_deviation(times_ms) * 1e6),
        ),
        memory=MemoryUse(
            memory_peak_bytes=report.memory_peak_bytes,
            memory_pss_bytes=report.memory_pss_bytes,
            cpu_s=report.cpu_s,
            harness_cpu_share=harness,
        ),
        details={
            "inferences": len(times_ms),
            "inference_ms": [round(t, 4) for t in times_ms],
            "memory_before_load_bytes": report.memory_before_bytes,
        },
    )


def _stages(report: Report, start_s: float) -> dict[str, float]:
    """Return consecutive stages in ms, from the process's start to the first inference's end."""
    edges = {
        "process": report.main_s,
        "import": report.import_s,
        "load": report.load_s,
        "first_inference": report.first_s,
    }
    stages, before_s = {}, start_s
    for name, at_s in edges.items():
        stages[name] = round((at_s - before_s) * 1000, 3)
        before_s = at_s
    return stages


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
