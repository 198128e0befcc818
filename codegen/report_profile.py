"""The section of report.html that says what each layer took on a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2

_COLOURS = {
    "forward": "#4f81bd",
    "loss": "#999999",
    "input_gradient": "#d9793a",
    "weight_gradient": "#a05195",
    "update": "#5fa55a",
}
_BAR = 1000.0  # width of the longest bar, picture units


@dataclass(frozen=True, slots=True)
class ProfileSection:
    """What was counted: per layer and phase, in `unit`, means over `steps` training steps.

    rows: (layer, phase -> count), in the order of first execution. conditions: what else decides
    the counts, for people: the compiler, the emulator.
    """

    board: str
    unit: str
    steps: int
    rows: Sequence[tuple[str, Mapping[str, int]]]
    conditions: str = ""


def with_profile(page: str, section: ProfileSection) -> str:
    """Return report.html with the section at its end, in place of an older one of that board."""
    made = _render(section)
    first, last = made.splitlines()[0], made.splitlines()[-1]
    before, found, rest = page.partition(first)
    if found:
        _, _, after = rest.partition(f"{last}\n")
        return f"{before}{made}\n{after}"
    body, end, tail = page.rpartition("</body>")
    return f"{body}{made}\n{end}{tail}" if end else f"{page}{made}\n"


def _render(section: ProfileSection) -> str:
    sums = {phase: sum(counts[phase] for _, counts in section.rows) for phase in _COLOURS}
    whole = sum(sums.values())
    most = max((sum(counts.values()) for _, counts in section.rows), default=0)
    rows = [_row(layer, counts, whole, most) for layer, counts in section.rows]
    rows.append({**_row("all", sums, whole, most), "bars": ()})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("codegen", "templates"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("profile.html.j2").render(
        board=section.board,
        unit=section.unit,
        steps=section.steps,
        conditions=section.conditions,
        phases=[(phase.replace("_", " "), colour) for phase, colour in _COLOURS.items()],
        rows=rows,
    )


def _row(layer: str, counts: Mapping[str, int], whole: int, most: int) -> dict[str, object]:
    bars, at = [], 0.0
    for phase, colour in _COLOURS.items():
        width = _BAR * counts[phase] / most if most else 0.0
        if width:
            label = f"{phase.replace('_', ' ')}: {counts[phase]:,}"
            bars.append({"x": f"{at:.1f}", "width": f"{width:.1f}", "colour": colour,
                         "label": label})  # fmt: skip
        at += width
    total = sum(counts.values())
    return {
        "layer": layer,
        "numbers": [f"{counts[phase]:,}" if counts[phase] else "" for phase in _COLOURS],
        "total": f"{total:,}",
        "share": f"{100 * total / whole:.1f} %" if whole else "",
        "bars": bars,
    }
