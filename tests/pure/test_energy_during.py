"""Energy around a repetition: the whole chain with known power, and whatever fails on the way."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_melt.energy import during
from bench_melt.energy.during import MeteredWork
from bench_melt.energy.events import read_events
from bench_melt.energy.join import join
from bench_melt.energy.mark import mark_on
from bench_melt.energy.metering import read_metering
from bench_melt.energy.samples import Samples, read_samples
from bench_melt.meters.base import BaseMeter, MeterInfo
from bench_melt.meters.replay import SimulatedMeter, Waveform
from bench_melt.runner import sweep
from bench_melt.store import open_store
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine, LocalProcess
from bench_melt.targets.machine import Output
from bench_melt.workloads.workload import Bench
from tests.sweep_rig import SUITE, Quiet, Scripted, StillMachine, rig_for, suite_at
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure

ONE = SUITE[: SUITE.index('[[targets]]\nname = "b"')] + SUITE[SUITE.index("[[models]]") :]
ONE = ONE[: ONE.index('[[workloads]]\nkind = "llm"\nname = "long"')].replace("= 3", "= 1")
WATTS = {"load": 2.0, "prefill": 6.0, "decode": 4.0}
# a meter with everything wrong that a meter may have
POOR = {"offset_s": 0.7, "drift_ppm": 50, "repeats": 6, "loss": 0.02, "noise_w": 0.02}
QUICK = {"idle_s": 0.1, "mark_s": 0.1}
Row = Mapping[str, Any]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is simulated needs no quiet."""
    monkeypatch.setattr(during, "_QUIET_S", 0.1)
    monkeypatch.setattr(during, "_SETTLE_S", 0.0)


def work(bench: Bench) -> None:
    """Log a load, two requests, and one phase of no length, each as long as it really took."""
    with bench.events.phase("load"):
        time.sleep(0.1)
    for tokens in (8, 4):
        at = [time.perf_counter()]
        for pause_s in (0.05, 0.1):
            time.sleep(pause_s)
            at.append(time.perf_counter())
        bench.events.add("prefill", at[0], at[1], 16)
        bench.events.add("decode", at[1], at[2], tokens)
        bench.events.add("decode", at[2], at[2], 0)


def run(
    folder: Path,
    table: Mapping[str, object],
    act: Callable[[Bench], None] = work,
    machine: StillMachine | LocalMachine | None = None,
    open_meter: Callable[..., Any] | None = None,
) -> Row:
    """Sweep one cell whose target has this meter, and return its row."""
    suite = suite_at(folder, ONE)
    metering = read_metering({**QUICK, **table}, "meter")
    energy = MeteredWork(metering, open_meter) if open_meter else MeteredWork(metering)
    rig = rig_for(suite, Scripted(act), lambda description: machine or StillMachine())
    with open_store(str(folder / "r.sqlite"), create=True) as store:
        sweep(suite, replace(rig, energy={"a": energy}), store, Quiet(), resume=False)
        (row,) = store.rows()
    return row


def test_the_whole_chain_gives_the_joules_that_the_device_drew(tmp_path: Path) -> None:
    row = run(tmp_path, {"kind": "simulated", "idle_w": 0.5, "phases": WATTS, **POOR})
    assert row["status"] == "ok"
    phases = json.loads(row["details"])["energy"]["phases"]
    spent = dict.fromkeys(WATTS, 0.0)
    for phase in phases:
        spent[phase["phase"]] += phase["end_s"] - phase["start_s"]
    assert [p["phase"] for p in phases] == ["load", *["prefill", "decode"] * 2]
    for name in WATTS:
        assert row[f"energy_{name}_j"] == pytest.approx(WATTS[name] * spent[name], rel=0.01)
    assert row["idle_w"] == pytest.approx(0.5, rel=0.01)
    assert row["j_per_token_prefill"] == pytest.approx(5.5 * spent["prefill"] / 32, rel=0.01)
    assert row["j_per_token_decode"] == pytest.approx(3.5 * spent["decode"] / 12, rel=0.01)
    assert row["j_per_inference"] is None
    assert row["clock_offset_s"] == pytest.approx(0.7, abs=1e-3)
    assert row["clock_drift_ppm"] == pytest.approx(50, abs=400)  # the marks are 1.5 s apart
    assert row["meter"] == "simulated: simulated, seed 0"
    assert row["meter_rate_hz"] == pytest.approx(5000, rel=1e-3)
    assert "these joules were not measured" in row["meter_warnings"]


