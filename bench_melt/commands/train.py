"""`bench-melt train DIR`: teach a device with real data over its link."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench_melt.data import Dataset, load_dataset
from bench_melt.device import open_device
from bench_melt.profile_report import add_profile
from bench_melt.progress import bars
from bench_melt.state import check_writable, read_state, save_npz
from bench_melt.workloads.counting import PHASES, Profile
from bench_melt.workloads.training import TrainingPlan, TrainingResult, train
from codegen.board import load_board
from codegen.cli import print_json
from codegen.graphs import matching_train_graph
from codegen.manifest import Manifest, load_manifest
from tinyengine.errors import UserError
from tinyengine.sim.train import model_state

_DEFAULT_EVAL = 100
_LR_MAX = float(np.finfo(np.float32).max)  # what the device can hold


def command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="what 'compile' made")],
    board: Annotated[str, typer.Option(help="a board's name or .toml")],
    data: Annotated[str, typer.Option(help="a data set's name, a .npz, or a folder")],
    steps: Annotated[int, typer.Option(min=0, help="training steps at batch 1; 0: as compiled")],
    eval_count: Annotated[
        int | None,
        typer.Option(
            "--eval",
            min=0,
            metavar="M",
            help="test samples to evaluate on before and after; without test samples one sample in "
            f"five is held out. Default: {_DEFAULT_EVAL} where the data brings test samples, "
            "else 0",
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="learning rate; default: as compiled")] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**32 - 1, help="0: samples in file order; else a seeded permutation"
        ),
    ] = 0,
    state_out: Annotated[
        Path | None, typer.Option(help="write every trainable tensor to this .npz")
    ] = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="what each layer takes: a table, and in DIR/report.html"),
    ] = False,
    port: Annotated[
        str | None,
        typer.Option(help="talk to a device that is there: /dev/ttyACM0, socket://HOST:PORT"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Train on a board and report accuracy, loss, instructions, RAM and the state's hash.

    Instructions are means over all steps: a step's count depends a little on the data.
    """
    manifest = load_manifest(directory)
    target = load_board(board)
    _check(manifest, directory, steps, lr, state_out)
    samples, count = _data(data, manifest, eval_count)
    plan = TrainingPlan(steps=steps, eval_count=count, seed=seed, lr=lr, profile=profile)
    # read before the steps are taken: what is missing must not show after them
    graph = (
        matching_train_graph(directory, manifest)
        if state_out is not None and manifest.state
        else None
    )
    with open_device(directory, manifest, target, port=port) as device, bars() as shown:
        result = train(device, manifest, samples, plan, shown)
        if state_out is not None:
            state = read_state(device.session, manifest)
            save_npz(state_out, model_state(graph, state) if graph is not None else {})
    if result.profile is not None:
        _print_profile(result.profile)
        _note(add_profile(directory, target, result.profile, steps))
    _print(result, steps, device.ram_bytes, profile, as_json)


def _check(
    manifest: Manifest, directory: Path, steps: int, lr: float | None, state_out: Path | None
) -> None:
    if steps and not manifest.trains:
        raise UserError(
            f"'{directory}' was compiled with scheme '{manifest.scheme.name}', in which nothing "
            "learns; compile with --update head, bias, full or a scheme of your own"
        )
    if lr is not None and not 0 <= lr <= _LR_MAX:
        raise UserError(f"--lr {lr} is not a learning rate; give a finite number >= 0 (float32)")
    if state_out is not None:
        check_writable(state_out)


def _data(spec: str, manifest: Manifest, eval_count: int | None) -> tuple[Dataset, int]:
    """Return the data and on how many of its test samples to evaluate."""
    data = load_dataset(spec, manifest.input, manifest.classes)
    if eval_count is None:
        return data, min(_DEFAULT_EVAL, len(data.y_test))
    if eval_count:
        data = data.with_test()
    if eval_count > len(data.y_test):
        raise UserError(
            f"--eval {eval_count}: data '{spec}' has {len(data.y_test)} test samples; "
            f"use --eval {len(data.y_test)} or less"
        )
    return data, eval_count


def _print(
    result: TrainingResult, steps: int, ram_bytes: int | None, profile: bool, as_json: bool
) -> None:
    figures: dict[str, object] = {
        "accuracy_before": result.accuracy_before,
        "accuracy_after": result.accuracy_after,
        "loss_first": result.loss_first,
        "loss_last": result.loss_last,
        "steps": steps,
        "instructions_per_step": result.instructions_per_step,
        "instructions_forward": result.instructions_forward,
        "ram_bytes": ram_bytes,
        "state_sha256": result.state_sha256,
    }
    if as_json:
        if profile:
            figures["profile"] = result.profile.as_json() if result.profile else None
        print_json(figures)
        return
    for name, value in figures.items():
        print(f"{name:24}{'not measured' if value is None else value}")
    if profile and result.profile is None:
        print("note: nothing counts per layer on this board", file=sys.stderr)


def _note(report: Path | None) -> None:
    place = f"profile added to {report}" if report else "no report.html in the folder to add it to"
    print(f"note: {place}", file=sys.stderr)


def _print_profile(profile: Profile) -> None:
    """Write the table of layers to stderr; as wide as its names, since a cut name names nothing."""
    rows = [("layer", *(phase.replace("_", " ") for phase in PHASES), "total")]
    for row in profile.rows:
        numbers = [row.phases[phase] for phase in PHASES]
        rows.append((row.layer, *(f"{n:,}" if n else "" for n in numbers), f"{row.total:,}"))
    sums = [sum(row.phases[phase] for row in profile.rows) for phase in PHASES]
    rows.append(("all", *(f"{n:,}" for n in sums), f"{sum(sums):,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print(f"{profile.unit} per training step, means", file=sys.stderr)
    for name, *texts in rows:
        cells = (text.rjust(width) for text, width in zip(texts, widths[1:], strict=True))
        print("  ".join((name.ljust(widths[0]), *cells)), file=sys.stderr)
