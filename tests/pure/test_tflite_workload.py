"""The `tflite` workload: the interpreter that is installed, and benchmark_model's output."""

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_melt.models import ModelFile, load_model_file
from bench_melt.record import ModelFacts, Results
from bench_melt.runners.interpreter import RUNTIMES, load_runtime, random_inputs
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import TimeLimitError
from bench_melt.workloads.benchmark_model import arguments, parse
from bench_melt.workloads.registry import make_workload
from bench_melt.workloads.tables import TfliteTable
from bench_melt.workloads.tflite import TfliteWorkload
from bench_melt.workloads.workload import Bench
from tests.benches import local_bench
from tests.cases import CASES
from tests.needs import missing
from tinyengine.errors import DeviceError, UserError
from tinyengine.exporters.flatbuffer import Writer
from tinyengine.exporters.tflite import export_tflite
from tinyengine.ir.tensor import DType

pytestmark = pytest.mark.pure

# as release 2.17 and nightly builds print on a phone (numbers made up, lines in their form)
NEW = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [20]
INFO: Num threads: [4]
INFO: Graph: [/data/local/tmp/net.tflite]
INFO: Loaded model /data/local/tmp/net.tflite
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 4.27635
INFO: Initialized session in 119.515ms.
INFO: Running benchmark for at least 2 iterations and at least 0 seconds but terminate if \
exceeding 86400 seconds.
INFO: count=2 first=87112 curr=51629 min=51629 max=87112 avg=69370.5 std=11478 p5=51629 \
median=87112 p95=87112

INFO: Running benchmark for at least 20 iterations and at least 0 seconds but terminate if \
exceeding 86400 seconds.
INFO: count=20 first=52162 curr=49785 min=49088 max=68610 avg=53743.2 std=6071 p5=49620 \
median=51891 p95=68628