def test_raw_samples_are_kept_beside_the_database_and_join_again(tmp_path: Path) -> None:
    row = run(tmp_path, {"kind": "simulated", "phases": WATTS, **POOR})
    kept = Path(row["samples_file"])
    assert kept.parent.parent == tmp_path / "r.sqlite.samples"
    assert kept.parent.name == row["run_id"] and kept.name == f"00000-{row['cell_key']}.csv.gz"
    log = kept.with_name(kept.name.replace(".csv.gz", ".events.csv"))
    assert sorted(kept.parent.iterdir()) == sorted([kept, log])  # nothing half-written stays
    report = join(read_samples(kept), read_events(log))
    found = sum(p.energy_j or 0 for p in report.phases if p.phase == "decode")
    assert found == pytest.approx(row["energy_decode_j"], rel=1e-5)
    shown = json.loads(row["details"])["phases"][0]  # in the clock of the samples, for a picture
    assert shown["start_s"] == pytest.approx(report.phases[0].start_s + 0.7, abs=2e-3)


def test_inferences(tmp_path: Path) -> None:
    def infer(bench: Bench) -> None:
        for _ in range(4):
            with bench.events.phase("inference"):
                time.sleep(0.02)

    table = {"kind": "simulated", "idle_w": 1.0, "phases": {"inference": 3.0}, "idle_s": 0}
    row = run(tmp_path, table, infer)
    phases = json.loads(row["details"])["energy"]["phases"]
    spent = sum(p["end_s"] - p["start_s"] for p in phases)
    assert row["j_per_inference"] == pytest.approx(3.0 * spent / 4, rel=0.01)
    assert row["idle_w"] is None and row["energy_prefill_j"] is None
    assert "idle was not measured" in row["meter_warnings"]


def test_what_the_meter_takes_is_not_in_the_time_limit(tmp_path: Path) -> None:
    """Two seconds of it are the workload's; the idle window alone is longer."""
    row = run(tmp_path, {"kind": "simulated", "idle_s": 2.1}, lambda bench: None)
    assert row["status"] == "ok" and row["duration_s"] > 2.1


def test_tokens_that_nobody_counted(tmp_path: Path) -> None:
    def uncounted(bench: Bench) -> None:
        begin_s = time.perf_counter()
        time.sleep(0.05)
        bench.events.add("prefill", begin_s, time.perf_counter(), None)

    row = run(tmp_path, {"kind": "simulated", "phases": WATTS}, uncounted)
    assert row["energy_prefill_j"] > 0 and row["j_per_token_prefill"] is None


def test_an_idle_window_that_is_too_short_for_the_meter(tmp_path: Path) -> None:
    table = {"kind": "simulated", "rate_hz": 200, "phases": WATTS, "idle_s": 0.02}
    row = run(tmp_path, table)
    assert row["idle_w"] is None and row["j_per_token_decode"] > 0
    assert "idle window" in row["meter_warnings"] and "whole device's" in row["meter_warnings"]


class Broken(SimulatedMeter):
    """Fails where the test says."""

    def __init__(self, where: str, error: Exception | None = None) -> None:
        super().__init__(Waveform(phases=WATTS), time.perf_counter)
        self.where, self.error = where, error
        self.closed = 0

    def start(self) -> None:
        self._fail("start")
        super().start()

    def switch(self, on: bool) -> float:
        self._fail("switch")
        return super().switch(on)

    def stop(self) -> Samples:
        self._fail("stop")
        return super().stop()

    def close(self) -> None:
        self.closed += 1
        super().close()

    def _fail(self, where: str) -> None:
        if where == self.where and self.error is not None:
            raise self.error
        if where == self.where:
            threading.Event().wait(5.0)


@pytest.mark.parametrize("where", ["start", "switch", "stop"])
@pytest.mark.parametrize(
    "error",
    [
        DeviceError("Monsoon failed: no such device"),
        UserError("no such device"),
        OSError("no such device"),
    ],
)
def test_a_meter_that_fails_costs_the_energy_and_not_the_results(
    tmp_path: Path, where: str, error: Exception
) -> None:
    meter = Broken(where, error)
    row = run(tmp_path, {"kind": "simulated"}, open_meter=lambda *given: meter)
    assert row["status"] == "ok" and row["ttft_ms"] == 7.0
    assert "no energy: " in row["meter_warnings"] and "no such device" in row["meter_warnings"]
    energy = [row[k] for k in row if k.startswith(("energy_", "j_per")) or k == "samples_file"]
    assert energy == [None] * len(energy) and row["meter"].startswith("simulated")
    assert meter.closed > 0


