"""`bench-melt demo`: a net on an emulated microcontroller learns; a language model is measured."""

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench_melt.demo.flow import STEPS, Demo, choose_board, run_demo
from bench_melt.demo.language import HOW, LanguageDemo, missing_packages, run_language
from bench_melt.progress import SweepLines
from codegen.board import load_board
from codegen.cli import print_json
from tinyengine.errors import TinyEngineError

_NOT_COUNTED = "not counted"
_TRAINING_KEYS = (
    *("board", "accuracy_before", "accuracy_after", "steps", "ram_bytes", "ram_limit_bytes"),
    *("ram_static_bytes", "stack_bytes", "flash_bytes", "instructions_per_step"),
    *("instructions_forward", "state_sha256", "report"),
)


class Part(StrEnum):
    """What can be shown."""

    TRAINING = "training"
    LANGUAGE = "language"


def command(
    part: Annotated[
        Part | None, typer.Argument(help="one part only; default: both", show_default=False)
    ] = None,
    out: Annotated[
        Path, typer.Option(help="the folder to make; language: the same with '-language' behind")
    ] = Path("build/demo"),
    board: Annotated[
        str | None,
        typer.Option(help="a board's name; default: an emulated Cortex-M7, else this computer"),
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="training steps at batch 1")] = STEPS,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Teach a net a new wearer's gestures on a microcontroller; measure a language model here."""
    figures: dict[str, object] = dict.fromkeys((*_TRAINING_KEYS, "language"))
    if part is not Part.LANGUAGE:
        target = load_board(board) if board else choose_board(_tell)
        demo = run_demo(out, target, steps, _tell)
        figures |= _figures(demo)
        if not as_json:
            _show(_rows(demo))
    if part is not Part.TRAINING:
        found = _language(out.with_name(f"{out.name}-language"), asked=part is Part.LANGUAGE)
        figures["language"] = asdict(found) if found is not None else None
        if found is not None and not as_json:
            _show(_language_rows(found))
    if as_json:
        print_json(figures)


def _language(out: Path, *, asked: bool) -> LanguageDemo | None:
    """Measure the language model; where nobody asked for it by name, what is missing is a note."""
    if not asked and (missing := missing_packages()):
        _tell(
            f"note: language part left out, python package '{missing[0]}' is not installed: {HOW}"
        )
        return None
    try:
        return run_language(out, SweepLines(), _tell)
    except TinyEngineError as error:
        if asked:
            raise
        _tell(f"note: language part left out: {error}")
        return None


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _show(rows: dict[str, str]) -> None:
    print()
    for name, value in rows.items():
        print(f"{name:22}{value}")


def _language_rows(found: LanguageDemo) -> dict[str, str]:
    tokens = (found.itl_ms_p50, found.itl_ms_p90, found.itl_ms_p99)
    share = found.harness_cpu_share
    return {
        "model": f"{found.model}, {found.quantisation}; {found.runner} runner, "
        f"{found.threads} thread, on this computer",
        "load": _measured(found.load_ms, "ms"),
        "first token": f"{_measured(found.ttft_ms, 'ms')}   (after {found.n_prompt} tokens)",
        "token to token": " / ".join(_measured(ms, "ms") for ms in tokens) + "   p50 / p90 / p99",
        f"pp{found.n_prompt}": _measured(found.prefill_tokens_per_s, "tok/s"),
        f"tg{found.n_gen} @ d{found.n_prompt}": _measured(found.decode_tokens_per_s, "tok/s"),
        "memory, peak": _bytes(found.memory_peak_bytes),
        "harness": "not measured" if share is None else f"{100 * share:.1f} % of one core",
        "repetitions": f"{found.repetitions}, medians of them"
        + (f"; {found.failed} failed" if found.failed else ""),
        "report": f"bench-melt report --db {found.database} -o html --to report.html",
    }


def _measured(value: float | None, unit: str) -> str:
    return "not measured" if value is None else f"{value:,.1f} {unit}"


def _bytes(count: float | None) -> str:
    return "not measured" if count is None else f"{count:,.0f} bytes"


def _figures(demo: Demo) -> dict[str, object]:
    return {
        "board": demo.board.name,
        "accuracy_before": demo.result.accuracy_before,
        "accuracy_after": demo.result.accuracy_after,
        "steps": demo.steps,
        "ram_bytes": demo.built.ram_bytes,
        "ram_limit_bytes": demo.ram_limit_bytes,
        "ram_static_bytes": demo.built.ram_static_bytes,
        "stack_bytes": demo.built.stack_bytes,
        "flash_bytes": demo.built.flash_bytes,
        "instructions_per_step": demo.result.instructions_per_step,
        "instructions_forward": demo.result.instructions_forward,
        "state_sha256": demo.result.state_sha256,
        "report": str(demo.report),
    }


def _rows(demo: Demo) -> dict[str, str]:
    result = demo.result
    return {
        "board": f"{demo.board.name}: {demo.board.summary}",
        "task": f"7 gestures of a new wearer, watch on the other wrist; {demo.tests} test windows",
        "accuracy before": _percent(result.accuracy_before),
        "accuracy after": f"{_percent(result.accuracy_after)}   ({demo.steps} steps at batch 1)",
        "RAM": _ram(demo),
        "flash": f"{demo.built.flash_bytes:,} bytes",
        "instructions/step": _count(result.instructions_per_step),
        "instructions/forward": _count(result.instructions_forward),
        "report": str(demo.report),
    }


def _ram(demo: Demo) -> str:
    static, stack = demo.built.ram_static_bytes, demo.built.stack_bytes
    parts = f"static {static:,} + stack {'not measured' if stack is None else f'{stack:,}'}"
    total = f"{demo.built.ram_bytes:,}" if demo.built.ram_bytes is not None else "not measured"
    # a native program's bytes say nothing about the limit
    compare = demo.ram_limit_bytes is not None and not demo.board.is_host
    limit = f" of {demo.ram_limit_bytes:,}" if compare else ""
    return f"{total}{limit} bytes   ({parts})"


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{100 * share:.1f} %"


def _count(instructions: int | None) -> str:
    return _NOT_COUNTED if instructions is None else f"{instructions:,}"
