"""Instructions (or the device's own ticks) per layer, summed over many runs of the same code."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench_melt.device import Device
from bench_melt.link.codes import TickUnit
from codegen.manifest import MarkedLayer
from tinyengine.ir.tensor import Array

PHASES = ("forward", "loss", "input_gradient", "weight_gradient", "update")

INSTRUCTIONS = "instructions"
_UNITS = {TickUnit.CYCLES: "cycles", TickUnit.NANOSECONDS: "nanoseconds"}


@dataclass(slots=True)
class Tally:
    """Sums of what each interval between two marks took; `runs` counts the runs summed.

    fed: the input arrives in pieces. Each has a mark before and one after its work, all of which is
    the first layer's; what passes between pieces is the link's.
    """

    intervals: Array
    fed: bool = False
    runs: int = 0

    @staticmethod
    def of(layers: Sequence[MarkedLayer], *, fed: bool = False) -> "Tally":
        """Return an empty tally for code with these layers."""
        return Tally(np.zeros(len(layers), np.int64), fed)

    def add(self, marks: Sequence[int], *, wraps_at: int | None = None) -> None:
        """Add a run's counter values at its marks; runs with another number of marks do not count.

        marks: one more than there are layers, behind the pairs of a fed input. wraps_at: the
        counter starts again at this value.
        """
        pieces = len(marks) - len(self.intervals) - 1
        if pieces < 0 or pieces % 2 or self.fed != (pieces > 0):
            return
        taken = np.diff(np.asarray(marks, np.int64))
        if wraps_at:
            taken = np.mod(taken, wraps_at)
        self.intervals += taken[pieces:]
        self.intervals[0] += taken[:pieces:2].sum()
        self.runs += 1

    def mean_total(self) -> int | None:
        """Return the mean of a whole run, rounded; None when no run was counted.

        A step's count depends a little on the data (a gradient of 0 is skipped), so that it is
        the mean that is reported.
        """
        return round(int(self.intervals.sum()) / self.runs) if self.runs else None


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """What one layer took per step, by phase; in the profile's unit, rounded means."""

    layer: str
    phases: dict[str, int]

    @property
    def total(self) -> int:
        """All phases together."""
        return sum(self.phases.values())


@dataclass(frozen=True, slots=True)
class Profile:
    """Layers in order of first execution; `unit` is instructions, cycles or nanoseconds."""

    unit: str
    rows: tuple[ProfileRow, ...]

    def as_json(self) -> dict[str, object]:
        """Return the JSON form: unit, and per layer one number for each phase."""
        layers = [{"layer": row.layer, **row.phases} for row in self.rows]
        return {"unit": self.unit, "layers": layers}


def make_profile(unit: str, layers: Sequence[MarkedLayer], tally: Tally) -> Profile | None:
    """Sum a tally's intervals by layer and phase; None when no run was counted."""
    if not tally.runs:
        return None
    sums: dict[str, dict[str, int]] = {}
    for marked, taken in zip(layers, tally.intervals, strict=True):
        phases = sums.setdefault(marked.layer, dict.fromkeys(PHASES, 0))
        phases[marked.phase] += int(taken)
    means = {
        layer: {phase: round(total / tally.runs) for phase, total in phases.items()}
        for layer, phases in sums.items()
    }
    return Profile(unit, tuple(ProfileRow(layer, phases) for layer, phases in means.items()))


@dataclass(slots=True)
class StepCounts:
    """Counts of forwards and steps of one device, as far as somebody counts there."""

    device: Device
    forward: Tally
    step: Tally
    ask_device: bool  # without an instruction counter: read the device's own ticks after each step
    unit: str | None = field(default=None)

    def begin(self) -> None:
        """Forget the marks that passed so far."""
        if self.device.counter is not None:
            self.device.counter.read()
            self.unit = INSTRUCTIONS

    def after_forward(self) -> None:
        """Count the forward that has just run."""
        if self.device.counter is not None:
            self.forward.add(self.device.counter.read())

    def after_step(self) -> None:
        """Count the training step that has just run."""
        if self.device.counter is not None:
            self.step.add(self.device.counter.read())
        elif self.ask_device:
            counters = self.device.session.counters()
            if counters is not None:
                self.unit = _UNITS.get(counters.unit)
                self.step.add(counters.at_marks, wraps_at=1 << 32)

    def instructions(self, tally: Tally) -> int | None:
        """Return the mean instructions of a run, None where instructions are not counted."""
        return tally.mean_total() if self.unit == INSTRUCTIONS else None