def test_a_meter_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(during, "_METER_S", 0.2)
    row = run(tmp_path, {"kind": "simulated"}, open_meter=lambda *given: Broken("stop"))
    assert row["status"] == "ok" and row["ttft_ms"] == 7.0
    assert "meter 'simulated' stops: nothing happened for 0 s" in row["meter_warnings"]


def test_work_that_fails_lets_go_of_the_meter(tmp_path: Path) -> None:
    def crash(bench: Bench) -> None:
        raise DeviceError("out of memory")

    meter = Broken("never")
    row = run(tmp_path, {"kind": "simulated"}, crash, open_meter=lambda *given: meter)
    assert (row["status"], row["reason"]) == ("failed", "out of memory")
    assert meter.closed == 1 and row["meter"] is None


def test_no_room_for_the_samples(tmp_path: Path) -> None:
    (tmp_path / "r.sqlite.samples").write_text("a file is in the way")
    row = run(tmp_path, {"kind": "simulated", "phases": WATTS})
    assert row["samples_file"] is None and row["energy_decode_j"] > 0
    assert "raw samples are not kept: " in row["meter_warnings"]


def test_a_log_that_cannot_be_joined(tmp_path: Path) -> None:
    def overlap(bench: Bench) -> None:
        begin_s = time.perf_counter()
        time.sleep(0.05)
        bench.events.add("prefill", begin_s, begin_s + 0.04)
        bench.events.add("decode", begin_s + 0.02, begin_s + 0.05)

    row = run(tmp_path, {"kind": "simulated"}, overlap)
    assert row["status"] == "ok" and row["energy_prefill_j"] is None
    assert "the workload's log: phase 'decode' starts" in row["meter_warnings"]
    assert Path(row["samples_file"]).is_file()


class Flat(BaseMeter):
    """Sees 1 W whatever happens, 1000 times a second."""

    def __init__(self) -> None:
        self.begin_s = 0.0

    @property
    def info(self) -> MeterInfo:
        return MeterInfo("csv", "flat", 1000.0, ("power W",), "host")

    def start(self) -> None:
        self.begin_s = time.perf_counter()

    def stop(self) -> Samples:
        count = int((time.perf_counter() - self.begin_s) * 1000) + 1
        time_s = self.begin_s + np.arange(count) / 1000
        return Samples(time_s, np.ones(count))

    def close(self) -> None:
        """Nothing runs."""


def test_marks_that_do_not_show(tmp_path: Path) -> None:
    """The busy loop of this computer is not seen by a meter of something else."""
    row = run(tmp_path, {"kind": "csv", "file": "x"}, open_meter=lambda *given: Flat())
    assert row["energy_decode_j"] is None and "no load step like" in row["meter_warnings"]
    assert Path(row["samples_file"]).is_file()


def test_no_marks_where_both_clocks_are_one(tmp_path: Path) -> None:
    table = {"kind": "csv", "file": "x", "sync": "none"}
    row = run(tmp_path, table, open_meter=lambda *given: Flat())
    phases = json.loads(row["details"])["energy"]["phases"]
    spent = sum(p["end_s"] - p["start_s"] for p in phases if p["phase"] == "decode")
    assert row["energy_decode_j"] == pytest.approx(spent, rel=1e-6)
    assert row["clock_offset_s"] is None and "taken as one" in row["meter_warnings"]
    head = gzip.decompress(Path(row["samples_file"]).read_bytes())[:14]
    assert head == b"time_s,power_w"


@dataclass
class Phone(StillMachine):
    """Has a shell that tells its time since boot, which is 1000 s ahead, and a battery: 1 W."""

    shares_files: bool = False

    def run(self, argv: Sequence[str], *, timeout_s: float = 20.0) -> Output:
        uptime = f"{time.perf_counter() + 1000:.2f} 5.00"
        if "power_supply" in argv[-1]:
            return Output(0, f"={uptime}\n=4000000\n=-250000\n", "")
        return Output(0, uptime.split()[0] + "\n", "")


