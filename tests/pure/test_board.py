"""Board files: the shipped ones load, a wrong one is refused with what is wrong."""

from pathlib import Path

import pytest

from codegen.board import board_names, load_board
from codegen.linker import render_linker_script
from tinyengine.errors import UserError

GOOD = """
name = "mine"
core = "cortex-m4"
features = ["fpu"]
[memory]
ram_origin = 0x20000000
ram_bytes = 65536
flash_origin = 0x08000000
flash_bytes = 262144
[build]
toolchain = "arm-none-eabi-"
port = "mine"
[run]
kind = "serial"
[serial]
baud = 115200
"""


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_board(str(path))
    assert str(path) in str(error.value)
    return str(error.value)


def test_shipped_boards_load_under_their_own_names() -> None:
    names = board_names()
    assert {"host", "qemu_mps2_an386", "qemu_mps2_an500", "qemu_mps3_an547"} <= set(names)
    for name in names:
        assert load_board(name).name == name


@pytest.mark.parametrize(
    ("name", "ram_bytes"),
    [("host", None), ("qemu_mps2_an500", 256 * 1024), ("qemu_netduinoplus2", 192 * 1024)],
)
def test_usable_ram(name: str, ram_bytes: int | None) -> None:
    assert load_board(name).ram_usable_bytes == ram_bytes


def test_a_board_of_ones_own_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    board = load_board(str(path))
    assert board.serial is not None and board.serial.baud == 115200
    assert board.clock_hz is None


def test_unknown_board_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown board 'qemu_an500'.*nearest: 'qemu_mps2_an500'"):
        load_board("qemu_an500")


def test_missing_file() -> None:
    with pytest.raises(UserError, match=r"cannot read board file 'nowhere/x\.toml': No such file"):
        load_board("nowhere/x.toml")


def test_not_toml(tmp_path: Path) -> None:
    assert "is not TOML" in refused(tmp_path, "name = ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ram_bytes", "ram_bites", "unknown key 'ram_bites' in [memory] (nearest: 'ram_bytes'"),
        ('core = "cortex-m4"', "", "key 'core' is missing"),
        ("65536", '"64K"', "key 'ram_bytes' in [memory] is '64K': input should be a valid integer"),
        ("cortex-m4", "cortex-m99", "key 'core' is 'cortex-m99'"),
        ('["fpu"]', '["fpv4"]', "key 'features' is 'fpv4'"),
        ("ram_bytes = 65536", "ram_bytes = 65530", "multiples of 8"),
        ("ram_bytes = 65536", "ram_bytes = 8\nram_limit_bytes = 16", "16 but ram_bytes only 8"),
        ("[serial]\nbaud = 115200", "", "kind = 'serial' needs a [serial] table"),
        ('"serial"', '"qemu"', "machine belongs to kind = 'qemu'"),
        ('"serial"', '"host"', "belong together"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert message in refused(tmp_path, GOOD.replace(old, new, 1))


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = refused(tmp_path, GOOD.replace("port", "prot").replace("baud", "bawd"))
    assert "unknown key 'prot' in [build] (nearest: 'port'" in text
    assert "unknown key 'bawd' in [serial] (nearest: 'baud'" in text


def test_linker_script_uses_the_limit_not_the_whole_ram() -> None:
    script = render_linker_script(load_board("qemu_mps2_an500"))
    assert "RAM (rw)   : ORIGIN = 0x20000000, LENGTH = 262144" in script
