"""Token times, metrics and goodput of language models, on clocks that do as they are told."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench_melt.targets.machine import Deadline, TimeLimitError
from bench_melt.workloads.llm import client as client_module
from bench_melt.workloads.llm.client import Answer, Client
from bench_melt.workloads.llm.goodput import find_goodput
from bench_melt.workloads.llm.metrics import (
    latency_of,
    prefill_tokens_per_s,
    sustained_of,
)
from bench_melt.workloads.llm.prompts import load_conversations, prompt_classes, synthetic_tokens
from bench_melt.workloads.percentiles import percentiles
from bench_melt.workloads.tables import Goodput
from tinyengine.errors import DeviceError

pytestmark = pytest.mark.pure


class Clock:
    """Time passes when a chunk says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, wait_s: float) -> None:
        self.now_s += wait_s


class Chunks:
    """An answer: pieces of it, each after its delay."""

    def __init__(self, clock: Clock, status: int, events: list[tuple[float, str]]) -> None:
        self.status, self._clock, self._events = status, clock, list(events)

    def read1(self, count: int) -> bytes:
        if not self._events:
            return b""
        delay_s, text = self._events.pop(0)
        self._clock.now_s += delay_s
        return text.encode()

    def read(self) -> bytes:
        return b"".join(iter(lambda: self.read1(0), b""))


class Wire:
    """A server that gives one answer."""

    def __init__(self, answer: Chunks) -> None:
        self._answer = answer

    @contextmanager
    def link(self, timeout_s: float) -> Iterator["Wire"]:
        yield self

    def ask(self, method: str, path: str, body: object = None) -> Chunks:
        return self._answer


def event(value: object) -> str:
    return f"data: {json.dumps(value)}\n\n"


def talk(
    monkeypatch: pytest.MonkeyPatch,
    events: list[tuple[float, str]],
    status: int = 200,
    deadline: Deadline | None = None,
) -> Client:
    clock = Clock()
    monkeypatch.setattr(client_module, "time", clock)

    made = Client("127.0.0.1:1", deadline or Deadline(60), path="/v1", model=None)
    made._http = Wire(Chunks(clock, status, events))  # type: ignore[assignment]
    return made


def token(text: str, **more: object) -> str:
    return event({"choices": [{"text": text}], **more})


DONE = "data: [DONE]\n\n"


def test_times_of_a_server_with_known_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps_s = [0.02, 0.03, 0.05]
    tokens = [(0.4, token("a")), *((gap, token("b")) for gap in gaps_s)]
    end = [(0.2, event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}))]
    answer = talk(monkeypatch, [*tokens, *end, (0.0, DONE)]).complete([1, 2], 4)
    assert answer.ttft_ms == pytest.approx(400)
    assert answer.gaps_ms() == pytest.approx([20, 30, 50])
    assert answer.tpot_ms == pytest.approx(100 / 3)
    assert (answer.prompt_tokens, answer.generated_tokens) == (9, 4)
    assert answer.text == "abbb" and not answer.on_device_clock
    latency = latency_of([answer], 0.5)
    assert latency.itl_ms_p50 == pytest.approx(30)
    assert latency.itl_ms_p90 == pytest.approx(46)
    assert latency.decode_tokens_per_s == pytest.approx(30)
    assert latency.prefill_tokens_per_s == pytest.approx(9 / 0.4)
    assert (latency.clock, latency.link_delay_ms) == ("host", 0.5)


def test_the_devices_own_clock_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    # the link delivers all tokens at once; the runner says when they were made
    events = [
        (
            0.5 if index == 0 else 0.0,
            token(
                "x",
                timings={
                    "prompt_n": 10,
                    "prompt_ms": 250.0,
                    "predicted_n": index + 1,
                    "predicted_ms": 40.0 * index,
                    "cache_n": 0,
                },
            ),
        )
        for index in range(5)
    ]
    answer = talk(monkeypatch, [*events, (0.0, DONE)]).complete("text", 5)
    assert answer.on_device_clock
    assert answer.tpot_ms == pytest.approx(40)
    # so are the times of phases: the first token as it arrived, the others as they were made
    assert [at - answer.sent_s for at in answer.token_s] == pytest.approx(
        [0.5, 0.54, 0.58, 0.62, 0.66]
    )
    assert latency_of([answer], None).clock == "device"
    assert prefill_tokens_per_s(answer) == pytest.approx(40)


def test_a_token_without_text_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        (0.1, token("a", timings={"predicted_n": 1, "predicted_ms": 0.0})),
        (0.1, token("", timings={"predicted_n": 2, "predicted_ms": 100.0})),
        (0.1, token("é", timings={"predicted_n": 3, "predicted_ms": 200.0})),
        (0.0, token("", timings={"predicted_n": 3, "predicted_ms": 200.0})),
    ]
    answer = talk(monkeypatch, [*events, (0.0, DONE)]).complete("text", 3)
    assert len(answer.token_s) == 3 and answer.tpot_ms == pytest.approx(100)


