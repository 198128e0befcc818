"""`bench-melt energy SAMPLES.csv EVENTS.csv`: joules per phase from a recording and a log."""

import math
from pathlib import Path
from typing import Annotated

import typer

from bench_melt.energy.events import read_events
from bench_melt.energy.join import EnergyReport, Window, join
from bench_melt.energy.samples import read_samples
from codegen.cli import print_json
from tinyengine.errors import UserError


def command(
    samples: Annotated[
        Path, typer.Argument(metavar="SAMPLES.csv", help="time_s,voltage_v,current_a")
    ],
    events: Annotated[
        Path, typer.Argument(metavar="EVENTS.csv", help="time_s,phase,edge; phase sync: a mark")
    ],
    idle: Annotated[
        str | None,
        typer.Option(metavar="FROM,TO", help="when the device was idle, in the events' clock"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Energy of every phase of a log; clocks aligned by load steps that the log calls sync."""
    window = None if idle is None else _window(idle)
    report = join(read_samples(samples), read_events(events), window)
    if as_json:
        print_json(report.to_json())
        return
    _show(report)


def _window(text: str) -> Window:
    try:
        start_s, end_s = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--idle is '{text}'; it must be two numbers: FROM,TO") from error
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise UserError(f"--idle is '{text}'; it must be two finite numbers: FROM,TO")
    return start_s, end_s


def _show(report: EnergyReport) -> None:
    head = ("phase", "start s", "end s", "J", "J above idle", "mean W", "samples")
    print(f"{head[0]:16}" + "".join(f"{name:>14}" for name in head[1:]))
    for phase in report.phases:
        figures = (
            f"{phase.start_s:.6f}",
            f"{phase.end_s:.6f}",
            _figure(phase.energy_j),
            _figure(phase.energy_above_idle_j),
            _figure(phase.mean_power_w),
            str(phase.samples),
        )
        print(f"{phase.phase:16}" + "".join(f"{figure:>14}" for figure in figures))
        for warning in phase.warnings:
            if warning not in report.notes:
                print(f"  ! {warning}")
    print()
    for name, value in _facts(report).items():
        print(f"{name:24}{value}")
    for note in report.notes:
        print(f"! {note}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _facts(report: EnergyReport) -> dict[str, str]:
    clock, timeline = report.clock, report.timeline
    lost, idle_w = float(timeline.lost.sum()), report.idle_power_w
    facts = {
        "sampling step": f"{timeline.step_s * 1e6:.3f} us",
        "samples per stamp": str(timeline.repeats),
        "samples lost": f"{lost:.0f} of {lost + len(timeline.lost):.0f}",
        "idle power": "not given" if idle_w is None else f"{idle_w:.6g} W",
        "sync marks found": str(report.marks_found),
    }
    if clock is not None:
        facts["clock offset"] = f"{clock.offset_s:.6f} s at {clock.reference_s:.6f} s"
        drift = "not measured" if clock.drift is None else f"{clock.drift * 1e6:.2f} ppm"
        facts["clock drift"] = drift
        edges = len(clock.residual_s)
        if report.edges_refined:
            facts["clock fitted by"] = f"sync marks, sharpened by {edges} edges of the log"
        facts["residual"] = f"{clock.residual_rms_s * 1e6:.1f} us rms over {edges} edges"
    return facts