INFO: Inference timings in us: Init: 119515, First inference: 87112, Warmup (avg): 69370.5, \
Inference (avg): 53743.2
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only \
APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at \
your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=55.4961 overall=60.5
INFO: Overall peak memory footprint (MB) via periodic monitoring: 71.25
"""
# as release 2.4 prints
OLD = """\
STARTING!
Log parameter values verbosely: [0]
Num threads: [4]
Loaded model /data/local/tmp/net.tflite
The input model file size (MB): 0.004448
Initialized session in 0.855ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding \
150 seconds.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding \
150 seconds.
count=50 first=32891 curr=33978 min=32641 max=34005 avg=1.03321e+06 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, \
Inference (avg): 1.03321e+06
Peak memory footprint (MB): init=0 overall=12.8672
"""
FAILED = """\
INFO: STARTING!
INFO: Loaded model /data/local/tmp/net.tflite
ERROR: Encountered unresolved custom op: Sparkle.
See instructions: https://www.tensorflow.org/lite/guide/ops_custom
ERROR: Node number 0 (Sparkle) failed to prepare.
ERROR: Failed to allocate tensors!
ERROR: Benchmarking failed.
"""


def needs_runtime() -> str:
    try:
        return load_runtime()[0]
    except ImportError as error:
        missing(f"no TensorFlow Lite interpreter: {error}")


def model(folder: Path) -> Path:
    path = folder / "net.tflite"
    path.write_bytes(export_tflite(CASES[0].graph()))
    return path


def table(**more: object) -> TfliteTable:
    return TfliteTable.model_validate({"kind": "tflite", "name": "t", **more})


def run(folder: Path, wanted: TfliteTable, path: Path | None = None) -> tuple[Results, Bench]:
    file = ModelFile(path, "tflite", ModelFacts()) if path else load_model_file(model(folder), None)
    with LocalMachine(load_machine("local")) as machine:
        made = local_bench(machine, file, folder, warmups=2)
        return make_workload(wanted).run(made), made


def test_a_repetition_in_the_interpreter(tmp_path: Path) -> None:
    runtime = needs_runtime()
    results, made = run(tmp_path, table(inferences=20, threads=1))
    latency, memory, setting = results.latency, results.memory, results.setting
    assert (setting.runner, setting.n_threads) == (runtime, 1)
    times = results.details["inference_ms"]
    assert len(times) == results.details["inferences"] == 20 and min(times) > 0
    assert latency.latency_ms_p50 == pytest.approx(np.percentile(times, 50), abs=1e-3)
    assert latency.latency_ms_p99 == pytest.approx(np.percentile(times, 99), abs=1e-3)
    assert latency.avg_ns == pytest.approx(np.mean(times) * 1e6, abs=1e3)
    stages = json.loads(str(latency.cold_start_stages))
    assert list(stages) == ["process", "import", "load", "first_inference"]
    assert all(value >= 0 for value in stages.values())
    assert sum(stages.values()) == pytest.approx(latency.cold_start_ms, rel=1e-3)
    assert stages["load"] >= (latency.load_ms or 0) > 0
    assert (memory.memory_peak_bytes or 0) > results.details["memory_before_load_bytes"] > 0
    assert (memory.cpu_s or 0) > 0 and memory.harness_cpu_share is not None
    load, inference = made.events.events
    assert (load.phase, inference.phase) == ("load", "inference")
    assert load.start_s < load.end_s <= inference.start_s < inference.end_s
    assert inference.count == 20
    # the measured inferences, without the warm-ups, are the phase
    assert (inference.end_s - inference.start_s) * 1000 >= sum(times) * 0.999


def test_the_input_is_drawn_from_the_seed() -> None:
    kinds = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
    details = [{"name": k, "shape": np.array([4, 50]), "dtype": np.dtype(k)} for k in kinds]
    first = list(random_inputs(details, 5))
    again, other = list(random_inputs(details, 5)), list(random_inputs(details, 6))
    for kind, a, b, c in zip(kinds, first, again, other, strict=True):
        assert a.dtype == kind and a.shape == (4, 50)
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert first[0].min() < -100 and first[0].max() > 100
    assert set(np.unique(first[3])) == {0, 1}
    assert -1 <= first[5].min() < 0 < first[5].max() <= 1


def strange_op(path: Path) -> Path:
    """A file whose one operator no interpreter knows in that version."""
    writer = Writer()
    x = writer.tensor("x", (1, 4), DType.F32, None)
    y = writer.tensor("y", (1, 4), DType.F32, None)
    writer.operator("LOGISTIC", 99, [x], [y], None)
    path.write_bytes(writer.finish("strange", [x], [y]))
    return path


def truncated(path: Path) -> Path:
    data = export_tflite(CASES[0].graph())
    path.write_bytes(data[:8] + bytes(len(data) - 8))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (strange_op, "exit code 1: .*refuses the model: .*LOGISTIC.* version.*99"),
        (lambda path: path, "refuses the model: .*(Could not open|No such file|absent)"),
    ],
)
def test_a_model_that_the_interpreter_refuses(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    needs_runtime()
    with pytest.raises(DeviceError, match=message):
        run(tmp_path, table(), make(tmp_path / "absent.tflite"))


def test_a_broken_file_is_refused_before_the_sweep(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a readable .tflite file"):
        load_model_file(truncated(tmp_path / "broken.tflite"), None)


def test_runtimes_that_do_not_load_say_why() -> None:
    with pytest.raises(ImportError, match="one: No module named 'no_such_one'; two: .*'no_such"):
        load_runtime({"one": "no_such_one.x", "two": "no_such_two"})
    needs_runtime()
    assert load_runtime({"none": "no_such", **RUNTIMES})[0] in RUNTIMES


class Far(LocalMachine):
    """This computer, pretending that it shares no files."""

    shares_files = False


def test_the_interpreter_is_for_this_computer(tmp_path: Path) -> None:
    file = load_model_file(model(tmp_path), None)
    with Far(load_machine("local")) as machine, pytest.raises(DeviceError, match="benchmark_model"):
        TfliteWorkload(table()).run(local_bench(machine, file, tmp_path))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"program": "tool"}, "program belongs to engine"),
        ({"engine": "benchmark_model"}, "program belongs to engine"),
        ({"args": ("--use_gpu=true",)}, "args are benchmark_model's"),
        ({"inferences": 0}, "greater than or equal to 1"),
    ],
)
def test_a_table_that_fits_nothing(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table(**more)


def test_what_cannot_work_is_refused_first(tmp_path: Path) -> None:
    file = load_model_file(model(tmp_path), None)
    gone = TfliteWorkload(table(engine="benchmark_model", program="no/such"))
    with pytest.raises(UserError, match="there is no program '.*no/such'"):
        gone.check(file, tmp_path)
    other = ModelFile(Path("m.gguf"), "gguf", ModelFacts())
    with pytest.raises(UserError, match=r"'m\.gguf' is \.gguf; name its models"):
        TfliteWorkload(table()).check(other, tmp_path)


def test_without_a_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_melt.workloads.tflite.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'ai-edge-litert' .*or 'tflite-runtime'"):
        TfliteWorkload(table()).check(load_model_file(model(tmp_path), None), tmp_path)


def test_output_of_new_and_old_releases() -> None:
    new, old = parse(NEW), parse(OLD)
    assert (new.init_us, new.first_us, new.warmup_us) == (119515, 87112, 69370.5)
    assert (new.inference_us, new.count, new.median_us) == (53743.2, 20, 51891)
    assert (new.memory_overall_mib, new.memory_peak_mib) == (60.5, 71.25)
    assert (old.init_us, old.inference_us, old.count) == (855, 1_033_210, 50)
    # an old release tells no median: not measured, and not the mean in its place
    assert old.median_us is None and old.deviation_us == 450
    assert (old.memory_overall_mib, old.memory_peak_mib) == (12.8672, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FAILED, "unresolved custom op: Sparkle.*Benchmarking failed"),
        ("", "said: nothing"),
        (NEW.replace("count=20", "count=x"), "gave no timings|not numbers"),
    ],
)
def test_output_without_timings(text: str, message: str) -> None:
    if "count=x" in text:
        text = text.replace("count=2 ", "count=y ")
    with pytest.raises(DeviceError, match=message):
        parse(text)


def tool(
    folder: Path, text: str, code: int = 0, *, stderr: bool = False, slow: bool = False
) -> Path:
    """A program in benchmark_model's place: writes down its arguments, says `text` line by line."""
    path = folder / "benchmark_model"
    path.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys, time\n"
        f"pathlib.Path({str(folder / 'argv')!r}).write_text('\\n'.join(sys.argv[1:]))\n"
        f"out = sys.std{'err' if stderr else 'out'}\n"
        f"for line in {text!r}.splitlines():\n"
        "    print(line, file=out, flush=True)\n"
        f"    time.sleep(0.05 if {slow} and ('Init' in line or 'count=' in line) else 0)\n"
        f"sys.exit({code})\n",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def tool_table(path: Path) -> TfliteTable:
    return table(
        engine="benchmark_model",
        program=os.fspath(path),
        inferences=20,
        threads=4,
        args=("--use_xnnpack=true",),
    )


