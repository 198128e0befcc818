"""Rows of the same cell put together: median and interval per metric, failures by reason."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_melt.compare import METRICS
from bench_melt.stats import Summary, summarise

Rows = Sequence[Mapping[str, Any]]

# a comparison looks at METRICS; these say how a figure came about, more is neither good nor bad
_SHOWN = (*METRICS, "memory_bandwidth_share", "harness_cpu_share")


@dataclass(frozen=True, slots=True)
class Cell:
    """All repetitions of a workload on a target with a model, in one run or several."""

    target: str
    model: str
    workload: str
    quantisation: str | None
    n: int
    metrics: Mapping[str, Summary]
    failures: Mapping[str, int]  # reason -> how often


def cells_of(rows: Rows) -> list[Cell]:
    """Group rows, in the order in which cells first appear."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["target"], row["model"], row["workload"]].append(row)
    return [_cell(*key, found) for key, found in groups.items()]


def _cell(target: str, model: str, workload: str, rows: Rows) -> Cell:
    good = [row for row in rows if row["status"] == "ok"]
    failures: dict[str, int] = defaultdict(int)
    for row in rows:
        if row["status"] != "ok":
            failures[str(row["reason"])] += 1
    metrics = {}
    for name in _SHOWN:
        values = [float(row[name]) for row in good if row[name] is not None]
        if values:
            metrics[name] = summarise(values)
    quantisation = next((row["quantisation"] for row in rows if row["quantisation"]), None)
    return Cell(target, model, workload, quantisation, len(good), metrics, dict(failures))


def to_markdown(rows: Rows) -> str:
    """Return one table: a line per cell and metric, medians with 95 % intervals; then failures."""
    cells = cells_of(rows)
    head = ["target", "model", "quantisation", "workload", "metric", "median", "95 %", "n"]
    lines = [_line(head), _line(["---"] * 5 + ["---:"] * 3)]
    for cell in cells:
        for name, found in cell.metrics.items():
            interval = interval_of(name, found)
            lines.append(
                _line(
                    [
                        cell.target,
                        cell.model,
                        cell.quantisation or "",
                        cell.workload,
                        name,
                        figure_of(name, found.median),
                        interval,
                        str(found.n),
                    ]
                )
            )
    for cell in cells:
        for reason, count in cell.failures.items():
            lines.append(
                f"\nfailed {count} times: {cell.target} {cell.model} {cell.workload}: {reason}"
            )
    return "\n".join(lines) + "\n"


def figure_of(name: str, value: float) -> str:
    """Return a metric's value for people: bytes whole, else four digits."""
    return f"{round(value):,}" if name.endswith("_bytes") else f"{value:.4g}"


def interval_of(name: str, found: Summary) -> str:
    """Return a metric's interval for people; "" without one."""
    if found.low is None or found.high is None:
        return ""
    return f"{figure_of(name, found.low)} to {figure_of(name, found.high)}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
