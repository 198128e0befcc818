"""`bench-melt run` over a phone: suite -> pushed server -> tunnel -> row."""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from tests.adbd_double import Adbd
from tests.bench_rig import bench_melt
from tests.phone_rig import Server, write_gguf

pytestmark = pytest.mark.phone

MACHINE = """
name = "galaxy"
summary = "a phone of these tests"
kind = "android"
tested = "only in tests"
[cores]
big = [{core}]
[thermal]
zones = ["SKIN"]
"""
SUITE = """
[suite]
name = "phone"
repetitions = 2
warmups = 0
time_limit_s = 60.0

[[targets]]
name = "p"
machine = "galaxy.toml"
cores = "big"
connection = {{ address = "{serial}", server = "{server}", root = "{root}" }}

[[models]]
name = "m"
path = "m.gguf"

[[workloads]]
kind = "llm"
name = "w"
n_prompt = 8
n_gen = 5
runner = {{ kind = "server", program = "server_program.py", args = {arguments} }}
"""


def suite_at(folder: Path, server: Server, phone: Adbd, *more: str) -> Path:
    """Write a machine, a model, a program and a suite that joins them."""
    write_gguf(folder / "m.gguf")
    shutil.copy(Path(__file__).parent / "server_program.py", folder)
    (folder / "server_program.py").chmod(0o755)
    (folder / "galaxy.toml").write_text(MACHINE.format(core=max(os.sched_getaffinity(0))))
    arguments = ["{model}", "--port", "{port}", *more]
    text = SUITE.format(
        serial=phone.serial,
        server=server.address,
        root=phone.phone.folder,
        arguments=str(arguments).replace("'", '"'),
    )
    (folder / "suite.toml").write_text(text)
    return folder / "suite.toml"


def rows_of(database: Path) -> list[sqlite3.Row]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("select * from bench_rows order by position").fetchall()


def test_a_suite_becomes_rows(server: Server, phone: Adbd, tmp_path: Path) -> None:
    suite = suite_at(tmp_path, server, phone)
    done = bench_melt("run", suite, "--db", tmp_path / "r.db")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "r.db")
    assert [row["status"] for row in rows] == ["ok", "ok"]
    for row in rows:
        assert (row["machine"], row["machine_kind"], row["soc"]) == (
            "galaxy",
            "android",
            "QTI SM8550",
        )
        assert (row["generated_tokens"], row["runner"]) == (5, "server")
        assert row["temperature_c_before"] == 32.1 and row["thermal_status"] == "light"
        assert (row["battery_percent_before"], row["charging"]) == (87.0, 1)
        assert row["cores"] == str(max(os.sched_getaffinity(0)))
        assert row["memory_peak_bytes"] > 1 << 20 and row["memory_pss_bytes"] > 1 << 20
        assert row["load_ms"] > 0 and row["ttft_ms"] > 0 and row["link_delay_ms"] > 0
        assert row["clock"] == "host"
    assert server.adb("forward", "--list").strip() == ""


def test_a_server_that_dies_is_a_row_with_its_reason(
    server: Server, phone: Adbd, tmp_path: Path
) -> None:
    suite = suite_at(tmp_path, server, phone, "--die-after", "3")
    done = bench_melt("run", suite, "--db", tmp_path / "r.db")
    assert done.returncode == 3
    assert "2 of 2 repetitions failed" in done.stderr
    for row in rows_of(tmp_path / "r.db"):
        assert row["status"] == "failed" and "broke off after 3" in row["reason"]
        assert row["soc"] == "QTI SM8550"


def test_a_phone_unplugged_in_a_run_is_a_row_and_the_sweep_goes_on(
    server: Server, phone: Adbd, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    suite = suite_at(tmp_path, server, phone, "--stall-after", "2", str(mark))

    def unplug() -> None:
        while not mark.exists():
            time.sleep(0.01)
        phone.vanish()

    thread = threading.Thread(target=unplug, daemon=True)
    thread.start()
    done = bench_melt("run", suite, "--db", tmp_path / "r.db")
    thread.join()
    assert done.returncode == 3
    first, second = (row["reason"] for row in rows_of(tmp_path / "r.db"))
    assert first.startswith(f"phone '{phone.serial}' (machine 'galaxy') is") and "offline" in first
    assert f"'{phone.serial}'" in second
