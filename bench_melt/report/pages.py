"""One html page that stands alone: tables, and pictures by Plotly with its script inside.

Pictures are plain values of Plotly's schema. Its Python classes check every one of them again,
which for 10,000 rows takes longer than all the rest.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2

from bench_melt.report.summary import Cell, cells_of, figure_of, interval_of
from tinyengine.errors import UserError

Rows = Sequence[Mapping[str, Any]]

_TEMPLATE = Path(__file__).with_name("page.html.j2")
_HEIGHT_PX = 420
_NAMED_MAX = 8  # cells that a note lists by name
_CONDITIONS = (
    *("machine", "os_build", "soc", "cpu_info", "memory_bytes", "governor", "power_mode", "meter"),
    *("runner", "build_commit", "n_threads", "git_revision", "tool_versions", "quality_text"),
)


class Picture:
    """What stands under a title: a figure (Plotly's, or None) and a note of what is missing."""

    def __init__(self, figure: Any, missing: str = "") -> None:
        """Take both."""
        self.figure, self.missing = figure, missing

    def html(self, *, with_script: bool) -> str:
        """Return the figure as html; Plotly's script comes with one of a page's figures."""
        from plotly.io import to_html as plotly_html

        text = plotly_html(
            self.figure, full_html=False, include_plotlyjs=with_script, validate=False
        )
        return str(text)


def to_html(rows: Rows) -> str:
    """Return the page.

    Raises:
        UserError: Plotly is not installed.
    """
    if find_spec("plotly") is None:
        raise UserError(
            "'report -o html' needs the python package 'plotly': "
            "pip install 'tinyengine-mcu[report]'"
        )
    cells = cells_of(rows)
    source = _TEMPLATE.read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(source)
    return template.render(
        cells=cells,
        figure=figure_of,
        interval=interval_of,
        rows=len(rows),
        failed=sum(row["status"] != "ok" for row in rows),
        conditions=_conditions(rows),
        pictures=list(_pictures(rows, cells)),
    )


def _pictures(rows: Rows, cells: Sequence[Cell]) -> Iterator[tuple[str, str | None, str]]:
    """Yield title, html (None: nothing was measured) and what is missing."""
    with_script = True  # 4 MB: once per page
    for title, draw in _PICTURES.items():
        picture = draw(rows, cells)
        if picture.figure is None:
            yield title, None, picture.missing
        else:
            yield title, picture.html(with_script=with_script), picture.missing
            with_script = False


def _conditions(rows: Rows) -> list[tuple[str, str]]:
    """Return what all rows were measured under: a condition with several values lists them."""
    found = [
        (name, sorted({str(row[name]) for row in rows if row[name] is not None}))
        for name in _CONDITIONS
    ]
    return [(name, ", ".join(values)) for name, values in found if values]


def _energy(rows: Rows, cells: Sequence[Cell]) -> Picture:
    """Draw decoding speed against joules per token."""
    return _scatter(
        cells,
        ("decode_tokens_per_s", "decoding, tokens/s"),
        ("j_per_token_decode", "J per generated token, idle subtracted where it was measured"),
        "no meter told the energy of decoding",
    )


def _trade(rows: Rows, cells: Sequence[Cell]) -> Picture:
    """Draw perplexity against decoding speed, a point per quantisation."""
    return _scatter(
        cells,
        ("decode_tokens_per_s", "decoding, tokens/s"),
        ("perplexity", "perplexity of the text that ships (lower is better)"),
        "no workload with 'quality = true'",
    )


def _choice(rows: Rows, cells: Sequence[Cell]) -> Picture:
    """Draw multiple-choice accuracy against decoding speed."""
    return _scatter(
        cells,
        ("decode_tokens_per_s", "decoding, tokens/s"),
        ("choice_accuracy", "multiple-choice accuracy"),
        "no workload with 'quality = true'",
    )


def _speeds(rows: Rows, cells: Sequence[Cell]) -> Picture:
    """Draw every repetition's decoding speed in the order they ran: drift and outliers show."""
    label = "decoding, tokens/s"
    return _over_time(rows, "decode_tokens_per_s", label, "no repetition decoded tokens")


def _latencies(rows: Rows, cells: Sequence[Cell]) -> Picture:
    """Draw the median latency of every repetition of models that are not LLMs."""
    return _over_time(
        rows, "latency_ms_p50", "median inference, ms", "no workload of kind 'tflite'"
    )


def _thermals(rows: Rows, cells: Sequence[Cell]) -> Picture:
    """Draw the hottest zone after each repetition."""
    label = "hottest zone after, degrees C"
    return _over_time(rows, "temperature_c_after", label, "no machine told a temperature")


def _sustained(rows: Rows, cells: Sequence[Cell]) -> Picture:
    """Draw throughput prompt by prompt of the sustained runs."""
    traces = [
        {
            "type": "scatter",
            "y": json.loads(row["sustained_tokens_per_s"]),
            "mode": "lines+markers",
            "name": _name(row),
        }
        for row in rows
        if row["sustained_tokens_per_s"]
    ]
    if not traces:
        return Picture(None, "no workload with 'sustained'")
    return Picture({"data": traces, "layout": _layout("prompt", "generated tokens/s")})


def _power(rows: Rows, cells: Sequence[Cell]) -> Picture:
    """Draw power over time with its phases, of the newest row that kept its samples."""
    from bench_melt.report.power import power_figure

    kept = [row for row in rows if row["samples_file"] and Path(row["samples_file"]).is_file()]
    if not kept:
        return Picture(None, "no row has a recording that is still there")
    return Picture(power_figure(kept[-1], _layout("s", "W")))


_PICTURES: Mapping[str, Callable[[Rows, Sequence[Cell]], Picture]] = {
    "Speed against energy": _energy,
    "Quantisation: perplexity against speed": _trade,
    "Quantisation: multiple choice against speed": _choice,
    "Speed of every repetition": _speeds,
    "Latency of every repetition": _latencies,
    "Temperature": _thermals,
    "Sustained runs": _sustained,
    "Power and phases": _power,
}


def _scatter(
    cells: Sequence[Cell], x: tuple[str, str], y: tuple[str, str], without: str
) -> Picture:
    """Draw a point per cell that has both; cells that have one of them are named."""
    found = [cell for cell in cells if x[0] in cell.metrics and y[0] in cell.metrics]
    if not found:
        return Picture(None, without)
    traces = []
    for cell in found:
        a, b = cell.metrics[x[0]], cell.metrics[y[0]]
        traces.append(
            {
                "type": "scatter",
                "x": [a.median],
                "y": [b.median],
                "name": _cell_name(cell),
                "mode": "markers",
                "marker": {"size": 12},
                "error_x": _interval(a.median, a.low, a.high),
                "error_y": _interval(b.median, b.low, b.high),
            }
        )
    lacking = [_cell_name(c) for c in cells if (x[0] in c.metrics) != (y[0] in c.metrics)]
    shown = ", ".join(lacking[:_NAMED_MAX]) + (", ..." if len(lacking) > _NAMED_MAX else "")
    return Picture({"data": traces, "layout": _layout(x[1], y[1])}, shown)


def _interval(median: float, low: float | None, high: float | None) -> dict[str, Any]:
    if low is None or high is None:
        return {"visible": False}
    return {"type": "data", "symmetric": False, "array": [high - median],
            "arrayminus": [median - low]}  # fmt: skip


def _over_time(rows: Rows, column: str, label: str, without: str) -> Picture:
    times: dict[str, list[str]] = defaultdict(list)
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row[column] is not None:
            name = _name(row)
            times[name].append(row["started_at"])
            values[name].append(row[column])
    if not times:
        return Picture(None, without)
    traces = [
        {"type": "scatter", "x": times[name], "y": values[name], "mode": "markers", "name": name}
        for name in times
    ]
    return Picture({"data": traces, "layout": _layout("started", label)})


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['target']} {row['model']} {row['workload']}"


def _cell_name(cell: Cell) -> str:
    return " ".join(filter(None, (cell.target, cell.model, cell.quantisation, cell.workload)))


def _layout(x: str, y: str) -> dict[str, Any]:
    grid = {"gridcolor": "#e4e8ef", "zerolinecolor": "#c4cad6"}
    return {
        "xaxis": {"title": {"text": x}, **grid},
        "yaxis": {"title": {"text": y}, "rangemode": "tozero", **grid},
        "height": _HEIGHT_PX,
        "margin": {"t": 20},
        "showlegend": True,
    }
