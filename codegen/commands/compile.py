"""`tinyengine-codegen compile MODEL`: an int8 model and an update scheme become C that trains."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from codegen.board import load_board
from codegen.cli import print_json
from codegen.compile_model import compile_model, float_warning, portable_note
from tinyengine.plan.cp_sat import cp_sat_placer
from tinyengine.plan.place import place
from tinyengine.update.scheme import load_scheme, with_gradients


class Arena(StrEnum):
    """Who places values in the arena."""

    GREEDY = "greedy"
    CP_SAT = "cp-sat"


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a .tflite, MCUNet .json or file.py:function")
    ],
    board: Annotated[str, typer.Option(help="a board's name or .toml")],
    update: Annotated[
        str, typer.Option(help="scheme: none, head, bias, full, an example's name or a .toml")
    ],
    out: Annotated[Path, typer.Option(help="the folder to make")],
    classes: Annotated[int | None, typer.Option(help="replace the classifier by a fresh head")] = (
        None
    ),
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of the fresh head")] = 0,
    gradients: Annotated[
        str | None, typer.Option(help="format of gradients instead of the scheme's: f32, s16, s8")
    ] = None,
    arena: Annotated[
        Arena, typer.Option(help="who places values in it; cp-sat: OR-tools, an extra")
    ] = Arena.GREEDY,
    feed_rows: Annotated[
        bool, typer.Option("--feed-rows", help="the input arrives row by row, never whole in RAM")
    ] = False,
    dump_dir: Annotated[Path | None, typer.Option(help="write the graph after every pass here")] = (
        None
    ),
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Generate training C for BOARD into the folder OUT."""
    placer = cp_sat_placer() if arena is Arena.CP_SAT else place
    scheme = with_gradients(load_scheme(update), gradients)
    target = load_board(board)
    if (warning := float_warning(scheme, target)) is not None:
        print(f"warning: {warning}", file=sys.stderr)
    if (note := portable_note(target)) is not None:
        print(f"note: {note}", file=sys.stderr)
    result = compile_model(model, target, scheme, out, classes, seed, dump_dir, placer, feed_rows)
    if as_json:
        print_json(result.figures)
        return
    for name, value in result.figures.items():
        print(f"{name:18}{value:>12,}")
    print(f"report: {result.report}", file=sys.stderr)
    print(f"next: tinyengine-codegen build {out}", file=sys.stderr)
