"""`bench-melt runner build --target TARGET`: llama.cpp's programs, compiled for a processor."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench_melt.progress import bars
from bench_melt.runners.build import PROGRAMS, Built, build_runner, runners_folder
from bench_melt.runners.compilers import PROCESSORS, Choice, find_processor
from bench_melt.runners.inventory import built_runners
from codegen.cli import print_json
from codegen.tables import nearest
from tinyengine.errors import UserError


class Action(StrEnum):
    """What to do."""

    BUILD = "build"
    LIST = "list"


def command(
    action: Annotated[Action, typer.Argument(help="build them, or list those that are built")],
    target: Annotated[
        str, typer.Option(help=f"processor to build for: {', '.join(PROCESSORS)}")
    ] = "host",
    out: Annotated[
        Path | None, typer.Option(help="folder to fill; default: the target's in the user's cache")
    ] = None,
    program: Annotated[
        list[str] | None, typer.Option(help=f"only this one, repeatable; of {', '.join(PROGRAMS)}")
    ] = None,
    compiler: Annotated[Choice, typer.Option(help="which cross-compiler")] = Choice.AUTO,
    source: Annotated[
        Path | None, typer.Option(help="source package of llama-cpp-python that lies here already")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="compilers at a time; 0: one per core")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Build llama-server, llama-bench, llama-cli and llama-perplexity; go on where it was ended."""
    if action is Action.LIST:
        _list(as_json=as_json)
        return
    processor, programs = find_processor(target), _programs(program)
    with bars() as shown:
        bar = shown.phase("compile", 1)
        built = build_runner(
            processor,
            out or runners_folder() / processor.name,
            choice=compiler,
            programs=programs,
            archive=source,
            jobs=jobs or len(os.sched_getaffinity(0)),
            tell=_tell,
            step=bar.reach,
        )
        if not built.fresh:
            bar.reach(1, 1)
    if as_json:
        print_json({"folder": str(built.folder), "fresh": built.fresh, **built.manifest})
    else:
        _show(built)


def _programs(given: list[str] | None) -> tuple[str, ...]:
    for name in given or ():
        if name not in PROGRAMS:
            raise UserError(
                f"unknown program '{name}'{nearest(name, PROGRAMS)}; there are: "
                f"{', '.join(PROGRAMS)}"
            )
    return tuple(dict.fromkeys(given)) if given else PROGRAMS


def _show(built: Built) -> None:
    manifest = built.manifest
    print(f"{'folder':18}{built.folder}{'' if built.fresh else '   (was there already)'}")
    for name in ("target", "llama_cpp_commit", "compiler"):
        print(f"{name:18}{manifest[name] or 'unknown'}")
    for found in manifest["programs"]:
        said = found["version"] or "not run: needs qemu-user-static"
        print(f"{found['name']:18}{found['bytes']:,} bytes   {said}")


def _list(*, as_json: bool) -> None:
    found = built_runners()
    if as_json:
        print_json({"runners": [dict(manifest) for manifest in found]})
        return
    for manifest in found:
        names = ", ".join(program["name"] for program in manifest["programs"])
        print(f"{manifest['target']:16}{manifest['folder']}   {names}")
    if not found:
        print("none; 'bench-melt runner build --target TARGET' makes them", file=sys.stderr)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
