"""Our rows as llama-bench writes its own, so that what reads the one reads the other.

One of our repetitions is two of its tests: prompt processing (`pp`, n_gen = 0) and text generation
(`tg`, n_prompt = 0), the second at the depth that the prompt left behind. Source: llama.cpp,
tools/llama-bench (fields) and scripts/compare-llama-bench.py (what a comparison needs).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# every field of its versions so far; a comparison joins on most of them, so none may be NULL
FIELDS: Mapping[str, type] = {
    "build_commit": str,
    "build_number": int,
    "cpu_info": str,
    "gpu_info": str,
    "backends": str,
    "model_filename": str,
    "model_type": str,
    "model_size": int,
    "model_n_params": int,
    "n_batch": int,
    "n_ubatch": int,
    "n_threads": int,
    "cpu_mask": str,
    "cpu_strict": int,
    "poll": int,
    "type_k": str,
    "type_v": str,
    "n_gpu_layers": int,
    "n_cpu_moe": int,
    "split_mode": str,
    "main_gpu": int,
    "no_kv_offload": int,
    "flash_attn": int,
    "devices": str,
    "tensor_split": str,
    "tensor_buft_overrides": str,
    "use_mmap": int,
    "load_mode": str,
    "lazy_mode": str,
    "embeddings": int,
    "no_op_offload": int,
    "no_host": int,
    "repack": int,
    "fit_target": int,
    "fit_min_ctx": int,
    "n_prompt": int,
    "n_gen": int,
    "n_depth": int,
    "test_time": str,
    "avg_ns": int,
    "stddev_ns": int,
    "avg_ts": float,
    "stddev_ts": float,
}
_EMPTY = {str: "", int: 0, float: 0.0}


def llama_bench_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row per test; rows that failed or measured no tokens give none."""
    for row in rows:
        if row["status"] != "ok":
            continue
        if row["workload_kind"] == "llama-bench":
            for test in json.loads(row["details"])["tests"]:
                prompt, gen, depth = (int(test[n]) for n in ("n_prompt", "n_gen", "n_depth"))
                yield _row({**row, **_own(test)}, prompt, gen, depth, test["avg_ts"])
            continue
        if row["avg_ts"] is not None:
            yield _row(
                row, row["n_prompt"] or 0, row["n_gen"] or 0, row["n_depth"] or 0, row["avg_ts"]
            )
            continue
        prompt = row["n_prompt"] or row["prompt_tokens"]
        depth = row["n_depth"] or 0
        if row["prefill_tokens_per_s"] and prompt:
            yield _row(row, prompt, 0, depth, row["prefill_tokens_per_s"])
        if row["decode_tokens_per_s"] and row["n_gen"]:
            at = depth + (prompt or 0)
            yield _row(row, 0, row["n_gen"], at, row["decode_tokens_per_s"])


def _own(test: Mapping[str, Any]) -> dict[str, Any]:
    """Return what llama-bench itself wrote, the model's path on the machine left out."""
    kept = {n: v for n, v in test.items() if n in FIELDS and n != "model_filename"}
    # some of its versions write truth values, and all names for what is a number here
    return {n: int(v) if FIELDS[n] is int and isinstance(v, bool) else v for n, v in kept.items()}


def _flash(value: str | int | None) -> int:
    return value if isinstance(value, int) else int(value in ("on", "1", "enabled"))


def label_of(n_prompt: int, n_gen: int, n_depth: int) -> str:
    """Return the name that llama-bench prints: `pp512`, `tg128 @ d512`, `pp512+tg128`."""
    parts = [f"pp{n_prompt}"] * bool(n_prompt) + [f"tg{n_gen}"] * bool(n_gen)
    return "+".join(parts) + (f" @ d{n_depth}" if n_depth else "")


def _row(
    row: Mapping[str, Any], n_prompt: int, n_gen: int, n_depth: int, tokens_per_s: float
) -> dict[str, Any]:
    known = {name: row.get(name) for name in FIELDS}
    filled = {name: _EMPTY[FIELDS[name]] if v is None else v for name, v in known.items()}
    spent_ns = round((n_prompt + n_gen) / tokens_per_s * 1e9)
    return {
        **filled,
        "build_commit": row["build_commit"] or "unknown",
        "flash_attn": _flash(row["flash_attn"]),
        "n_prompt": n_prompt,
        "n_gen": n_gen,
        "n_depth": n_depth,
        "test_time": row["test_time"] or row["started_at"],
        "avg_ns": row["avg_ns"] or spent_ns,
        "stddev_ns": row["stddev_ns"] or 0,
        "avg_ts": tokens_per_s,
        "stddev_ts": row["stddev_ts"] or 0.0,
    }
