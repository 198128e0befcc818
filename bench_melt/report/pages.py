"""One html page that stands alone: tables, and pictures by Plotly with its script inside."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from bench_melt.report.summary import Cell, cells_of
from tinyengine.errors import UserError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Rows = Sequence[Mapping[str, Any]]

_TEMPLATE = Path(__file__).with_name("page.html.j2")
_HEIGHT_PX = 420
_CONDITIONS = (
    *("machine", "os_build", "soc", "cpu_info", "memory_bytes", "governor", "power_mode", "meter"),
    *("runner", "build_commit", "n_threads", "git_revision", "tool_versions"),
)


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
    pictures = [
        (title, figure)
        for title, draw in _PICTURES.items()
        if (figure := draw(rows, cells)) is not None
    ]
    source = _TEMPLATE.read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(source)
    return template.render(
        cells=cells,
        rows=len(rows),
        failed=sum(row["status"] != "ok" for row in rows),
        conditions=_conditions(rows),
        pictures=[
            # the library is 4 MB: once per page
            (title, figure.to_html(full_html=False, include_plotlyjs=at == 0))
            for at, (title, figure) in enumerate(pictures)
        ],
    )


def _conditions(rows: Rows) -> list[tuple[str, str]]:
    """Return what all rows were measured under: a condition with several values lists them."""
    found = [
        (name, sorted({str(row[name]) for row in rows if row[name] is not None}))
        for name in _CONDITIONS
    ]
    return [(name, ", ".join(values)) for name, values in found if values]


def _energy(rows: Rows, cells: Sequence[Cell]) -> "Figure | None":
    """Draw decoding speed against joules per token; None without a meter."""
    return _scatter(
        cells,
        ("decode_tokens_per_s", "decoding, tokens/s"),
        ("j_per_token_decode", "J per generated token, idle subtracted where it was measured"),
    )


def _trade(rows: Rows, cells: Sequence[Cell]) -> "Figure | None":
    """Draw perplexity against decoding speed, a point per quantisation."""
    return _scatter(
        cells,
        ("decode_tokens_per_s", "decoding, tokens/s"),
        ("perplexity", "perplexity of the text that ships (lower is better)"),
    )


def _choice(rows: Rows, cells: Sequence[Cell]) -> "Figure | None":
    """Draw multiple-choice accuracy against decoding speed."""
    return _scatter(
        cells,
        ("decode_tokens_per_s", "decoding, tokens/s"),
        ("choice_accuracy", "multiple-choice accuracy"),
    )


def _speeds(rows: Rows, cells: Sequence[Cell]) -> "Figure | None":
    """Draw every repetition's decoding speed in the order they ran: drift and outliers show."""
    return _over_time(rows, "decode_tokens_per_s", "decoding, tokens/s")


def _thermals(rows: Rows, cells: Sequence[Cell]) -> "Figure | None":
    """Draw the hottest zone after each repetition."""
    return _over_time(rows, "temperature_c_after", "hottest zone after, degrees C")


def _sustained(rows: Rows, cells: Sequence[Cell]) -> "Figure | None":
    """Draw throughput prompt by prompt of the sustained runs."""
    import json

    from plotly.graph_objects import Figure, Scatter

    found = [row for row in rows if row["sustained_tokens_per_s"]]
    if not found:
        return None
    figure = Figure(layout=_layout("prompt", "generated tokens/s"))
    for row in found:
        speeds = json.loads(row["sustained_tokens_per_s"])
        figure.add_trace(Scatter(y=speeds, mode="lines+markers", name=_name(row)))
    return figure


def _power(rows: Rows, cells: Sequence[Cell]) -> "Figure | None":
    """Draw power over time with its phases, of the newest row that kept its samples."""
    from bench_melt.report.power import power_figure

    kept = [row for row in rows if row["samples_file"] and Path(row["samples_file"]).is_file()]
    return power_figure(kept[-1], _layout("s", "W")) if kept else None


_PICTURES: Mapping[str, Callable[[Rows, Sequence[Cell]], "Figure | None"]] = {
    "Speed against energy": _energy,
    "Quantisation: perplexity against speed": _trade,
    "Quantisation: multiple choice against speed": _choice,
    "Speed of every repetition": _speeds,
    "Temperature": _thermals,
    "Sustained runs": _sustained,
    "Power and phases": _power,
}


def _scatter(cells: Sequence[Cell], x: tuple[str, str], y: tuple[str, str]) -> "Figure | None":
    from plotly.graph_objects import Figure, Scatter

    found = [cell for cell in cells if x[0] in cell.metrics and y[0] in cell.metrics]
    if not found:
        return None
    figure = Figure(layout=_layout(x[1], y[1]))
    for cell in found:
        a, b = cell.metrics[x[0]], cell.metrics[y[0]]
        label = " ".join(filter(None, (cell.target, cell.model, cell.quantisation, cell.workload)))
        figure.add_trace(
            Scatter(
                x=[a.median],
                y=[b.median],
                name=label,
                mode="markers",
                marker={"size": 12},
                error_x=_interval(a.median, a.low, a.high),
                error_y=_interval(b.median, b.low, b.high),
            )
        )
    return figure


def _interval(median: float, low: float | None, high: float | None) -> dict[str, Any]:
    if low is None or high is None:
        return {}
    return {"type": "data", "array": [high - median], "arrayminus": [median - low]}


def _over_time(rows: Rows, column: str, label: str) -> "Figure | None":
    from plotly.graph_objects import Figure, Scatter

    series = list(_series(rows, column))
    if not series:
        return None
    figure = Figure(layout=_layout("started", label))
    for name, times, values in series:
        figure.add_trace(Scatter(x=times, y=values, mode="markers", name=name))
    return figure


def _series(rows: Rows, column: str) -> Iterator[tuple[str, list[str], list[float]]]:
    names = dict.fromkeys(_name(row) for row in rows if row[column] is not None)
    for name in names:
        chosen = [row for row in rows if row[column] is not None and _name(row) == name]
        yield name, [row["started_at"] for row in chosen], [row[column] for row in chosen]


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['target']} {row['model']} {row['workload']}"


def _layout(x: str, y: str) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}, "rangemode": "tozero"},
        "height": _HEIGHT_PX,
        "margin": {"t": 20},
        "template": "plotly_white",
        "showlegend": True,
    }
