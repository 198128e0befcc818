"""The `llm` workload: warm up, measure conversations or a synthetic run, and what was asked."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench_melt.bandwidth import Rate, decode_share
from bench_melt.models import ModelFile
from bench_melt.record import Latency, MemoryUse, Quality, Results, Setting, Sustained
from bench_melt.workloads.llm.client import Answer
from bench_melt.workloads.llm.goodput import find_goodput, run_load
from bench_melt.workloads.llm.metrics import latency_of, position_of, sustained_of
from bench_melt.workloads.llm.prompts import Conversation, load_conversations, synthetic_tokens
from bench_melt.workloads.llm.quality import CONTEXT_MIN, examine, shipped_exam
from bench_melt.workloads.llm.serve import Server, serve
from bench_melt.workloads.tables import LlmTable
from bench_melt.workloads.workload import Bench, resolve
from tinyengine.errors import DeviceError, UserError

_VOCABULARY = 32_000  # of a model whose header does not say


class LlmWorkload:
    """Requests to a language model's server."""

    def __init__(self, table: LlmTable) -> None:
        """Take what the suite says."""
        self._table = table
        self._examined: set[tuple[str, str | None]] = set()  # machine, model

    def check(self, model: ModelFile, folder: Path) -> None:
        """Refuse a model or a program that cannot work.

        Raises:
            UserError: names the file.
        """
        runner = self._table.runner
        if model.format != "gguf" and runner.kind in ("embedded", "llama-server"):
            raise UserError(
                f"workload '{self._table.name}': runner '{runner.kind}' takes .gguf models, "
                f"'{model.path.name}' is .{model.format}"
            )
        if runner.program is not None and not resolve(runner.program, folder).is_file():
            raise UserError(
                f"workload '{self._table.name}': there is no program "
                f"'{resolve(runner.program, folder)}'"
            )
        if self._table.prompts is not None:
            load_conversations(self._table.prompts, folder)
        wanted = (self._table.n_prompt or 0) + self._table.n_depth + self._table.n_gen
        if wanted > runner.context:
            raise UserError(
                f"workload '{self._table.name}': n_depth + n_prompt + n_gen is {wanted} tokens, "
                f"the runner's context holds {runner.context}; raise 'context'"
            )
        if self._table.quality and runner.context < CONTEXT_MIN:
            raise UserError(
                f"workload '{self._table.name}': quality needs a context of {CONTEXT_MIN} tokens, "
                f"the runner's holds {runner.context}; raise 'context'"
            )

    def run(self, bench: Bench) -> Results:
        """Measure once."""
        table = self._table
        parallel = table.goodput.parallel if table.goodput is not None else 1
        rate, single = _rate(bench, table, table.runner.threads), _rate(bench, table, 1)
        with serve(bench, table.runner, parallel=parallel) as server:
            asker = _Asker(table, bench, server)
            cold = asker.cold_start() if table.cold_start else Latency()
            for index in range(bench.warmups):
                asker.ask(-1 - index)
            bench.events.events[:] = [e for e in bench.events.events if e.phase == "load"]
            busy_s, wall_s = time.process_time(), time.perf_counter()
            answers = [a for index in range(table.requests) for a in asker.ask(index)]
            sustained = asker.sustained() if table.sustained is not None else Sustained()
            harness = (time.process_time() - busy_s) / (time.perf_counter() - wall_s)
            latency = latency_of(answers, server.client.link_delay_ms())
            goodput, trials = asker.goodput()
            usage = server.usage()
            properties = server.client.properties()
            quality = self._quality(bench, server)
        return Results(
            setting=_setting(table, properties),
            latency=replace(
                latency,
                load_ms=server.load_ms,
                cold_start_ms=cold.cold_start_ms,
                cold_start_stages=cold.cold_start_stages,
                goodput_requests_per_s=goodput,
            ),
            sustained=sustained,
            memory=MemoryUse(
                memory_peak_bytes=usage.rss_peak_bytes,
                memory_pss_bytes=usage.pss_bytes,
                cpu_s=usage.cpu_s,
                harness_cpu_share=harness,
                memory_bandwidth_bytes_per_s=rate.bytes_per_s,
                memory_bandwidth_share=decode_share(
                    bench.model.reads, position_of(answers), latency.decode_tokens_per_s, rate
                ),
            ),
            quality=quality,
            details={
                "answers": [_told(a) for a in answers],
                "goodput": trials,
                "memory_bandwidth_missing": rate.reason,
                "memory_bandwidth_one_thread_bytes_per_s": single.bytes_per_s,
            },
        )

    def _quality(self, bench: Bench, server: Server) -> Quality:
        """Return how well the model answers, the first time; nothing of it varies."""
        known = (bench.machine.name, bench.model.facts.model_sha256)
        if not self._table.quality or known in self._examined:
            return Quality()
        found = examine(server.client, shipped_exam())
        self._examined.add(known)
        return found


