"""`bench-melt speed DIR`: how many training steps a second this computer takes."""

import os
import platform
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench_melt.progress import bars
from bench_melt.workloads.speed import ENGINE, SIMULATOR, TORCH, Speeds, measure_speeds
from bench_melt.workloads.torch_engine import has_torch
from codegen.cli import print_json
from codegen.manifest import load_manifest
from codegen.toolchain import find_toolchain
from tinyengine.errors import UserError

# libraries read these when they are loaded
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="what 'compile' made")],
    rounds: Annotated[int, typer.Option(min=1, help="turns of each engine")] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="length of one turn")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Compare simulator, generated C and PyTorch on this computer, in turns, one thread each.

    All three take the same sparse step at batch 1 on the same net. PyTorch (CPU, eager, float32)
    takes part where it is installed: pip install 'tinyengine-mcu[torch]'.
    """
    manifest = load_manifest(directory)
    if not manifest.trains:
        raise UserError(f"'{directory}' was compiled with a scheme in which nothing learns")
    if any(os.environ.get(name) != one for name, one in _ONE_THREAD.items()):
        _start_again()
    engines = 3 if has_torch() else 2
    with bars() as shown:
        meter = shown.phase("turns", rounds * engines)
        speeds = measure_speeds(directory, 0.01, rounds, seconds, meter.step)
    figures = _figures(speeds)
    if as_json:
        print_json(figures)
        return
    for name, value in figures.items():
        text = f"{value:,.4g}" if isinstance(value, float) else value
        print(f"{name:28}{'not measured' if value is None else text}")


def _start_again() -> None:
    """Run the same command with one thread for every library."""
    program = [sys.executable, "-c", "from bench_melt.cli import main; main()"]
    os.execve(sys.executable, [*program, *sys.argv[1:]], {**os.environ, **_ONE_THREAD})


def _figures(speeds: Speeds) -> dict[str, object]:
    return {
        "simulator_steps_per_s": speeds.median(SIMULATOR),
        "engine_steps_per_s": speeds.median(ENGINE),
        "torch_steps_per_s": speeds.median(TORCH),
        "engine_over_simulator": speeds.ratio(SIMULATOR),
        "engine_over_torch": speeds.ratio(TORCH),
        "torch_logits_cosine": speeds.torch_cosine,
        "rounds": len(speeds.rounds[ENGINE]),
        "gcc": find_toolchain("").gcc.version,
        "torch": speeds.torch_version,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
