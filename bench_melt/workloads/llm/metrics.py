"""From the answers of one repetition to the figures of its row."""

import statistics
from collections.abc import Iterable, Sequence

from bench_melt.record import Latency, Sustained
from bench_melt.workloads.llm.client import Answer
from bench_melt.workloads.percentiles import percentiles

_THROTTLED = 0.9  # below this share of its first speed a machine counts as throttled
_SETTLED = 3  # prompts over which speeds are smoothed


def latency_of(answers: Sequence[Answer], link_delay_ms: float | None) -> Latency:
    """Return times of one repetition's answers (at least one).

    TTFT is the host's: request sent to first token, the link included; `link_delay_ms` says how
    much that is. Inter-token latencies are by the device's clock where the runner gives it.
    """
    gaps_ms = [gap for answer in answers for gap in answer.gaps_ms()]
    on_device = all(answer.on_device_clock for answer in answers)
    tpots = [answer.tpot_ms for answer in answers if answer.tpot_ms is not None]
    tpot_ms = statistics.median(tpots) if tpots else None
    p50, p90, p99 = percentiles(gaps_ms)
    prompts = [answer.prompt_tokens for answer in answers if answer.prompt_tokens is not None]
    return Latency(
        ttft_ms=statistics.median(answer.ttft_ms for answer in answers),
        tpot_ms=tpot_ms,
        itl_ms_p50=p50,
        itl_ms_p90=p90,
        itl_ms_p99=p99,
        prefill_tokens_per_s=_median(prefill_tokens_per_s(answer) for answer in answers),
        decode_tokens_per_s=1000 / tpot_ms if tpot_ms else None,
        prompt_tokens=sum(prompts) if len(prompts) == len(answers) else None,
        generated_tokens=sum(answer.generated_tokens for answer in answers),
        clock="device" if on_device else "host",
        link_delay_ms=link_delay_ms,
    )


def prefill_tokens_per_s(answer: Answer) -> float | None:
    """Return the prompt's tokens, those from the cache left out, over the time they took."""
    if answer.prompt_tokens is None:
        return None
    count = answer.prompt_tokens - (answer.cached_tokens or 0)
    spent_ms = answer.device_prompt_ms if answer.device_prompt_ms else answer.ttft_ms
    return count / spent_ms * 1000 if count > 0 and spent_ms > 0 else None


def position_of(answers: Sequence[Answer]) -> float | None:
    """Return how many positions the context held while tokens were made, on average."""
    prompts = [a.prompt_tokens for a in answers if a.prompt_tokens is not None]
    if not answers or len(prompts) < len(answers):
        return None
    middles = [p + a.generated_tokens / 2 for p, a in zip(prompts, answers, strict=True)]
    return statistics.fmean(middles)


def sustained_of(tokens_per_s: Sequence[float]) -> Sustained:
    """Find where a machine throttles: the first prompt from which on it stays slower.

    Speeds are smoothed by a running median of three; the first speed is the median of the first
    three. It throttles at the first prompt from which on every smoothed speed is below nine tenths
    of that. Deviation: MELT marks it by eye in its plots.
    """
    speeds = list(tokens_per_s)
    listed = "[" + ", ".join(f"{speed:.4g}" for speed in speeds) + "]"
    smooth = [statistics.median(speeds[max(0, at - 1) : at + 2]) for at in range(len(speeds))]
    first = statistics.median(speeds[:_SETTLED])
    at = len(smooth)
    while at > 0 and smooth[at - 1] < _THROTTLED * first:
        at -= 1
    throttled = at < len(smooth)
    return Sustained(
        sustained_prompts=len(speeds),
        sustained_tokens_per_s=listed,
        throttled_at_prompt=at if throttled else None,
        throttled_share=statistics.median(speeds[at:]) / first if throttled else None,
    )


def _median(values: Iterable[float | None]) -> float | None:
    found = [v for v in values if v is not None]
    return statistics.median(found) if found else None
