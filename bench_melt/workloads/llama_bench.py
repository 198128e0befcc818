"""The `llama-bench` workload: llama.cpp's own benchmark on the machine, its jsonl read.

One repetition is one start of it with `-r 1`. Its warm-up runs unless the suite says `warmups = 0`.
`--progress` tells when each test begins; how long it took is the tool's own figure.
Source: llama.cpp, tools/llama-bench (fields of a row, lines of progress).
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_melt.models import ModelFile
from bench_melt.record import Latency, MemoryUse, Results, Setting
from bench_melt.targets.machine import Process
from bench_melt.workloads.tables import LlamaBenchTable
from bench_melt.workloads.workload import Bench, resolve
from tinyengine.errors import DeviceError, UserError

# arguments that a key of the table, or this module, sets
_OURS: Mapping[str, str] = {
    **dict.fromkeys(("-m", "--model"), "the suite's models"),
    **dict.fromkeys(("-p", "--n-prompt"), "n_prompt"),
    **dict.fromkeys(("-n", "--n-gen"), "n_gen"),
    **dict.fromkeys(("-d", "--n-depth"), "n_depth"),
    **dict.fromkeys(("-t", "--threads"), "threads"),
    **dict.fromkeys(("-r", "--repetitions"), "the suite's repetitions"),
    **dict.fromkeys(("-pg",), "n_prompt and n_gen"),
    **dict.fromkeys(("-o", "--output", "--progress"), "this workload"),
    "--no-warmup": "the suite's warmups = 0",
}
_KILLED = (-9, 137)  # by signal 9: as a child's code, and as a shell tells it
_FLASH = {-1: "auto", 0: "off", 1: "on"}


@dataclass(frozen=True, slots=True)
class _Test:
    """One test of a start: the phase that it is, what its line of progress says, its tokens."""

    phase: str
    progress: str
    n_prompt: int
    n_gen: int


class LlamaBenchWorkload:
    """Starts of llama-bench."""

    def __init__(self, table: LlamaBenchTable) -> None:
        """Take what the suite says."""
        self._table = table

    def check(self, model: ModelFile, folder: Path) -> None:
        """Refuse a model, a program or arguments that cannot work.

        Raises:
            UserError: names what is wrong.
        """
        name = self._table.name
        program = resolve(self._table.program, folder)
        if not program.is_file():
            raise UserError(
                f"workload '{name}': there is no program '{program}'; 'bench-melt runner build' "
                "makes one"
            )
        if model.format != "gguf":
            raise UserError(
                f"workload '{name}': llama-bench takes .gguf models, '{model.path.name}' is "
                f".{model.format}"
            )
        if not self._tests():
            raise UserError(f"workload '{name}': n_prompt and n_gen are both 0, nothing is left")
        for word in self._table.args:
            if (key := _OURS.get(word.partition("=")[0])) is not None:
                raise UserError(f"workload '{name}': argument '{word}' is set by {key}")

    def run(self, bench: Bench) -> Results:
        """Start it once and read its rows."""
        busy_s, wall_s = time.process_time(), time.perf_counter()
        program = bench.machine.deploy(resolve(self._table.program, bench.folder))
        model = bench.machine.deploy(bench.model.path)
        started_s = time.perf_counter()
        process = bench.machine.start(self._argv(program, model, bench), cores=bench.cores)
        try:
            begun_s, loaded_s = self._follow(process, bench)
            code = process.wait(bench.deadline)
            usage = process.usage()
            if code != 0:
                raise DeviceError(
                    f"llama-bench ended with exit code {code}{_why(code)}; it said: "
                    f"{process.tail()}"
                )
            rows = self._rows(process.output())
        finally:
            process.kill()
        bench.events.add("load", started_s, loaded_s)
        for test, row, start_s in zip(self._tests(), rows, begun_s, strict=True):
            bench.events.add(test.phase, start_s, start_s + row["avg_ns"] / 1e9)
        harness = (time.process_time() - busy_s) / (time.perf_counter() - wall_s)
        return Results(
            setting=self._setting(rows[0]),
            latency=self._latency(rows, (loaded_s - started_s) * 1000),
            memory=MemoryUse(
                memory_peak_bytes=usage.rss_peak_bytes,
                memory_pss_bytes=usage.pss_bytes,
                cpu_s=usage.cpu_s,
                harness_cpu_share=harness,
            ),
            details={"tests": rows},
        )

    def _tests(self) -> Sequence[_Test]:
        """Return the tests of one start, in the order in which it runs them."""
        table = self._table
        tests = (
            _Test("prefill", "prompt run", table.n_prompt, 0),
            _Test("decode", "generation run", 0, table.n_gen),
        )
        return [test for test in tests if test.n_prompt or test.n_gen]

    def _argv(self, program: str, model: str, bench: Bench) -> Sequence[str]:
        table = self._table
        sizes = {"-p": table.n_prompt, "-n": table.n_gen, "-d": table.n_depth, "-t": table.threads}
        numbers = [word for name, count in sizes.items() for word in (name, str(count))]
        warmup = () if bench.warmups else ("--no-warmup",)
        fixed = ("-r", "1", "-o", "jsonl", "--progress")
        return [program, "-m", model, *numbers, *fixed, *warmup, *table.args]

    def _follow(self, process: Process, bench: Bench) -> tuple[Sequence[float], float]:
        """Return when each test began and when the model was loaded, on the host's clock."""
        tests = self._tests()
        mark = "llama-bench: benchmark"
        try:
            process.wait_line(f"{mark} 1/{len(tests)}: starting", bench.deadline)
            # the first run of any kind, a warm-up mostly, follows the loading
            first = "warmup " if bench.warmups else ("depth " if self._table.n_depth else "")
            kind = tests[0].progress.partition(" ")[0] if first != "depth " else ""
            process.wait_line(f"{mark} 1/{len(tests)}: {first}{kind}", bench.deadline)
            loaded_s = time.perf_counter()
            begun_s = []
            for at, test in enumerate(tests, 1):
                process.wait_line(f"{mark} {at}/{len(tests)}: {test.progress}", bench.deadline)
                begun_s.append(time.perf_counter())
        except DeviceError as error:
            code = process.poll()
            if code in _KILLED:
                raise DeviceError(f"{error}{_why(code)}") from error
            raise
        return begun_s, loaded_s

    def _rows(self, output: str) -> list[Mapping[str, Any]]:
        """Return its rows, one per test, in the order of the tests.

        Raises:
            DeviceError: it printed something else.
        """
        rows = [_row(line) for line in output.splitlines() if line.startswith("{")]
        wanted = [(test.n_prompt, test.n_gen) for test in self._tests()]
        found = [(row["n_prompt"], row["n_gen"]) for row in rows]
        if found != wanted:
            raise DeviceError(
                f"llama-bench printed rows for (n_prompt, n_gen) {found}, asked were {wanted}; "
                "give one value per argument in 'args'"
            )
        return rows

    def _setting(self, row: Mapping[str, Any]) -> Setting:
        flash = row.get("flash_attn")
        return Setting(
            runner="llama-bench",
            build_commit=row.get("build_commit"),
            build_number=row.get("build_number"),
            backends=row.get("backends"),
            n_threads=row.get("n_threads"),
            n_batch=row.get("n_batch"),
            n_ubatch=row.get("n_ubatch"),
            n_gpu_layers=row.get("n_gpu_layers"),
            type_k=row.get("type_k"),
            type_v=row.get("type_v"),
            flash_attn=None if flash is None else _FLASH.get(int(flash), str(flash)),
            n_prompt=self._table.n_prompt,
            n_gen=self._table.n_gen,
            n_depth=self._table.n_depth,
        )

    def _latency(self, rows: Sequence[Mapping[str, Any]], load_ms: float) -> Latency:
        """Return the row's figures: those named as llama-bench's only where it had one test."""
        speeds = {test.phase: row["avg_ts"] for test, row in zip(self._tests(), rows, strict=True)}
        decode = speeds.get("decode")
        one = rows[0] if len(rows) == 1 else {}
        return Latency(
            load_ms=load_ms,
            tpot_ms=1000 / decode if decode else None,
            prefill_tokens_per_s=speeds.get("prefill"),
            decode_tokens_per_s=decode,
            prompt_tokens=self._table.n_prompt or None,
            generated_tokens=self._table.n_gen or None,
            clock="device",
            test_time=rows[0].get("test_time"),
            avg_ns=one.get("avg_ns"),
            stddev_ns=one.get("stddev_ns"),
            avg_ts=one.get("avg_ts"),
            stddev_ts=one.get("stddev_ts"),
        )


def _row(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
        if not (found["avg_ns"] > 0 and found["avg_ts"] > 0):
            raise ValueError("a speed that is not positive")
        int(found["n_prompt"]), int(found["n_gen"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(
            f"llama-bench printed {line[:120]!r}, which is no row of it: {error!r}"
        ) from error
    return dict(found)


def _why(code: int | None) -> str:
    return " (killed: out of memory?)" if code in _KILLED else ""
