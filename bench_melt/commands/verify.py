"""`bench-melt verify DIR`: does every board compute what the simulator computes, bit for bit?"""

import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench_melt.device import open_device
from bench_melt.progress import bars
from bench_melt.workloads.verification import Steps, Verification, verify
from codegen.board import Board, load_board
from codegen.cli import print_json
from codegen.graphs import matching_train_graph
from codegen.manifest import load_manifest
from tinyengine.errors import DeviceError, UserError


def command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="what 'compile' made")],
    boards: Annotated[str, typer.Option(metavar="A,B,...", help="names of boards or .toml files")],
    steps: Annotated[int, typer.Option(min=0, help="training steps on fake samples")],
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="of the fake samples and of rounding")
    ] = 0,
    port: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[BOARD=]PORT",
            help="talk to a device that is there: /dev/ttyACM0, socket://HOST:PORT; with several "
            "boards say whose it is; may be repeated",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Train in the simulator and on boards, comparing all states after every step.

    A difference ends with exit code 3.
    """
    manifest = load_manifest(directory)
    targets = _boards(boards)
    ports = _ports(port or [], [board.name for board in targets])
    if not manifest.trains:
        raise UserError(
            f"'{directory}' was compiled with scheme '{manifest.scheme.name}', in which nothing "
            "learns: there is no state to compare"
        )
    graph = matching_train_graph(directory, manifest)
    with ExitStack() as stack:
        devices = [
            stack.enter_context(open_device(directory, manifest, b, port=ports.get(b.name)))
            for b in targets
        ]
        lr = devices[0].session.hyper().lr
        plan = Steps(steps, seed, lr)
        result = verify(devices, manifest, graph, plan, stack.enter_context(bars()))
    _print(result, as_json)
    if result.first_difference is not None:
        print(f"error: {result.first_difference.describe()}", file=sys.stderr)
        raise typer.Exit(DeviceError.exit_code)


def _boards(listed: str) -> list[Board]:
    names = [name.strip() for name in listed.split(",") if name.strip()]
    found = [load_board(name) for name in names]
    if not found:
        raise UserError("--boards names no board; give for instance --boards host,qemu_mps2_an500")
    kinds = [board.name for board in found]
    for name in kinds:
        if kinds.count(name) > 1:
            raise UserError(f"--boards names '{name}' twice; once is enough")
    return found


def _ports(given: Sequence[str], boards: Sequence[str]) -> dict[str, str]:
    """Ports by board: `BOARD=PORT`, or the port alone where there is but one board."""
    found: dict[str, str] = {}
    for text in given:
        board, equals, url = text.partition("=")
        if not equals or not re.fullmatch(r"[a-z0-9_]+", board):
            board, url = boards[0] if len(boards) == 1 else "", text
        if board not in boards or not url:
            raise UserError(
                f"--port {text}: say whose port it is, as BOARD=PORT, with one of the --boards "
                f"{', '.join(boards)}"
            )
        if board in found:
            raise UserError(f"--port names '{board}' twice; a board has one port")
        found[board] = url
    return found


def _print(result: Verification, as_json: bool) -> None:
    if as_json:
        first = result.first_difference
        print_json(
            {
                "equal": result.equal,
                "states": dict(result.states),
                "first_difference": asdict(first) if first is not None else None,
            }
        )
        return
    for name, digest in result.states.items():
        print(f"{name:24}{digest}")
    print("equal" if result.equal else "different")
