"""Both sides and the page that specifies them say the same."""

import re
from enum import IntEnum
from pathlib import Path

import pytest

from bench_melt.link import codes
from bench_melt.link.frame import Frame, encode_frame
from codegen.paths import firmware_dir

WIRE = Path(__file__).parents[2] / "docs" / "wire.md"


def constants(prefix: str) -> dict[str, int]:
    """Return the enumerators of the public headers that start with `prefix`."""
    text = "".join(path.read_text() for path in firmware_dir().glob("include/*.h"))
    found = re.findall(rf"\b{prefix}(\w+) = (0x[0-9A-Fa-f]+|\d+)\b", text)
    return {name: int(value, 0) for name, value in found}


@pytest.mark.parametrize(
    ("prefix", "enum", "other_names"),
    [
        ("TE_CODE_", codes.Code, {}),
        ("TE_REGION_", codes.Region, {}),
        ("TE_FAULT_", codes.FaultKind, {}),
        ("TE_TICK_", codes.TickUnit, {"NANOSECONDS": "NS"}),
        ("TE_", codes.DType, {}),
        ("TE_ERR_", codes.Status, {"ARGUMENT": "ARG"}),
        ("TE_LINK_", codes.Status, {"UNKNOWN_COMMAND": "UNKNOWN"}),
    ],
)
def test_the_numbers_are_those_of_the_firmware(
    prefix: str, enum: type[IntEnum], other_names: dict[str, str]
) -> None:
    theirs = constants(prefix)
    shared = {m.name: m for m in enum if other_names.get(m.name, m.name) in theirs}
    assert len(shared) >= 3
    for name, ours in shared.items():
        assert theirs[other_names.get(name, name)] == ours, name


def test_the_page_lists_every_command() -> None:
    page = WIRE.read_text(encoding="utf-8")
    for code in codes.Code:
        assert re.search(rf"^\| {code:02X} \| \(?{code.name}\)? ", page, re.MULTILINE), code


def test_the_page_s_worked_example_is_right() -> None:
    wire = encode_frame(Frame(0x1234, 0, codes.Code.HELLO, b"")).hex(" ")
    assert f"wire     {wire}\n" in WIRE.read_text(encoding="utf-8")


def test_payload_and_version_agree() -> None:
    assert constants("TE_FRAME_")["PAYLOAD"] == codes.PAYLOAD_BYTES
    assert constants("TE_SESSION_")["VERSION"] == codes.VERSION
