"""Perplexity and multiple choice: against a model whose probabilities are known, and llama.cpp."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench_melt.models import load_model_file
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Deadline
from bench_melt.workloads.llm import quality
from bench_melt.workloads.llm.client import Client
from bench_melt.workloads.llm.quality import (
    GIVEN,
    WINDOW,
    Exam,
    Question,
    examine,
    shipped_exam,
)
from bench_melt.workloads.llm.serve import serve
from bench_melt.workloads.llm.workload import LlmWorkload
from bench_melt.workloads.tables import LlmRunner, LlmTable
from bench_melt.workloads.workload import Bench
from tests.benches import local_bench
from tests.needs import package
from tests.tiny_gguf import write_tiny_gguf
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure

START = 9999  # the model's start token


class Reply:
    """An answer of the double."""

    def __init__(self, status: int, value: object) -> None:
        self.status, self._data = status, json.dumps(value).encode()

    def read(self) -> bytes:
        return self._data


class Letters:
    """A server whose tokens are characters; how likely one is depends on the one before it.

    After a letter, the same letter has probability 1/2, "a" 1/4 and any other 1/1000.
    """

    def __init__(self) -> None:
        self.requests: list[Mapping[str, Any]] = []
        self.spoil: Mapping[str, Any] = {}

    @contextmanager
    def link(self, timeout_s: float) -> Iterator["Letters"]:
        yield self

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        if path == "/tokenize":
            tokens = [ord(c) for c in body["content"]]
            return Reply(200, {"tokens": [START, *tokens] if body["add_special"] else tokens})
        self.requests.append({**body, "prompt": [*body["prompt"]]})
        (token, bias), *_ = body["logit_bias"]
        assert bias > 1000 and body["n_predict"] == 1
        told = {"id": token, "logprob": math.log(self.probability(body["prompt"][-1], token))}
        return Reply(200, {"completion_probabilities": [told], **self.spoil})

    @staticmethod
    def probability(before: int, token: int) -> float:
        return 1 / 2 if token == before else 1 / 4 if token == ord("a") else 1 / 1000


def client() -> tuple[Client, Letters]:
    made, server = Client("127.0.0.1:1", Deadline(60), path="/v1", model=None), Letters()
    made._http = server  # type: ignore[assignment]
    return made, server


def exam(text: str, *questions: Question) -> Exam:
    return Exam("mine", text, questions or (Question(text="?", options=("a", "b"), answer=0),))


def test_perplexity_of_a_known_model() -> None:
    made, server = client()
    # given characters, then alternating runs: every fourth token is a change to "a" or "b"
    text = "x" * GIVEN + "aaaabbbb" * 150
    scored = text[GIVEN:]
    pairs = zip(text[GIVEN - 1 :], scored, strict=False)
    expected = [math.log(Letters.probability(ord(p), ord(c))) for p, c in pairs]
    found = examine(made, exam(text))
    assert found.perplexity_tokens == len(scored) == 1200
    assert found.perplexity == pytest.approx(math.exp(-sum(expected) / len(expected)))
    # each window begins with the start token and the tokens that are given, none is too long
    windows = [r for r in server.requests if len(r["prompt"]) == 1 + GIVEN]
    assert len(windows) == math.ceil(1200 / (WINDOW - GIVEN)) == 3
    assert all(r["prompt"][0] == START for r in server.requests)
    assert max(len(r["prompt"]) for r in server.requests) == WINDOW


def test_the_likeliest_option_per_byte_is_the_answer() -> None:
    made, _ = client()
    text = "x" * 100
    # ": aaaa" has 1/1000 1/4 1/2 1/2 1/2 over 5 bytes, ": b" 1/1000 1/1000 over 2
    long = Question(text="q", options=("b", "aaaa", "zq"), answer=1)
    wrong = Question(text="q", options=("b", "aaaa"), answer=0)
    found = examine(made, exam(text, long, wrong, long))
    assert (found.choice_accuracy, found.choice_questions) == (2 / 3, 3)
    assert found.quality_text == "mine"


def test_an_impossible_token_does_not_make_it_infinite() -> None:
    made, server = client()
    server.probability = lambda before, token: 5e-324  # type: ignore[method-assign]
    perplexity = examine(made, exam("x" * 80)).perplexity
    assert perplexity == pytest.approx(2.0**149)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"completion_probabilities": None}, r"wanted token \d+, got None"),
        ({"completion_probabilities": [{"id": 5, "logprob": -1.0}]}, "got .*'id': 5"),
        ({"completion_probabilities": [{"id": "?"}]}, "of 2025 or newer"),
    ],
)
def test_a_server_that_tells_something_else(spoil: Mapping[str, Any], message: str) -> None:
    made, server = client()
    server.spoil = spoil
    with pytest.raises(DeviceError, match=message):
        examine(made, exam("x" * 80))


def test_a_server_that_is_not_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    made, server = client()
    monkeypatch.setattr(server, "ask", lambda *_: Reply(404, {"error": "no such path"}))
    with pytest.raises(DeviceError, match="/tokenize: HTTP 404: .*no such path"):
        examine(made, exam("x" * 80))


def test_a_text_too_short_to_score() -> None:
    with pytest.raises(DeviceError, match="64 tokens for this model, too few"):
        examine(client()[0], exam("x" * GIVEN))


def test_what_ships() -> None:
    shipped = shipped_exam()
    assert len(shipped.questions) == 40 and len(shipped.text.split()) > 900
    assert all(len({*q.options}) == 4 for q in shipped.questions)
    assert len({q.text for q in shipped.questions}) == 40
    # answers are spread over the places
    places = [q.answer for q in shipped.questions]
    assert all(places.count(at) == 10 for at in range(4))
    assert re.fullmatch(r"bench-melt-1 [0-9a-f]{12}", shipped.name)
    with pytest.raises(ValueError, match="has no option 2"):
        Question(text="q", options=("a", "b"), answer=2)


def letters(text: str) -> list[int]:
    """The byte tokens of ASCII in the tiny model; its own tokenizer halves the mark of a space."""
    return [3 + byte for byte in text.encode("ascii")]


def table(**more: object) -> LlmTable:
    fields = {"kind": "llm", "name": "w", "n_prompt": 8, "n_gen": 4, **more}
    return LlmTable.model_validate(fields)


def bench(machine: LocalMachine, path: Path) -> Bench:
    return local_bench(machine, load_model_file(path, None), path.parent)


def test_a_context_that_holds_no_window(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    wanted = table(quality=True, runner={"context": 256})
    with pytest.raises(UserError, match="quality needs a context of 520 tokens.* holds 256"):
        LlmWorkload(wanted).check(load_model_file(path, None), tmp_path)


def test_forced_probabilities_are_those_of_the_whole_vocabulary(tmp_path: Path) -> None:
    """A token that is forced has the probability that the model gives it when nothing is."""
    package("xllamacpp")
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    with LocalMachine(load_machine("local")) as machine:
        work = bench(machine, path)
        with serve(work, LlmRunner(context=1024)) as server:
            teller = quality._Teller(server.client)
            assert len(teller.tokens("bread and water")) > 8 and len(teller.start) == 1
            tokens = letters("bread and water")
            forced = teller.log_probabilities(tokens[:3], tokens[3:])
            for at, value in enumerate(forced):
                body = {
                    "prompt": [*teller.start, *tokens[: 3 + at]],
                    "n_predict": 1,
                    "n_probs": work.model.vocabulary,
                    "temperature": 0.0,
                    "logit_bias": [[letters("z")[0], 1000.0]],  # of another token, and whole
                }
                told = server.client.post("/completion", body)["completion_probabilities"][0]
                all_of = {one["id"]: one["logprob"] for one in told["top_logprobs"]}
                assert len(all_of) == work.model.vocabulary
                assert sum(map(math.exp, all_of.values())) == pytest.approx(1, abs=1e-4)
                assert value == pytest.approx(all_of[tokens[3 + at]], abs=2e-3)


def test_quality_is_measured_once_per_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("xllamacpp")
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    short = Exam("mine", "b" * 120, shipped_exam().questions[:1])
    monkeypatch.setattr("bench_melt.workloads.llm.workload.shipped_exam", lambda: short)
    monkeypatch.setattr(quality._Teller, "tokens", lambda self, text, special=False: letters(text))
    work = LlmWorkload(table(quality=True, runner={"context": 1024}))
    with LocalMachine(load_machine("local")) as machine:
        first, again = work.run(bench(machine, path)), work.run(bench(machine, path))
    # weights drawn at random know nothing: about as many choices as there are tokens
    assert 50 < (first.quality.perplexity or 0) < 1e5
    assert first.quality.choice_accuracy in (0.0, 1.0)
    assert again.quality.perplexity is None and again.latency.ttft_ms is not None
