"""`bench-melt kernels`: instructions per multiply-accumulate of every kernel on a board."""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench_melt.progress import bars
from bench_melt.workloads.kernel_bench import KernelRow, KernelTable, measure_kernels
from bench_melt.workloads.kernel_layers import LAYERS
from codegen.board import load_board
from codegen.cli import print_json
from codegen.toolchain import find_tool, find_toolchain
from tinyengine.errors import UserError
from tinyengine.ops.row_step import RowStep
from tinyengine.update.scheme import GRADIENTS


def command(
    board: Annotated[str, typer.Option(help="an emulated board's name or .toml")],
    gradients: Annotated[
        str, typer.Option(help="formats of the backward kernels, separated by commas")
    ] = "f32",
    only: Annotated[
        str | None, typer.Option(help="measure just the layers whose title holds this text")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Count instructions of single layers: forward, gradients, updates.

    Counts are exact and repeat; they are instructions, not cycles. The last column is what CMSIS-NN
    takes for the same forward layer, or the published training engine for a float32 gradient.
    """
    target = load_board(board)
    formats = _formats(gradients)
    layers = [layer for layer in LAYERS if only is None or only in layer.title]
    if not layers:
        raise UserError(f"no layer's title holds '{only}'; see 'bench-melt kernels' without --only")
    with tempfile.TemporaryDirectory(prefix="te-kernels-") as folder, bars() as shown:
        meter = shown.phase("kernels", len(layers) * len(formats))
        table = measure_kernels(layers, target, formats, Path(folder) / "dir", meter.step)
    if as_json:
        print_json(
            {
                "board": target.name,
                "cflags": list(target.build.cflags),
                "gcc": find_toolchain(target.build.toolchain).gcc.version,
                "qemu": _version("qemu-system-arm"),
                "kernels": [_as_json(row) for row in table.rows],
                "left_out": list(table.left_out),
            }
        )
        return
    _print(table)


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in formats if name not in GRADIENTS]
    if unknown:
        raise UserError(
            f"gradient format '{unknown[0]}' is not one of {', '.join(GRADIENTS)} (--gradients)"
        )
    return formats


def _version(program: str) -> str | None:
    tool = find_tool(program)
    return tool.version if tool else None


def _as_json(row: KernelRow) -> dict[str, object]:
    return {**asdict(row), "per_mac": row.per_mac, "per_output": row.per_output}


def _print(table: KernelTable) -> None:
    header = ("layer", "work", "kernel", "MACs", "instructions", "per MAC", "per output", "others")
    rows = [header, *(_cells(row) for row in _shown(table))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        cells = [
            text.ljust(width) if column < 3 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    for name in table.left_out:
        print(f"note: {name} does not fit this board", file=sys.stderr)


def _shown(table: KernelTable) -> Iterator[KernelRow]:
    """All kernels that multiply, and one row of each that does not: their costs are per output."""
    seen = set[tuple[str, ...]]()
    for row in table.rows:
        if row.macs or row.kernels not in seen:
            yield row
        seen.add(row.kernels)


def _cells(row: KernelRow) -> tuple[str, ...]:
    return (
        row.layer,
        _work(row),
        " + ".join(name.removeprefix("te_") for name in row.kernels),
        f"{row.macs:,}" if row.macs else "",
        f"{row.instructions:,}",
        f"{row.per_mac:.2f}" if row.per_mac is not None else "",
        f"{row.per_output:.1f}",
        f"{row.others:.2f}" if row.others is not None else "",
    )


def _work(row: KernelRow) -> str:
    both = " + update" if row.op == RowStep.kind else ""
    return row.work.replace("_", " ") + both + (f" {row.gradients}" if row.gradients else "")
