"""Measures what docs/bench.md says of the harness itself; prints a table.

Run as `python docs/make_melt.py [--rows N]`, on a computer that does nothing else. The figures are
of wall-clock time: no test asserts them.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench_melt.models import load_model_file  # noqa: E402 - the checkout's own, from any folder
from bench_melt.packaged import packaged_model  # noqa: E402
from bench_melt.record import (  # noqa: E402
    Conditions,
    Energy,
    Identity,
    Latency,
    ModelFacts,
    Outcome,
    Quality,
    Results,
    Row,
    Setting,
    Sustained,
)
from bench_melt.store import _ROWS, Run, Store, open_store  # noqa: E402
from bench_melt.targets.description import load_machine  # noqa: E402
from bench_melt.targets.local import LocalMachine  # noqa: E402
from bench_melt.targets.machine import Deadline  # noqa: E402
from bench_melt.workloads.llm.client import Client  # noqa: E402
from bench_melt.workloads.llm.goodput import find_goodput, run_load  # noqa: E402
from bench_melt.workloads.llm.metrics import latency_of  # noqa: E402
from bench_melt.workloads.llm.workload import LlmWorkload  # noqa: E402
from bench_melt.workloads.tables import Goodput, LlmTable  # noqa: E402
from bench_melt.workloads.workload import Bench, EventLog  # noqa: E402

# of a hundred gaps 85 are short, 12 longer and 3 stalls: no percentile lies on a border
_FIRST_S, _GAPS_S = (
    0.25,
    tuple(0.12 if at in (20, 50, 80) else 0.06 if at % 8 == 5 else 0.02 for at in range(100)),
)


def main() -> None:
    """Measure all, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    count = parser.parse_args().rows
    sys.stdout.write("| what | measured |\n|---|---|\n")
    for name, figure in itertools.chain(_rows(count), _delays(), _goodput(), _harness()):
        sys.stdout.write(f"| {name} | {figure} |\n")
        sys.stdout.flush()


def _rows(count: int) -> Iterator[tuple[str, str]]:
    """Yield how long reports and the scan of `--resume` take over so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "r.sqlite")
        with open_store(path, create=True) as store:
            store.add_run(Run("one", "s", "h", "", count, "2026-01-01"))
            _fill(store, count)
        with open_store(path, create=False) as store:
            spent = _seconds(lambda: store.finished_cells("one"))
        yield f"`run --resume`: finding the rows that are there, {count:,} rows", spent
        for form in ("md", "csv", "json", "jsonl", "sql", "html"):
            argv = [sys.executable, "-c", "from bench_melt.cli import main; main()", "report"]
            argv += ["--db", path, "-o", form, "--to", str(Path(folder) / form)]
            spent = _seconds(lambda argv=argv: subprocess.run(argv, check=True, cwd=ROOT))
            yield f"`report -o {form}`, {count:,} rows, the process's start included", spent


def _fill(store: Store, count: int) -> None:
    """Write rows in one transaction: one each, as a sweep does, takes minutes."""
    values = [_row(at).flat() for at in range(count)]
    filled = [{**one, "details": json.dumps(one["details"])} for one in values]
    with store._engine.begin() as connection:
        connection.execute(_ROWS.insert(), filled)


def _row(at: int) -> Row:
    identity = Identity("one", f"k{at}", at, "s", "phone", "m", f"w{at % 50}", "llm", at, at)
    speed = 50 + at % 7
    results = Results(
        model=ModelFacts(model_filename="m.gguf", quantisation=f"Q{at % 5 + 4}_0"),
        setting=Setting(n_prompt=512, n_gen=128, n_depth=0, n_threads=1),
        latency=Latency(decode_tokens_per_s=speed, prefill_tokens_per_s=100.0, ttft_ms=5.0),
        sustained=Sustained(3, "[3, 2, 1]") if at % 100 == 0 else Sustained(),
        energy=Energy(j_per_token_decode=speed / 50),
        quality=Quality(perplexity=12.0 + at % 5, choice_accuracy=0.5),
        details={"answers": [{"token_ms": [float(n) for n in range(128)]}]},
    )
    started = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    outcome = Outcome("ok", None, started.isoformat(), 1.0)
    return Row(identity, outcome, conditions=Conditions(temperature_c_after=30.0), results=results)


def _delays() -> Iterator[tuple[str, str]]:
    """Yield how far TTFT and percentiles are from a server's known delays, over real sockets."""
    with _double("--first-s", str(_FIRST_S), "--gaps-s", *map(str, _GAPS_S)) as client:
        busy_s, start_s = time.process_time(), time.perf_counter()
        answers = [client.complete([1], 101) for _ in range(5)]
        share = (time.process_time() - busy_s) / (time.perf_counter() - start_s)
    found = latency_of(answers, None)
    truth = {
        "ttft_ms": _FIRST_S * 1000,
        "tpot_ms": statistics.fmean(_GAPS_S) * 1000,
        "itl_ms_p50": 20.0,
        "itl_ms_p90": 60.0,
        "itl_ms_p99": 120.0,
    }
    for name, value in truth.items():
        error = getattr(found, name) / value - 1
        yield f"{name} of a server whose {name} is {value:.4g}", f"{error:+.2%}"
    rate = 100 / statistics.fmean(_GAPS_S) / 100
    name = f"processor time of the harness at {rate:.0f} tokens/s that are not stamped"
    yield name, f"{share:.2%}"


