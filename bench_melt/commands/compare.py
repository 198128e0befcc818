"""`bench-melt compare A B`: did it get better or worse, and is that more than noise?"""

from dataclasses import asdict
from typing import Annotated

import typer

from bench_melt.compare import (
    METRICS,
    Comparison,
    changed_conditions,
    compare,
    find_rows,
    lost_cells,
    regressions,
)
from bench_melt.stats import Summary
from bench_melt.store import DEFAULT_URL
from codegen.cli import print_json
from codegen.tables import nearest
from tinyengine.errors import UserError


def command(
    a: Annotated[str, typer.Argument(metavar="A", help="run id, its start, or a database file")],
    b: Annotated[str, typer.Argument(metavar="B", help="likewise; compared with A")],
    db: Annotated[str, typer.Option(help="database of run ids")] = DEFAULT_URL,
    metric: Annotated[
        list[str] | None, typer.Option(help="a column to compare; may be given again")
    ] = None,
    limit: Annotated[
        float, typer.Option(help="exit 1 where B is worse by more than so many percent", min=0)
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Compare run B with run A: Mann-Whitney, Holm-corrected, with effect size (Cliff's delta)."""
    for name in metric or ():
        if name not in METRICS:
            known = tuple(METRICS)
            raise UserError(
                f"unknown metric '{name}'{nearest(name, known)}; metrics: {', '.join(known)}"
            )
    first, second = find_rows(a, db), find_rows(b, db)
    lost, changed = lost_cells(first, second), changed_conditions(first, second)
    lines = compare(first, second, metric or tuple(METRICS), required=not lost)
    worse = regressions(lines, limit / 100)
    if as_json:
        print_json(
            {
                "comparisons": [asdict(line) for line in lines],
                "regressions": len(worse) + len(lost),
                "lost": [asdict(cell) for cell in lost],
                "changed_conditions": changed,
            }
        )
    else:
        _show(lines)
        for name, (before, after) in changed.items():
            print(f"not the same condition: {name} is {before} in A, {after} in B")
        for line in worse:
            print(
                f"regression: {line.target} {line.model} {line.workload} {line.metric} is worse by "
                f"{abs(line.change or 0):.1%}, limit {limit:g} %"
            )
        for cell in lost:
            print(
                f"regression: {cell.target} {cell.model} {cell.workload} failed {cell.failed} "
                f"times in B: {cell.reason}"
            )
    if worse or lost:
        raise typer.Exit(1)


def _show(lines: list[Comparison]) -> None:
    cells = [
        [
            f"{line.target} {line.model} {line.workload}",
            line.metric,
            _shown(line.a),
            _shown(line.b),
            "" if line.change is None else f"{line.change:+.1%}",
            f"{line.effect:+.2f}",
            f"{line.p:.3f}",
            line.verdict,
        ]
        for line in lines
    ]
    heads = ["cell", "metric", "A", "B", "change", "effect", "p (Holm)", "verdict"]
    widths = [max(len(row[at]) for row in [heads, *cells]) for at in range(len(heads))]
    for row in [heads, *cells]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def _shown(found: Summary) -> str:
    interval = "" if found.low is None else f" [{found.low:.4g}, {found.high:.4g}]"
    return f"{found.median:.4g}{interval} n={found.n}"
