"""The picture of a recording: power over time, the phases as bands."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_melt.energy.samples import read_samples

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_POINTS_MAX = 5000
_COLOURS = {"prefill": "#1f77b4", "decode": "#2ca02c", "load": "#ff7f0e", "sync": "#9467bd"}


def power_figure(row: Mapping[str, Any], layout: Mapping[str, Any]) -> "Figure":
    """Draw the samples file of a row, its details' phases over it.

    Long recordings are drawn by their means over equal stretches: no pulse's energy is lost.
    """
    from plotly.graph_objects import Figure, Scatter

    samples = read_samples(Path(row["samples_file"]))
    time_s, power_w = samples.time_s, samples.power_w
    step = -(-len(time_s) // _POINTS_MAX)
    whole = len(time_s) // step * step
    shown_s = time_s[:whole].reshape(-1, step).mean(axis=1)
    shown_w = power_w[:whole].reshape(-1, step).mean(axis=1)
    figure = Figure(layout=dict(layout))
    figure.add_trace(Scatter(x=shown_s, y=shown_w, mode="lines", name="power", line={"width": 1}))
    for phase in json.loads(row["details"]).get("phases", ()):
        figure.add_vrect(
            x0=phase["start_s"],
            x1=phase["end_s"],
            fillcolor=_COLOURS.get(phase["phase"], "#7f7f7f"),
            opacity=0.2,
            line_width=0,
        )
    return figure
