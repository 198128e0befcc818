"""One streamed request, with a time stamp per token.

Source: the OpenAI API's `/completions` and `/chat/completions` with `stream`; llama.cpp's server
adds a `timings` object to every chunk, which carries the device's own clock.
"""

import itertools
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any

from bench_melt.targets.machine import Deadline, TimeLimitError
from bench_melt.workloads.llm.http import FAILURES, Http, lines
from tinyengine.errors import DeviceError

_PING_COUNT = 5
_EVENT_BYTES_MAX = 1 << 20  # one event; a server that sends more is no token stream
_READY_S = 1.0
_LONGEST_S = 86_400.0
_STAMP = b'"predicted_ms"'
_PAUSE_S = 0.1
_SHOWN = 300  # characters of what a server said


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's times and tokens.

    sent_s, token_s: host clock (`time.perf_counter`): request sent on an open connection, each
    token arrived; where the runner stamps tokens, those after the first by its stamps.
    device_token_ms: the runner's own time of each token after the first, from the first; empty
    where it gives none. device_prompt_ms: its time for the prompt.
    """

    sent_s: float
    token_s: tuple[float, ...]
    text: str
    prompt_tokens: int | None
    cached_tokens: int | None
    generated_tokens: int
    device_prompt_ms: float | None
    device_token_ms: tuple[float, ...]

    @property
    def ttft_ms(self) -> float:
        """Time to first token on the host's clock."""
        return (self.token_s[0] - self.sent_s) * 1000

    @property
    def on_device_clock(self) -> bool:
        """True where every token has a time stamp of the runner."""
        return len(self.device_token_ms) == len(self.token_s) > 0

    def gaps_ms(self) -> list[float]:
        """Return the inter-token latencies, by the device's clock where it has one."""
        if self.on_device_clock:
            return _gaps(self.device_token_ms)
        return [gap * 1000 for gap in _gaps(self.token_s)]

    @property
    def tpot_ms(self) -> float | None:
        """Time per output token after the first; None for a single token."""
        gaps = self.gaps_ms()
        # a chunk may carry several tokens: the last count says over how many the time spreads
        count = max(self.generated_tokens - 1, len(gaps))
        return sum(gaps) / count if count else None


@dataclass(slots=True)
class _Stream:
    """What the chunks of one answer have told so far."""

    token_s: list[float] = field(default_factory=list)
    device_ms: list[float] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)

    def take(self, chunk: Mapping[str, Any], now_s: float) -> None:
        """Note one chunk."""
        timings = chunk.get("timings")
        before = self.timings.get("predicted_n", 0)
        if isinstance(timings, Mapping):
            self.timings = timings
        if isinstance(chunk.get("usage"), Mapping):
            self.usage = chunk["usage"]
        text = _text_of(chunk)
        # a token may be empty text (half a character): the runner's count tells
        is_token = bool(text) or self.timings.get("predicted_n", 0) > before
        if not is_token:
            return
        self.token_s.append(now_s)
        self.text.append(text or "")
        if isinstance(timings, Mapping) and "predicted_ms" in timings:
            self.device_ms.append(float(timings["predicted_ms"]))


