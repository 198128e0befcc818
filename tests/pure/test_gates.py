"""What the gate calls grown, and that docs/benchmarks.md is the page of its record."""

import difflib
import subprocess
import sys
from dataclasses import replace

import pytest

from bench_melt.workloads.gates import Counts, grown
from tests.tidy.sources import ROOT

NOW = Counts(1010, 500, 300, 200, 100, 50)
RECORD = {
    "instructions_per_step": 1000,
    "instructions_forward": 500,
    "ram_bytes": 300,
    "flash_bytes": 200,
    "arena_bytes": 100,
    "macs_forward": 10,
}


def test_one_percent_is_allowed_and_no_more() -> None:
    assert list(grown("net", RECORD, NOW)) == []
    lower = {**RECORD, "instructions_per_step": 999, "flash_bytes": 150}
    assert list(grown("net", lower, NOW)) == [
        "net: instructions_per_step grew from 999 to 1,010 (+1.1 %)",
        "net: flash_bytes grew from 150 to 200 (+33.3 %)",
    ]


def test_what_shrinks_or_is_not_measured_passes() -> None:
    higher = {name: 10 * value for name, value in RECORD.items()}
    assert list(grown("net", higher, NOW)) == []
    untrained = {**RECORD, "instructions_per_step": None}
    assert list(grown("net", untrained, NOW)) == []


def test_a_figure_that_is_not_counted_any_more_does_not_pass() -> None:
    assert list(grown("net", RECORD, replace(NOW, instructions_per_step=None))) == [
        "net: instructions_per_step was 1,000, is not counted any more"
    ]


@pytest.mark.parametrize("name", [n for n in RECORD if n != "macs_forward"])
def test_every_figure_is_gated(name: str) -> None:
    (line,) = grown("net", {**RECORD, name: 1}, NOW)
    assert name in line


def test_the_page_is_that_of_the_record() -> None:
    argv = [sys.executable, ROOT / "docs" / "make_benchmarks.py", "--page"]
    page = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout
    stored = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    told = "\n".join(difflib.unified_diff(stored.splitlines(), page.splitlines(), n=1))
    assert not told, f"{told}\ndocs/benchmarks.md is made by: make benchmarks"