def _goodput() -> Iterator[tuple[str, str]]:
    """Yield how far goodput is from that of a queue, over real sockets."""
    wanted = Goodput(ttft_ms=400, tpot_ms=60, requests=60, rate_max_per_s=32, precision=0.01)
    with _double("--first-s", "0.1", "--gaps-s", "0.02", "0.03", "0.05") as client:

        def share_at(rate_per_s: float) -> float:
            return run_load(
                lambda index: client.complete([index], 4),
                wanted,
                rate_per_s,
                seed=1,
                deadline=Deadline(600),
            )

        found, _ = find_goodput(wanted, share_at)
    # request k waits k (service - spacing), and 54 of 60 may wait 0.3 s: all but the first 100 ms
    expected = 1 / (0.1 + 0.02 + 0.03 + 0.05 - 0.3 / 53)
    name = f"goodput of a queue whose goodput is {expected:.4g} requests/s"
    yield name, f"{found / expected - 1:+.2%}"


def _harness() -> Iterator[tuple[str, str]]:
    """Yield what the harness costs while SmolLM2 generates, one thread."""
    fields = {"kind": "llm", "name": "w", "n_prompt": 64, "n_gen": 192, "requests": 3}
    description = load_machine("local")
    with LocalMachine(description) as machine:
        bench = Bench(
            machine=machine,
            description=description,
            info=machine.probe(),
            model=load_model_file(packaged_model("smollm2-135m"), None),
            folder=ROOT,
            cores=(),
            warmups=1,
            seed=1,
            deadline=Deadline(600),
            events=EventLog(),
        )
        found = LlmWorkload(LlmTable.model_validate(fields)).run(bench)
    share, speed = found.memory.harness_cpu_share, found.latency.decode_tokens_per_s
    yield f"processor time of the harness while SmolLM2 makes {speed:.0f} tokens/s", f"{share:.2%}"


@contextmanager
def _double(*arguments: str) -> Iterator[Client]:
    argv = [sys.executable, "-m", "tests.openai_double", *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        try:
            yield Client(address, Deadline(600), path="/v1", model=None)
        finally:
            process.kill()


def _seconds(work: Callable[[], object]) -> str:
    """Return wall and processor time, the latter of child processes too."""
    before_s, start_s = _processor_s(), time.perf_counter()
    work()
    spent_s = time.perf_counter() - start_s
    return f"{spent_s:.2f} s, {_processor_s() - before_s:.2f} s of processor time"


def _processor_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
