"""`tinyengine-codegen build DIR`: compile a generated folder for a board and weigh it."""

from pathlib import Path
from typing import Annotated

import typer

from codegen.board import load_board
from codegen.build import MANIFEST, build, read_manifest
from codegen.cli import print_json
from tinyengine.errors import UserError


def command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="what 'compile' made")],
    board: Annotated[
        str | None, typer.Option(help="a board's name or .toml; default: the one compiled for")
    ] = None,
    sanitize: Annotated[
        bool, typer.Option("--sanitize", help="host only: address and undefined-behaviour checks")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Compile DIR for a board and read its true flash, RAM and worst-case stack."""
    target = load_board(board or _compiled_for(directory))
    result = build(directory, target, sanitize=sanitize)
    figures = {
        # as DIR was typed, not as it was resolved
        "elf": str(directory / result.elf.relative_to(directory.resolve())),
        "flash_bytes": result.flash_bytes,
        "ram_static_bytes": result.ram_static_bytes,
        "stack_bytes": result.stack_bytes,
        "ram_bytes": result.ram_bytes,
    }
    if as_json:
        print_json(figures)
        return
    for name, value in figures.items():
        print(f"{name:18}{'not measured' if value is None else value}")
    if target.ram_usable_bytes is not None:
        print(f"{'ram limit':18}{target.ram_usable_bytes}")


def _compiled_for(directory: Path) -> str:
    board = read_manifest(directory).get("board")
    if not isinstance(board, str):
        raise UserError(f"'{directory / MANIFEST}' names no board; say which with --board")
    return board
