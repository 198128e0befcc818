"""From joules per phase to the figures of a row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_melt.energy.join import EnergyReport, PhaseEnergy, Window
from bench_melt.record import Energy

_SHOWN = 1000  # phases that a row's details list; the log beside the samples has all


@dataclass(frozen=True, slots=True)
class Counted:
    """A phase's energy, and how many tokens or inferences it made; None: not known."""

    energy: PhaseEnergy
    count: int | None


def total_j(phases: Sequence[Counted]) -> float | None:
    """Return the energy of all of them; None without any, or if one was not measured."""
    found = [phase.energy.energy_j for phase in phases]
    return sum(j for j in found if j is not None) if found and None not in found else None


def per_item_j(phases: Sequence[Counted]) -> float | None:
    """Return joules per token or inference over all of them, above idle where that is known."""
    items = [phase.count for phase in phases]
    whole, count = total_j(phases), sum(n for n in items if n is not None)
    if whole is None or None in items or count <= 0:
        return None
    above = [phase.energy.energy_above_idle_j for phase in phases]
    return (whole if None in above else sum(j for j in above if j is not None)) / count


def energy_of(meter: str, report: EnergyReport, phases: Sequence[Counted]) -> Energy:
    """Return a row's columns, but for its samples file and warnings."""
    named: dict[str, list[Counted]] = {}
    for phase in phases:
        named.setdefault(phase.energy.phase, []).append(phase)
    prefill, decode = named.get("prefill", []), named.get("decode", [])
    clock = report.to_json()["clock"]
    return Energy(
        meter=meter,
        meter_rate_hz=1.0 / report.timeline.step_s,
        energy_prefill_j=total_j(prefill),
        energy_decode_j=total_j(decode),
        energy_load_j=total_j(named.get("load", [])),
        j_per_token_prefill=per_item_j(prefill),
        j_per_token_decode=per_item_j(decode),
        j_per_inference=per_item_j(named.get("inference", [])),
        idle_w=report.idle_power_w,
        clock_offset_s=clock["offset_s"],
        clock_drift_ppm=clock["drift_ppm"],
    )


def warnings_of(report: EnergyReport) -> list[str]:
    """Return what there is to say: of the whole join, then of the phases, like ones told once."""
    found = list(report.notes)
    alike: dict[tuple[str, str], list[str]] = {}
    for phase in report.phases:
        for warning in phase.warnings:
            if warning not in report.notes:
                kind = "".join(c for c in warning if not c.isdigit() and c != ".")
                alike.setdefault((phase.phase, kind), []).append(warning)
    for (name, _), same in alike.items():
        more = f" (and {len(same) - 1} more like it)" if len(same) > 1 else ""
        found.append(f"{name}: {same[0]}{more}")
    return found


def details_of(report: EnergyReport, idle: Window | None) -> Mapping[str, Any]:
    """Return what a row keeps beside its columns.

    "energy": joules of every phase in the clock of the events, the clock's fit. "phases": when they
    were in the clock of the samples file, for its picture.
    """
    told = report.to_json()
    clock = report.clock
    shown = report.phases[:_SHOWN]
    residual_s = None if clock is None else clock.residual_rms_s
    energy = {
        "phases": told["phases"][:_SHOWN],
        "phases_in_all": len(report.phases),
        "idle_window_s": None if idle is None else list(idle),
        "marks_found": report.marks_found,
        "clock": {**told["clock"], "residual_rms_s": residual_s},
    }
    return {"energy": energy, "phases": list(_on_meter(report, shown))}


def _on_meter(report: EnergyReport, phases: Iterable[PhaseEnergy]) -> Iterable[Mapping[str, Any]]:
    clock = report.clock
    for phase in phases:
        bounds = (phase.start_s, phase.end_s)
        if clock is not None:
            bounds = (clock.at_meter(phase.start_s), clock.at_meter(phase.end_s))
        yield {"phase": phase.phase, "start_s": bounds[0], "end_s": bounds[1]}
