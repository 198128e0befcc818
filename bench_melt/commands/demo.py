"""`bench-melt demo`: a net on an emulated microcontroller learns what it has not seen."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench_melt.demo.flow import STEPS, Demo, choose_board, run_demo
from codegen.board import load_board
from codegen.cli import print_json

_NOT_COUNTED = "not counted"


def command(
    out: Annotated[Path, typer.Option(help="the folder to make")] = Path("build/demo"),
    board: Annotated[
        str | None,
        typer.Option(help="a board's name; default: an emulated Cortex-M7, else this computer"),
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="training steps at batch 1")] = STEPS,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Teach a net that knows nine people's right wrists a tenth person's left one."""
    target = load_board(board) if board else choose_board(_tell)
    demo = run_demo(out, target, steps, _tell)
    if as_json:
        print_json(_figures(demo))
        return
    print()
    for name, value in _rows(demo).items():
        print(f"{name:22}{value}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


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
