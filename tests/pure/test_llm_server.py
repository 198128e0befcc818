"""The `llm` workload against a server in a process of its own: a double, through real sockets."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench_melt.models import ModelFile
from bench_melt.record import ModelFacts
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Deadline
from bench_melt.workloads.llm import serve
from bench_melt.workloads.llm.client import Client
from bench_melt.workloads.llm.goodput import run_load
from bench_melt.workloads.llm.workload import LlmWorkload
from bench_melt.workloads.tables import Goodput, LlmTable
from bench_melt.workloads.workload import Bench
from tests.benches import local_bench
from tests.openai_double import Delays, Double
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure

MODEL = ModelFile(Path("m.gguf"), "gguf", ModelFacts())


@contextmanager
def double(*arguments: str) -> Iterator[str]:
    """Give HOST:PORT of a double in its own process."""
    with LocalMachine(load_machine("local")) as machine:
        argv = [sys.executable, "-m", "tests.openai_double", *arguments]
        process = machine.start(argv)
        yield process.wait_line("listening ", Deadline(20)).partition(" ")[2]


def bench(machine: LocalMachine, folder: Path) -> Bench:
    return local_bench(machine, MODEL, folder, warmups=1, seed=4)


def table(address: str, **more: object) -> LlmTable:
    return LlmTable.model_validate(
        {
            "kind": "llm",
            "name": "w",
            "runner": {"kind": "url", "url": f"http://{address}"},
            "n_gen": 6,
            **more,
        }
    )


def test_a_repetition_over_real_sockets(tmp_path: Path) -> None:
    wanted = {"ttft_ms": 10_000.0, "tpot_ms": 10_000.0, "requests": 5, "rate_max_per_s": 20.0}
    with (
        double("--first-s", "0.05", "--gaps-s", "0.01") as address,
        LocalMachine(load_machine("local")) as machine,
    ):
        work = bench(machine, tmp_path)
        results = LlmWorkload(
            table(address, n_prompt=8, requests=2, sustained=3, goodput=wanted)
        ).run(work)
    # a busy computer only ever adds time until the last token (two requests: medians are means)
    assert (results.latency.ttft_ms or 0) >= 49
    assert (results.latency.ttft_ms or 0) + 5 * (results.latency.tpot_ms or 0) >= 99
    assert results.latency.clock == "host" and (results.latency.link_delay_ms or 0) > 0
    assert results.latency.load_ms is None  # nobody started it
    assert results.latency.generated_tokens == 12
    assert results.latency.goodput_requests_per_s == 20.0
    assert results.sustained.sustained_prompts == 3
    assert [e.phase for e in work.events.events] == ["prefill", "decode"] * 2
    assert all(e.start_s <= e.end_s for e in work.events.events)


def test_turns_carry_the_answers_before_them(tmp_path: Path) -> None:
    async def held() -> list[dict[str, object]]:
        made = Double(Delays(0.0, (0.0,)))
        async with await made.serve() as server:
            host, port = server.sockets[0].getsockname()
            work = LlmWorkload(table(f"{host}:{port}", prompts="dialogue"))
            with LocalMachine(load_machine("local")) as machine:
                await asyncio.to_thread(work.run, bench(machine, tmp_path))
        return made.requests

    requests = asyncio.run(held())
    last = requests[-1]["messages"]
    assert isinstance(last, list)
    roles = [message["role"] for message in last]
    assert roles == ["system", *["user", "assistant"] * 3, "user"]
    assert last[2]["content"] == "t0 t1 t2 t3 t4 t5 "
    assert all(r["seed"] == 4 and r["max_tokens"] == 6 for r in requests)


@pytest.mark.parametrize(
    ("delays", "message"),
    [
        (Delays(0.0, (0.0,), break_after=2), "broke off after 2 events"),
        (Delays(0.0, (0.0,), status=503), "HTTP 503: .*model is asleep"),
    ],
)
def test_a_server_that_fails(tmp_path: Path, delays: Delays, message: str) -> None:
    async def held() -> None:
        async with await Double(delays).serve() as server:
            host, port = server.sockets[0].getsockname()
            work = LlmWorkload(table(f"{host}:{port}", n_prompt=4))
            with LocalMachine(load_machine("local")) as machine:
                await asyncio.to_thread(work.run, bench(machine, tmp_path))

    with pytest.raises(DeviceError, match=message):
        asyncio.run(held())


def test_too_high_a_rate_misses_the_limits() -> None:
    # one slot, 0.1 s each: 5 per second are served, 40 per second queue up
    with double("--first-s", "0.08", "--gaps-s", "0.02", "--slots", "1") as address:
        client = Client(address, Deadline(60), path="/v1", model=None)
        wanted = Goodput(ttft_ms=400, tpot_ms=300, requests=12)

        def share(rate_per_s: float) -> float:
            return run_load(
                lambda index: client.complete([index], 2),
                wanted,
                rate_per_s,
                seed=1,
                deadline=Deadline(60),
            )

        assert share(40.0) < 0.6
        assert share(2.0) > 0.75  # a busy computer delays one of them now and then


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with LocalMachine(load_machine("local")) as machine:
        work = bench(machine, tmp_path)
        work.deadline.cancel()
        with pytest.raises(DeviceError, match="waiting for the server at .* to be ready"):
            LlmWorkload(table("127.0.0.1:9", n_prompt=4)).run(work)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n_prompt": 4000}, "n_depth \\+ n_prompt \\+ n_gen is 4006 tokens.*holds 2048"),
        ({"prompts": "shrt"}, "unknown prompts 'shrt'.*'short'"),
        (
            {"n_prompt": 4, "runner": {"kind": "llama-server", "program": "no/such"}},
            "there is no program",
        ),
    ],
)
def test_a_workload_that_cannot_work(tmp_path: Path, more: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LlmWorkload(table("127.0.0.1:9", **more)).check(MODEL, tmp_path)


def test_the_server_finds_its_port_taken_by_its_own_client() -> None:
    """Asking a port that nobody listens at yet, a client may be given that very port as its own."""
    assert serve._PORTS[1] <= 32_768  # where Linux begins to hand out


def test_a_server_that_is_not_there_does_not_cost_the_whole_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_RUNNING_S", 0.2)
    with (
        LocalMachine(load_machine("local")) as machine,
        pytest.raises(DeviceError, match=r"127\.0\.0\.1:9.* was not ready within 0\.2 s; start it"),
    ):
        LlmWorkload(table("127.0.0.1:9", n_prompt=4)).run(bench(machine, tmp_path))