class _Asker:
    """Asks one server what the table says, and notes the phases."""

    def __init__(self, table: LlmTable, bench: Bench, server: Server) -> None:
        self._table, self._bench, self._server = table, bench, server
        self._conversations: Sequence[Conversation] = (
            load_conversations(table.prompts, bench.folder) if table.prompts is not None else ()
        )
        self._sampling: Mapping[str, Any] = {
            "temperature": table.temperature,
            "seed": bench.seed,
        }

    def ask(self, index: int, *, log: bool = True) -> list[Answer]:
        """Hold one conversation, or one synthetic run; `index` < 0 is a warm-up."""
        answers = self._turns(index) if self._conversations else [self._synthetic(index)]
        if log:
            for answer in answers:
                first_s, last_s = answer.token_s[0], answer.token_s[-1]
                fed, made = answer.prompt_tokens, answer.generated_tokens - 1
                fed = None if fed is None else fed - (answer.cached_tokens or 0)
                self._bench.events.add("prefill", answer.sent_s, first_s, fed)
                self._bench.events.add("decode", first_s, last_s, made)
        return answers

    def cold_start(self) -> Latency:
        """Time the first request of a fresh server; stages sum to the whole."""
        answer = self.ask(-1_000_000, log=False)[0]
        first_s = answer.token_s[0]
        server = self._server
        stages = dict(server.stages)
        loaded_s = server.started_s + (server.load_ms or 0.0) / 1000
        stages["connect"] = (answer.sent_s - loaded_s) * 1000
        stages["first_token"] = answer.ttft_ms
        return Latency(
            cold_start_ms=(first_s - server.started_s) * 1000,
            cold_start_stages=json.dumps({k: round(v, 3) for k, v in stages.items()}),
        )

    def sustained(self) -> Sustained:
        """Ask prompt after prompt without a pause; speed is generated tokens over wall time."""
        speeds = []
        for index in range(self._table.sustained or 0):
            answers = self.ask(1_000_000 + index, log=False)
            spent_s = sum(a.token_s[-1] - a.sent_s for a in answers)
            speeds.append(sum(a.generated_tokens for a in answers) / spent_s)
        return sustained_of(speeds)

    def goodput(self) -> tuple[float | None, list[Mapping[str, float]]]:
        """Return the goodput and the trials it took; None and [] where none was asked for."""
        wanted = self._table.goodput
        if wanted is None:
            return None, []

        def share_at(rate_per_s: float) -> float:
            return run_load(
                lambda index: self.ask(2_000_000 + index, log=False)[0],
                wanted,
                rate_per_s,
                seed=self._bench.seed,
                deadline=self._bench.deadline,
            )

        rate, trials = find_goodput(wanted, share_at)
        return rate, [asdict(trial) for trial in trials]

    def _turns(self, index: int) -> list[Answer]:
        talk = self._conversations[index % len(self._conversations)]
        messages: list[Mapping[str, str]] = []
        if talk.system is not None:
            messages.append({"role": "system", "content": talk.system})
        answers = []
        for turn in talk.turns:
            messages.append({"role": "user", "content": turn})
            answer = self._server.client.chat(messages, self._table.n_gen, **self._sampling)
            messages.append({"role": "assistant", "content": answer.text})
            answers.append(answer)
        return answers

    def _synthetic(self, index: int) -> Answer:
        """Feed `n_depth` random tokens, then `n_prompt` more, and generate `n_gen`."""
        table, client = self._table, self._server.client
        size = self._bench.model.vocabulary or _VOCABULARY
        seed = hash((self._bench.seed, index)) & 0xFFFF_FFFF  # of integers: the same everywhere
        tokens = synthetic_tokens(table.n_depth + (table.n_prompt or 1), size, seed)
        if table.n_depth:
            client.complete(tokens[: table.n_depth], 1, keep_cache=True, **self._sampling)
        answer = client.complete(
            tokens,
            table.n_gen,
            keep_cache=table.n_depth > 0,
            ignore_eos=True,
            **self._sampling,
        )
        if table.n_depth and answer.cached_tokens == 0:
            raise DeviceError(
                f"the server did not keep the first {table.n_depth} tokens in its context, so "
                "n_depth cannot be measured on it"
            )
        return answer


def _rate(bench: Bench, table: LlmTable, threads: int) -> Rate:
    """Return the machine's bandwidth for so many threads; measured while nothing else runs."""
    if table.runner.kind == "url":
        return Rate(None, "the server at a URL may run on another machine")
    if table.runner.gpu_layers:
        return Rate(None, "layers on a GPU: its memory is not measured")
    return bench.bandwidth.measure(bench.machine, bench.info, threads, bench.cores)


def _setting(table: LlmTable, properties: Mapping[str, Any]) -> Setting:
    runner = table.runner
    build = str(properties.get("build_info", ""))
    number, _, commit = build.removeprefix("b").partition("-")
    return Setting(
        runner=runner.kind,
        build_commit=commit or None,
        build_number=int(number) if number.isdigit() else None,
        n_threads=runner.threads,
        n_batch=runner.batch,
        n_ubatch=runner.ubatch,
        n_gpu_layers=runner.gpu_layers,
        n_ctx=runner.context,
        n_prompt=table.n_prompt,
        n_gen=table.n_gen,
        n_depth=table.n_depth,
        prompts=table.prompts,
        temperature=table.temperature,
    )


def _told(answer: Answer) -> Mapping[str, Any]:
    """Return an answer's times for the row's details: tokens relative to the request, in ms."""
    on_device = answer.on_device_clock
    return {
        "ttft_ms": round(answer.ttft_ms, 3),
        "token_ms": [round((at - answer.sent_s) * 1000, 3) for at in answer.token_s],
        "device_token_ms": list(answer.device_token_ms) if on_device else None,
        "prompt_tokens": answer.prompt_tokens,
        "cached_tokens": answer.cached_tokens,
    }
