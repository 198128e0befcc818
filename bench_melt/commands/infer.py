"""`bench-melt infer DIR`: arrays in, a board computes, arrays out."""

from pathlib import Path
from typing import Annotated

import typer

from bench_melt.data.arrays import npy_bytes
from bench_melt.device import open_device
from bench_melt.progress import bars
from bench_melt.state import check_writable, write_whole
from bench_melt.workloads.inference import infer, read_inputs
from codegen.board import load_board
from codegen.cli import print_json
from codegen.manifest import load_manifest


def command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="what 'compile' made")],
    board: Annotated[str, typer.Option(help="a board's name or .toml")],
    source: Annotated[
        Path, typer.Option("--input", help=".npy (n, *input shape), the model's own dtype")
    ],
    output: Annotated[Path, typer.Option(help=".npy to write: (n, *output shape)")],
    port: Annotated[
        str | None,
        typer.Option(help="talk to a device that is there: /dev/ttyACM0, socket://HOST:PORT"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Run samples through the model on a board; float borders are converted on this computer."""
    manifest = load_manifest(directory)
    target = load_board(board)
    x = read_inputs(source, manifest.input)
    check_writable(output)
    with open_device(directory, manifest, target, port=port) as device, bars() as shown:
        y, instructions = infer(device, manifest, x, shown)
    write_whole(output, npy_bytes(y))
    figures = {
        "samples": len(x),
        "output": str(output),
        "instructions_forward": instructions,
        "ram_bytes": device.ram_bytes,
    }
    if as_json:
        print_json(figures)
        return
    for name, value in figures.items():
        print(f"{name:24}{'not measured' if value is None else value}")