def test_a_chunk_of_several_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 5}})
    events = [(0.1, token("a")), (0.4, token("b c d e")), (0.0, usage), (0.0, DONE)]
    answer = talk(monkeypatch, events).complete("text", 5)
    assert answer.tpot_ms == pytest.approx(100)


@pytest.mark.parametrize(
    ("events", "status", "message"),
    [
        ([(0.0, DONE)], 200, "answered without a token"),
        ([(0.0, "data: {oops\n\n")], 200, "not JSON: '{oops'"),
        ([(0.0, "data: 5\n\n")], 200, "no chunk of an answer"),
        ([(0.0, event({"error": {"message": "context is full"}}))], 200, "context is full"),
        ([(0.0, '{"error": "no such model"}')], 404, "HTTP 404: .*no such model"),
    ],
)
def test_what_servers_do_wrong(
    monkeypatch: pytest.MonkeyPatch, events: list[tuple[float, str]], status: int, message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        talk(monkeypatch, events, status).complete("text", 4)


def test_a_stream_that_outlasts_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(60)
    made = talk(monkeypatch, [(0.1, token("a")), (0.1, token("b")), (0.0, DONE)], 200, deadline)
    deadline_hit = []

    def passed(what: str, *, at_most_s: float = math.inf) -> float:
        deadline_hit.append(what)
        if len(deadline_hit) > 2:
            raise TimeLimitError("time limit passed")
        return 1.0

    monkeypatch.setattr(deadline, "remaining_s", passed)
    with pytest.raises(TimeLimitError):
        made.complete("text", 2)


def answer_of(ttft_s: float, tpot_s: float, count: int = 5) -> Answer:
    times = tuple(ttft_s + tpot_s * index for index in range(count))
    return Answer(0.0, times, "", 10, None, count, None, ())


def test_figures_over_several_answers() -> None:
    latency = latency_of([answer_of(0.1, 0.02), answer_of(0.3, 0.04), answer_of(0.2, 0.03)], None)
    assert latency.ttft_ms == pytest.approx(200)
    assert latency.tpot_ms == pytest.approx(30)
    assert latency.generated_tokens == 15 and latency.prompt_tokens == 30
    single = latency_of([answer_of(0.1, 0.0, 1)], None)
    assert single.tpot_ms is None and single.itl_ms_p99 is None
    assert percentiles([]) == (None, None, None)


def test_where_a_machine_throttles() -> None:
    steady = sustained_of([10.0, 10.2, 9.9, 10.1, 9.8])
    assert steady.throttled_at_prompt is None and steady.throttled_share is None
    # one slow prompt is noise; it stays slow from prompt 6 on
    hot = sustained_of([10.0, 10.0, 10.0, 5.0, 10.0, 10.0, 7.0, 6.9, 7.1, 7.0])
    assert hot.throttled_at_prompt == 6
    assert hot.throttled_share == pytest.approx(0.7)


@pytest.mark.parametrize("true_rate", [0.05, 0.7, 3.3, 11.9])
def test_goodput_is_found_by_bisection(true_rate: float) -> None:
    wanted = Goodput(ttft_ms=100, tpot_ms=10, rate_max_per_s=16.0, precision=0.02)
    found, trials = find_goodput(wanted, lambda rate: 1.0 if rate <= true_rate else 0.5)
    assert true_rate / 1.02 <= found <= true_rate
    assert len(trials) < 25


def test_goodput_at_the_ends() -> None:
    wanted = Goodput(ttft_ms=100, tpot_ms=10, rate_max_per_s=8.0)
    assert find_goodput(wanted, lambda rate: 1.0)[0] == 8.0
    assert find_goodput(wanted, lambda rate: 0.0)[0] == 0.0


def test_prompts_that_ship(tmp_path: object) -> None:
    from pathlib import Path

    assert prompt_classes() == ("dialogue", "long", "medium", "short")
    lengths = {}
    for name in prompt_classes():
        conversations = load_conversations(name, Path())
        lengths[name] = min(len(turn.split()) for c in conversations for turn in c.turns)
    assert lengths["short"] < 25 < lengths["medium"] < 150 < lengths["long"]


def test_synthetic_tokens_follow_the_seed() -> None:
    first = synthetic_tokens(100, 1000, 5)
    assert first == synthetic_tokens(100, 1000, 5) != synthetic_tokens(100, 1000, 6)
    assert len(first) == 100 and min(first) >= 256 and max(first) < 1000