def test_benchmark_model_on_a_machine(tmp_path: Path) -> None:
    results, made = run(tmp_path, tool_table(tool(tmp_path, NEW, slow=True)))
    argv = (tmp_path / "argv").read_text().split("\n")
    assert argv == [f"--graph={tmp_path / 'net.tflite'}", *arguments("", made_table(), 2)[1:]]
    assert {"--num_threads=4", "--num_runs=20", "--warmup_runs=2", "--use_xnnpack=true"} <= {*argv}
    latency = results.latency
    assert (latency.load_ms, latency.latency_ms_p50) == (119.515, 51.891)
    assert (latency.latency_ms_p90, latency.latency_ms_p99) == (None, None)
    assert (latency.avg_ns, latency.stddev_ns) == (53_743_200, 6_071_000)
    assert results.setting.runner == "benchmark_model" and results.details["inferences"] == 20
    assert results.details["memory_growth_bytes"] == round(60.5 * 2**20)
    assert [event.phase for event in made.events.events] == ["load", "inference"]
    load, inference = made.events.events
    assert load.end_s <= inference.start_s < inference.end_s and inference.count == 20


def made_table() -> TfliteTable:
    return tool_table(Path("benchmark_model"))


def test_an_old_release_writes_to_stderr(tmp_path: Path) -> None:
    results, _ = run(tmp_path, tool_table(tool(tmp_path, OLD, stderr=True)))
    assert results.latency.latency_ms_p50 is None
    assert results.latency.avg_ns == 1_033_210_000


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (FAILED, 1, "exit code 1: .*unresolved custom op: Sparkle"),
        ("Segmentation fault", 139, "exit code 139: .*Segmentation fault"),
        ("hello", 0, "no timings; it said: hello"),
    ],
)
def test_benchmark_model_that_fails(tmp_path: Path, text: str, code: int, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        run(tmp_path, tool_table(tool(tmp_path, text, code)))


def test_benchmark_model_that_hangs_meets_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "hang"
    path.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    path.chmod(0o755)
    file = load_model_file(model(tmp_path), None)
    with LocalMachine(load_machine("local")) as machine:
        made: Any = local_bench(machine, file, tmp_path)
        made.deadline.cancel()
        with pytest.raises(TimeLimitError, match="while benchmark_model ran"):
            TfliteWorkload(tool_table(path)).run(made)