def test_a_clock_that_is_read_instead_of_a_mark(tmp_path: Path) -> None:
    table = {"kind": "current_now", "sync": "clock", "every_s": 0.01}
    row = run(tmp_path, table, machine=Phone())
    phases = json.loads(row["details"])["energy"]["phases"]
    spent = sum(p["end_s"] - p["start_s"] for p in phases if p["phase"] == "decode")
    assert row["energy_decode_j"] == pytest.approx(spent, rel=1e-6)
    assert row["j_per_token_decode"] == pytest.approx(0.0, abs=1e-6)  # no more than idle
    assert row["clock_offset_s"] == pytest.approx(1000, abs=0.02)
    assert "boot clock, known to" in row["meter_warnings"]


class Far(LocalMachine):
    """This computer as if it were behind a link: marks are made by its shell."""

    shares_files = False

    def start(self, argv: Sequence[str], **options: Any) -> LocalProcess:
        assert options == {
            "cores": (0, 1)
        }  # two loops, pinned by the machine: here they run anywhere
        return super().start(argv)


class Behind(LocalMachine):
    """This computer as if it were behind a link."""

    shares_files = False


@pytest.mark.parametrize("sync", ["none", "load"])
def test_a_meter_inside_a_machine_is_asked_through_its_shell(tmp_path: Path, sync: str) -> None:
    """The chip says 2 W whatever happens, so no mark is seen in what it says."""
    chip = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "400"}
    (tmp_path / "hwmon0").mkdir()
    for name, text in chip.items():
        (tmp_path / "hwmon0" / name).write_text(f"{text}\n")
    table = {"kind": "hwmon", "root": str(tmp_path), "every_s": 0.01, "sync": sync}
    with Behind(load_machine("local")) as machine:
        row = run(tmp_path, table, machine=machine)
    assert row["status"] == "ok" and row["meter"] == f"hwmon: {tmp_path}: VDD_IN"
    if sync == "load":
        assert "the device's clock is known to" in row["meter_warnings"]
        assert "no energy: no load step like" in row["meter_warnings"]
        return
    phases = json.loads(row["details"])["energy"]["phases"]
    spent = sum(p["end_s"] - p["start_s"] for p in phases if p["phase"] == "load")
    assert row["energy_load_j"] == pytest.approx(2.0 * spent, rel=1e-6)


def test_a_mark_that_a_machines_own_shell_makes() -> None:
    with Far(load_machine("local")) as machine:
        asked_s = time.perf_counter()
        (start, end), doubt_s = mark_on(machine, (0, 1), length_s=0.1, quiet_s=0.0)
        told_s = time.perf_counter()
        assert asked_s - doubt_s <= start.time_s < end.time_s <= told_s + doubt_s
        assert end.time_s - start.time_s >= 0.1 and (start.phase, end.edge) == ("sync", "end")


def test_a_shell_that_does_not_make_a_mark() -> None:
    class Mute(Far):
        def start(self, argv: Sequence[str], **options: Any) -> Any:
            return super().start(["sh", "-c", "echo not found >&2"], cores=(0, 1))

    with Mute(load_machine("local")) as machine, pytest.raises(DeviceError, match="'not found'"):
        mark_on(machine, (0, 1), length_s=0.02, quiet_s=0.0)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            'kind = "monson"',
            r"meter of target 'a': unknown meter kind 'monson' \(did you mean 'mons",
        ),
        ('kind = "rapl"\nidl_s = 1', r"unknown key 'idl_s' \(did you mean 'idle_s'"),
        ('kind = "rapl"\nsync = "edge"', "key 'sync' is 'edge': input should be 'load', 'clock'"),
        ('kind = "rapl"\nidle_s = -1', "key 'idle_s' is -1"),
        ('kind = "rapl"\nsync = "clock"', "stamp with the device's boot clock"),
        ('kind = "ppk2"', "key 'voltage_v' is missing"),
    ],
)
def test_a_table_that_is_wrong(tmp_path: Path, table: str, words: str) -> None:
    target = 'machine = "local"\n'
    text = ONE.replace(target, f"{target}[targets.meter]\n{table}\n")
    with pytest.raises(UserError, match=words):
        suite_at(tmp_path, text)