class Client:
    """Requests to one server."""

    def __init__(self, address: str, deadline: Deadline, *, path: str, model: str | None) -> None:
        """Name the server.

        Args:
            address: HOST:PORT as seen from here, or a whole http(s) URL.
            deadline: When every wait ends.
            path: Where the API hangs, for instance "/v1".
            model: Name to give in requests; None: none.
        """
        self.base = address if "://" in address else f"http://{address}"
        self._deadline = deadline
        self._path = path
        self._model = model
        self._http = Http(self.base)

    def is_ready(self) -> bool:
        """Return whether the server answers that it can serve."""
        try:
            status, _ = self._ask("GET", "/health", None, _READY_S)
            if status == 404:  # llama.cpp has it; the API itself has only this
                status, _ = self._ask("GET", f"{self._path}/models", None, _READY_S)
        except FAILURES:
            return False
        return status == 200

    def link_delay_ms(self) -> float:
        """Return the median round trip of a request that computes nothing."""
        timeout_s = self._deadline.remaining_s(f"asking {self.base}/health", at_most_s=10.0)
        delays_s = []
        try:
            for _ in range(_PING_COUNT):
                with self._http.link(timeout_s) as link:
                    start_s = time.perf_counter()
                    link.ask("GET", "/health").read()
                    delays_s.append(time.perf_counter() - start_s)
        except FAILURES as error:
            raise DeviceError(f"server {self.base}: {_reason(error)}") from error
        return statistics.median(delays_s) * 1000

    def properties(self) -> Mapping[str, Any]:
        """Return what llama.cpp's server tells of itself, {} of other servers."""
        try:
            status, data = self._get("/props")
            found = json.loads(data) if status == 200 else {}
        except (ValueError, DeviceError):
            return {}
        return found if isinstance(found, dict) else {}

    def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON object that a path of the server itself (not of the API) answers.

        Raises:
            DeviceError: refused, broken off, or something else than an object.
        """
        where = f"server {self.base}{path}"
        timeout_s = self._deadline.remaining_s(f"asking {where}", at_most_s=_LONGEST_S)
        try:
            status, data = self._ask("POST", path, body, timeout_s)
            found = json.loads(data) if status == 200 else None
        except TimeoutError as error:
            raise TimeLimitError(f"{where} sent nothing for {timeout_s:.1f} s") from error
        except FAILURES as error:
            raise DeviceError(f"{where}: {_reason(error)}") from error
        except ValueError as error:
            raise DeviceError(f"{where} answered what is not JSON") from error
        if not isinstance(found, dict):
            raise DeviceError(f"{where}: HTTP {status}: {_shown(data)}")
        return found

    def complete(
        self, prompt: Sequence[int] | str, count: int, *, keep_cache: bool = False, **more: Any
    ) -> Answer:
        """Continue a prompt (token numbers or text) by `count` tokens.

        Raises:
            DeviceError: refused, broken off, or without a single token.
        """
        body = {"prompt": prompt if isinstance(prompt, str) else list(prompt), **more}
        return self._stream("/completions", body, count, keep_cache=keep_cache)

    def chat(self, messages: Sequence[Mapping[str, str]], count: int, **more: Any) -> Answer:
        """Answer a conversation with at most `count` tokens; earlier turns may stay cached."""
        body = {"messages": [dict(m) for m in messages], **more}
        return self._stream("/chat/completions", body, count, keep_cache=True)

    def _ask(self, method: str, path: str, body: object, timeout_s: float) -> tuple[int, bytes]:
        with self._http.link(timeout_s) as link:
            answer = link.ask(method, path, body)
            return answer.status, answer.read()

    def _get(self, path: str) -> tuple[int, bytes]:
        timeout_s = self._deadline.remaining_s(f"asking {self.base}{path}", at_most_s=10.0)
        try:
            return self._ask("GET", path, None, timeout_s)
        except FAILURES as error:
            raise DeviceError(f"server {self.base}: {_reason(error)}") from error

    def _stream(
        self, path: str, body: Mapping[str, Any], count: int, *, keep_cache: bool
    ) -> Answer:
        whole = {
            **body,
            **({"model": self._model} if self._model is not None else {}),
            "max_tokens": count,
            "stream": True,
            "stream_options": {"include_usage": True},
            # llama.cpp's own keys; other servers ignore them
            "cache_prompt": keep_cache,
            "timings_per_token": True,
        }
        where = f"server {self.base}{self._path}{path}"
        timeout_s = self._deadline.remaining_s(f"asking {where}", at_most_s=_LONGEST_S)
        sent_s, events = 0.0, list[tuple[float, bytes]]()
        try:
            with self._http.link(timeout_s) as link:
                sent_s = time.perf_counter()
                answer = link.ask("POST", f"{self._path}{path}", whole)
                if answer.status != 200:
                    raise DeviceError(f"{where}: HTTP {answer.status}: {_shown(answer.read())}")
                # while tokens are made nothing is done but to note them: the machine is busy
                for event in _events(answer, where):
                    events.append(event)
                    self._deadline.remaining_s("reading tokens")
        except TimeoutError as error:
            raise TimeLimitError(
                f"{where} sent nothing for {timeout_s:.1f} s, after {len(events)} events"
            ) from error
        except FAILURES as error:
            raise DeviceError(
                f"{where} broke off after {len(events)} events: {_reason(error)}"
            ) from error
        stream = _Stream()
        for now_s, data in events:
            stream.take(_chunk(data, where), now_s)
        return _answer(stream, sent_s, where)


def _answer(stream: _Stream, sent_s: float, where: str) -> Answer:
    if not stream.token_s:
        raise DeviceError(f"{where} answered without a token")
    usage, timings = stream.usage, stream.timings
    prompt = usage.get("prompt_tokens", timings.get("prompt_n"))
    prompt_ms = timings.get("prompt_ms")
    return Answer(
        sent_s=sent_s,
        token_s=tuple(_token_times(stream)),
        text="".join(stream.text),
        prompt_tokens=None if prompt is None else int(prompt),
        cached_tokens=None if "cache_n" not in timings else int(timings["cache_n"]),
        generated_tokens=int(usage.get("completion_tokens", len(stream.token_s))),
        device_prompt_ms=None if prompt_ms is None else float(prompt_ms),
        device_token_ms=tuple(stream.device_ms),
    )


def _token_times(stream: _Stream) -> Sequence[float]:
    if len(stream.device_ms) != len(stream.token_s):
        return stream.token_s
    first_s, first_ms = stream.token_s[0], stream.device_ms[0]
    return [first_s + (at_ms - first_ms) / 1000 for at_ms in stream.device_ms]


def _events(answer: HTTPResponse, where: str) -> Iterator[tuple[float, bytes]]:
    """Yield the arrival and the data of each server-sent event up to [DONE].

    Once the runner stamps its tokens itself nobody needs to wake up for each: they are read a few
    at a time, which leaves the processor to the runner.
    """
    stamped = False

    def pause() -> None:
        if stamped:
            time.sleep(_PAUSE_S)

    try:
        for line in lines(answer, _EVENT_BYTES_MAX, pause):
            now_s = time.perf_counter()
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            stamped = stamped or _STAMP in data
            yield now_s, data
    except ValueError as error:
        raise DeviceError(f"{where} sent {error}, which is no token stream") from error


def _chunk(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise DeviceError(f"{where} sent an event that is not JSON: {_shown(data)!r}") from error
    if not isinstance(chunk, dict):
        raise DeviceError(f"{where} sent {_shown(data)!r}, which is no chunk of an answer")
    if "error" in chunk:
        raise DeviceError(f"{where}: {json.dumps(chunk['error'])[:_SHOWN]}")
    return chunk


def _text_of(chunk: Mapping[str, Any]) -> str:
    """Return the text that a chunk adds, of whichever of the two forms."""
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return ""
    delta = first.get("delta")
    parts = delta if isinstance(delta, dict) else {}
    found = first.get("text") or parts.get("content") or parts.get("reasoning_content")
    return found if isinstance(found, str) else ""


def _gaps(times: Sequence[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(times)]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _shown(data: bytes) -> str:
    return data[:_SHOWN].decode("utf-8", errors="replace")
