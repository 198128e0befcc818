"""`bench-melt doctor`: which boards, counters, data sets, runners and models can be used here."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from bench_melt.data.named import loaders
from bench_melt.runners.inventory import model_items, runner_items
from bench_melt.targets.plugin import plugin_library
from codegen.board import Board, board_names, load_board
from codegen.cli import print_json
from codegen.doctor import examine_data, examine_packages, examine_tools
from codegen.toolchain import find_tool, find_toolchain
from tinyengine.errors import UserError

_DATA_PACKAGES = ("sklearn", "skimage", "seglearn")

Row = dict[str, str | bool]


def command(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Show which boards can run here, what counts instructions, and data, runners and models."""
    groups = {
        "boards": [_board(load_board(name)) for name in board_names()],
        "meters": [_counter()],
        "data": list(_data()),
        "runners": [asdict(item) for item in runner_items()],
        "models": [asdict(item) for item in model_items()],
    }
    if as_json:
        print_json(groups)
        return
    for rows in groups.values():
        for row in rows:
            print(f"{row['name']:24}{'ready' if row['ready'] else 'not ready'}  {row['note']}")
    print("tools and packages: tinyengine-codegen doctor [--install]")


def _board(board: Board) -> Row:
    """Return whether a board can be built for and, if it is emulated, started."""
    try:
        find_toolchain(board.build.toolchain)
    except UserError as error:
        return {"name": board.name, "ready": False, "note": str(error)}
    if board.run.kind == "qemu" and find_tool("qemu-system-arm") is None:
        return {"name": board.name, "ready": False, "note": "qemu-system-arm is not installed"}
    if board.run.kind == "serial":
        return {"name": board.name, "ready": True, "note": "name its port with --port"}
    return {"name": board.name, "ready": True, "note": board.summary}


def _counter() -> Row:
    if not any(tool.name == "qemu-system-arm" and tool.version for tool in examine_tools()):
        return {"name": "instruction counter", "ready": False, "note": "no qemu-system-arm"}
    library = plugin_library()
    note = str(library) if library else "the plug-in cannot be built: is there a C compiler?"
    return {"name": "instruction counter", "ready": library is not None, "note": note}


def _data() -> Iterator[Row]:
    """Yield every named data set's package; what needs none is ready."""
    packages: Sequence[tuple[str, bool]] = [
        *((item.name, item.version is not None) for item in examine_data()),
        *((p.name, p.version is not None) for p in examine_packages() if p.name in _DATA_PACKAGES),
    ]
    for name, ready in packages:
        yield {"name": name, "ready": ready, "note": "data" if ready else "data: not installed"}
    yield {"name": "data by name", "ready": True, "note": ", ".join(loaders())}
