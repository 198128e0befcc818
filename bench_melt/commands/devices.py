"""`bench-melt devices`: what is plugged in, and whether it can be used."""

from dataclasses import asdict
from typing import Annotated

import typer

from bench_melt.targets.devices import search
from codegen.cli import print_json


def command(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """List serial ports, phones behind adb and iPhones behind usbmux, with what keeps one away."""
    found = search()
    if as_json:
        print_json(
            {
                "devices": [asdict(device) for device in found.devices],
                "unsearched": [
                    {"kind": kind, "reason": reason} for kind, reason in found.unsearched.items()
                ],
            }
        )
        return
    rows = [
        (device.kind, device.address, device.name or "", device.problem or "ready")
        for device in found.devices
    ]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(3)]
    for row in rows:
        columns = (f"{text:{width}}" for text, width in zip(row[:3], widths, strict=True))
        print("  ".join((*columns, row[3])))
    if not rows:
        print("nothing is plugged in")
    for kind, reason in found.unsearched.items():
        print(f"{kind}: not searched: {reason}")
