"""What a person sees while a device works: one bar per phase, on stderr, with loss and accuracy."""

import contextlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench_melt.record import Row
from bench_melt.suite import Cell

_WINDOW = 100  # running figures are means of so many steps


class Meter:
    """One bar. Running loss is the mean of the last steps; accuracy too where steps tell it."""

    def __init__(self, progress: Progress, label: str, total: int) -> None:
        """Add a bar of `total` steps."""
        self._progress = progress
        self._task = progress.add_task(label, total=total, figures="")
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._right: deque[bool] = deque(maxlen=_WINDOW)

    def step(self, *, loss: float | None = None, right: bool | None = None) -> None:
        """Count one step with what is known of it."""
        if loss is not None:
            self._losses.append(loss)
        if right is not None:
            self._right.append(right)
        self._progress.update(self._task, advance=1, figures=self.figures())

    def reach(self, done: int, total: int) -> None:
        """Set how far it is; the total may change on the way."""
        self._progress.update(self._task, completed=done, total=total)

    def figures(self) -> str:
        """Return `loss 1.234  accuracy 56.0 %`, of which what is known."""
        parts = []
        if self._losses:
            parts.append(f"loss {sum(self._losses) / len(self._losses):.3f}")
        if self._right:
            parts.append(f"accuracy {100 * sum(self._right) / len(self._right):.1f} %")
        return "  ".join(parts)


class Bars:
    """The bars of one run, one below the other."""

    def __init__(self, progress: Progress) -> None:
        """Show bars in `progress`."""
        self._progress = progress

    def phase(self, label: str, total: int) -> Meter:
        """Begin a phase of `total` steps."""
        return Meter(self._progress, label, total)


class SweepLines:
    """One line on stderr per repetition of a sweep; where that cannot be written, rows go on."""

    def __init__(self) -> None:
        """Write to stderr."""
        self._console = Console(stderr=True, highlight=False, markup=False)

    def begin(self, cell: Cell, done: int, total: int) -> None:
        """Say which repetition starts."""
        self._say(
            f"[{done + 1}/{total}] {cell.target.name} {cell.model.name} {cell.workload.name} "
            f"#{cell.repetition}",
            end=" ... ",
        )

    def end(self, row: Row) -> None:
        """Say how it ended."""
        outcome = row.outcome
        _, lost, why = (row.results.energy.meter_warnings or "").partition("no energy: ")
        fine = f"ok, {outcome.duration_s:.1f} s{', ' if lost else ''}{lost}{why}"
        self._say(outcome.reason or fine)

    def _say(self, text: str, end: str = "\n") -> None:
        with contextlib.suppress(OSError):  # a log on a full disk
            self._console.print(text, end=end, soft_wrap=True)


@contextmanager
def bars() -> Iterator[Bars]:
    """Show progress on stderr while the block runs; a file there gets only the final lines."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)
