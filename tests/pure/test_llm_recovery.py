"""Known delays come back: TTFT, TPOT percentiles, goodput, cold start. No clock of this computer.

The client reads a stream whose pieces arrive at given times, the load runs in virtual time, so that
what is asserted does not depend on how busy the computer is. `docs/make_melt.py` measures the same
over real sockets.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from bench_melt.models import load_model_file
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Deadline
from bench_melt.workloads.llm import goodput as goodput_module
from bench_melt.workloads.llm.goodput import find_goodput, run_load
from bench_melt.workloads.llm.metrics import latency_of
from bench_melt.workloads.llm.workload import LlmWorkload
from bench_melt.workloads.tables import Goodput, LlmTable
from tests.benches import local_bench
from tests.needs import package
from tests.pure.test_llm_client import DONE, event, talk, token
from tests.tiny_gguf import write_tiny_gguf
from tests.virtual_time import Queue, VirtualTime

pytestmark = pytest.mark.pure

FIRST_S, COUNT = 0.35, 400


def test_ttft_and_percentiles_are_those_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    # mostly 20 ms, now and then a stall, as servers have them
    draw = np.random.default_rng(11)
    shares = [0.3, 0.3, 0.2, 0.16, 0.04]
    gaps_s = draw.choice([0.018, 0.02, 0.022, 0.06, 0.15], COUNT - 1, p=shares)
    pieces = [(FIRST_S, token("a")), *((float(gap), token("b")) for gap in gaps_s)]
    usage = event({"choices": [], "usage": {"prompt_tokens": 64, "completion_tokens": COUNT}})
    answer = talk(monkeypatch, [*pieces, (0.0, usage), (0.0, DONE)]).complete("text", COUNT)
    found = latency_of([answer], None)
    p50, p90, p99 = np.percentile(gaps_s * 1000, (50, 90, 99))
    expected = {
        "ttft_ms": FIRST_S * 1000,
        "tpot_ms": gaps_s.mean() * 1000,
        "itl_ms_p50": p50,
        "itl_ms_p90": p90,
        "itl_ms_p99": p99,
        "decode_tokens_per_s": 1 / gaps_s.mean(),
        "prefill_tokens_per_s": 64 / FIRST_S,
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=0.02), name
    assert p50 < 25 < p90 < 100 < p99  # the stalls are in the tail, and seen


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("ttft_limit_ms", [150.0, 400.0, 1000.0])
def test_goodput_is_that_of_the_queue(
    monkeypatch: pytest.MonkeyPatch, slots: int, ttft_limit_ms: float
) -> None:
    """With evenly spaced arrivals the wait of request k is k (service / slots - spacing)."""
    requests, first_s, gaps_s = 60, 0.1, (0.02, 0.03, 0.05)
    service_s = first_s + sum(gaps_s)
    wanted = Goodput(
        ttft_ms=ttft_limit_ms,
        tpot_ms=40.0,
        requests=requests,
        rate_max_per_s=64.0,
        precision=0.005,
    )

    def share_at(rate_per_s: float) -> float:
        clock = VirtualTime(requests)
        monkeypatch.setattr(goodput_module, "time", clock)
        queue = Queue(clock, first_s, gaps_s, slots)
        return run_load(queue.send, wanted, rate_per_s, seed=1, deadline=Deadline(60))

    found, trials = find_goodput(wanted, share_at)
    # nine tenths of the requests, rounded up, must wait no longer than the limit allows;
    # request k waits for the one `slots` places before it
    rounds = (round(requests * wanted.share) - 1) // slots
    allowed_s = ttft_limit_ms / 1000 - first_s
    expected = slots / (service_s - allowed_s / rounds)
    assert found == pytest.approx(expected, rel=0.02)
    assert len(trials) < 30


def test_a_tpot_beyond_its_limit_is_no_goodput(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Goodput(ttft_ms=1000, tpot_ms=20.0, requests=5, rate_max_per_s=4.0)
    shares = {}
    for gap_s in (0.0199, 0.0201):
        clock = VirtualTime(5)
        monkeypatch.setattr(goodput_module, "time", clock)
        queue = Queue(clock, 0.1, (gap_s,) * 3)
        shares[gap_s] = run_load(queue.send, wanted, 1.0, seed=1, deadline=Deadline(60))
    assert shares == {0.0199: 1.0, 0.0201: 0.0}


def test_stages_of_a_cold_start_sum_to_its_wall_time(tmp_path: Path) -> None:
    """With a real server: the sum is of its own time stamps, and no more than this test waited."""
    package("xllamacpp")
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    fields = {"kind": "llm", "name": "w", "n_prompt": 16, "n_gen": 4, "cold_start": True}
    start_s = time.perf_counter()
    with LocalMachine(load_machine("local")) as machine:
        work = local_bench(machine, load_model_file(path, None), tmp_path)
        found = LlmWorkload(LlmTable.model_validate(fields)).run(work).latency
    waited_ms = (time.perf_counter() - start_s) * 1000
    stages = json.loads(str(found.cold_start_stages))
    assert list(stages) == ["process", "import", "load", "ready", "connect", "first_token"]
    assert all(value > 0 for value in stages.values())
    assert sum(stages.values()) == pytest.approx(found.cold_start_ms, rel=0.01)
    assert (found.load_ms or 0) < (found.cold_start_ms or 0) < waited_ms
