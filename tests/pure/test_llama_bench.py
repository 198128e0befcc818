"""The `llama-bench` workload, against a script that prints what the real one prints."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench_melt.models import ModelFile
from bench_melt.record import Identity, ModelFacts, Outcome, Results, Row
from bench_melt.report.llama_bench import FIELDS, label_of, llama_bench_rows
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Deadline, MachineInfo, TimeLimitError
from bench_melt.workloads.registry import make_workload
from bench_melt.workloads.tables import LlamaBenchTable
from bench_melt.workloads.workload import Bench, EventLog
from tests.fixtures import llama_bench_double
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure

MODEL = ModelFile(Path("m.gguf"), "gguf", ModelFacts(model_filename="m.gguf"))


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    path = tmp_path / "llama-bench"
    script = Path(llama_bench_double.__file__)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def table(program: Path, **more: object) -> LlamaBenchTable:
    sizes = {"n_prompt": 16, "n_gen": 8, **more}
    return LlamaBenchTable.model_validate(
        {"kind": "llama-bench", "name": "w", "program": program, **sizes}
    )


def ran(wanted: LlamaBenchTable, warmups: int = 1, limit_s: float = 60) -> tuple[Results, EventLog]:
    events = EventLog()
    with LocalMachine(load_machine("local")) as machine:
        bench = Bench(
            machine=machine,
            description=load_machine("local"),
            info=MachineInfo(),
            model=MODEL,
            folder=Path(),
            cores=(),
            warmups=warmups,
            seed=1,
            deadline=Deadline(limit_s),
            events=events,
        )
        return make_workload(wanted).run(bench), events


def test_a_start_fills_the_columns_and_the_phases(tool: Path) -> None:
    found, log = ran(table(tool, n_depth=4, threads=2))
    latency, setting = found.latency, found.setting
    assert latency.prefill_tokens_per_s == pytest.approx(16 / 0.08)
    assert latency.decode_tokens_per_s == pytest.approx(8 / 0.05)
    assert latency.tpot_ms == pytest.approx(50 / 8)
    assert (latency.clock, latency.avg_ts, latency.ttft_ms) == ("device", None, None)
    assert latency.load_ms is not None and latency.load_ms > 0
    assert (setting.build_commit, setting.backends, setting.n_threads) == ("0c1e57098", "CPU", 2)
    assert (setting.type_k, setting.flash_attn, setting.n_batch) == ("f16", "auto", 2048)
    assert (setting.n_prompt, setting.n_gen, setting.n_depth) == (16, 8, 4)
    assert found.memory.memory_peak_bytes is not None
    spans = {event.phase: event.end_s - event.start_s for event in log.events}
    assert list(spans) == ["load", "prefill", "decode"]
    assert spans["prefill"] == pytest.approx(0.08) and spans["decode"] == pytest.approx(0.05)
    load, prefill, decode = log.events
    assert load.end_s <= prefill.start_s and prefill.end_s <= decode.start_s + 0.01


def test_a_single_test_has_its_own_average(tool: Path) -> None:
    found, log = ran(table(tool, n_prompt=0, n_depth=4), warmups=0)
    assert found.latency.avg_ts == pytest.approx(8 / 0.05)
    assert found.latency.avg_ns == 50_000_000 and found.latency.stddev_ts == 0.0
    assert found.latency.prefill_tokens_per_s is None
    assert [event.phase for event in log.events] == ["load", "decode"]


def test_its_rows_come_out_of_a_report_as_they_went_in(tool: Path) -> None:
    found, _ = ran(table(tool, n_depth=4))
    ids = dict.fromkeys(("run_id", "cell_key", "suite", "target", "model", "workload"), "x")
    identity = Identity(**ids, position=0, workload_kind="llama-bench", repetition=0, seed=1)
    row = Row(identity, Outcome("ok", None, "2026-01-01T00:00:00", 1.0), results=found).flat()
    stored = {**row, "details": json.dumps(row["details"]), "model_filename": "m.gguf"}
    rows = list(llama_bench_rows([stored]))
    labels = [label_of(r["n_prompt"], r["n_gen"], r["n_depth"]) for r in rows]
    assert labels == ["pp16 @ d4", "tg8 @ d4"]
    for out, own in zip(rows, found.details["tests"], strict=True):
        same: dict[str, Any] = {n: out[n] for n in FIELDS if n in own}
        assert same == {n: own[n] for n in same}
        assert {type(out[n]) for n in FIELDS} <= {str, int, float}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--double-fail", "model"], "exit code 1 before.*failed to load model 'm.gguf'"),
        (["--double-fail", "memory"], "exit code 1.*failed to decode prompt batch, res = -3"),
        (["--no-such"], "invalid parameter for argument: --no-such"),
        (["--double-fail", "row"], "printed '{broken', which is no row of it"),
        (["--double-fail", "twice"], r"rows for \(n_prompt, n_gen\) .*one value per argument"),
    ],
)
def test_failures_quote_what_it_said(tool: Path, args: list[str], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        ran(table(tool, args=tuple(args)))


def test_killed_by_the_system_says_what_may_be_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "llama-bench"
    path.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    path.chmod(0o755)
    with pytest.raises(DeviceError, match=r"exit code -9 .*\(killed: out of memory\?\)"):
        ran(table(path))


def test_the_time_limit_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "llama-bench"
    path.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    path.chmod(0o755)
    with pytest.raises(TimeLimitError, match=r"time limit of 0.2 s passed"):
        ran(table(path), limit_s=0.2)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n_prompt": 0, "n_gen": 0}, "n_prompt and n_gen are both 0"),
        ({"args": ("-p", "5")}, "argument '-p' is set by n_prompt"),
        ({"args": ("--threads=3",)}, "argument '--threads=3' is set by threads"),
        ({"program": Path("no/such")}, "there is no program 'no/such'; 'bench-melt runner build'"),
    ],
)
def test_what_cannot_work_is_refused(tool: Path, more: dict[str, object], message: str) -> None:
    work = make_workload(table(tool).model_copy(update=more))
    with pytest.raises(UserError, match=message):
        work.check(MODEL, Path())


def test_another_kind_of_model_is_refused(tool: Path) -> None:
    model = ModelFile(Path("m.tflite"), "tflite", ModelFacts())
    with pytest.raises(UserError, match=r"takes .gguf models, 'm.tflite' is .tflite"):
        make_workload(table(tool)).check(model, Path())
