import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_melt.link.fault import DeviceFaultError
from bench_melt.link.session import Session
from bench_melt.targets.base import make_target
from bench_melt.targets.host import HostTarget
from bench_melt.targets.plugin import plugin_library
from bench_melt.targets.qemu import QemuTarget
from codegen.board import load_board
from tests.link_rig import build_fake, train_fake, train_written
from tests.proxy import LossyProxy
from tinyengine.errors import DeviceError, UserError

BOARDS = ("qemu_mps2_an500", "qemu_mps2_an386", "qemu_mps3_an547", "qemu_netduinoplus2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fake")


@pytest.fixture(scope="module")
def host_hashes(folder: Path) -> list[str]:
    with HostTarget(build_fake(folder, "host")) as target, Session.open(target.start()) as opened:
        return [*train_fake(opened, 20), train_written(opened, 3)]


@pytest.fixture
def an500(folder: Path) -> Iterator[tuple[QemuTarget, Session]]:
    elf = build_fake(folder, "qemu_mps2_an500")
    with QemuTarget(elf, "mps2-an500") as target, Session.open(target.start()) as opened:
        yield target, opened


@pytest.mark.parametrize("board_name", BOARDS)
def test_every_board_gets_the_host_s_bits(
    folder: Path, host_hashes: list[str], board_name: str
) -> None:
    elf = build_fake(folder, board_name)
    with (
        make_target(load_board(board_name), elf) as target,
        Session.open(target.start()) as opened,
    ):
        assert [*train_fake(opened, 20), train_written(opened, 3)] == host_hashes
        assert opened.counters() is None  # an emulator has no cycles to count


def test_instructions_are_counted_at_each_mark_and_repeat(
    an500: tuple[QemuTarget, Session],
) -> None:
    target, session = an500
    counter = target.counter
    assert counter is not None
    session.forward()
    assert len(counter.read()) == session.info.forward_marks == 2
    steps = []
    for _ in range(3):
        session.fill(1, 1)
        session.reset()
        session.train(1)
        marks = counter.read()
        assert len(marks) == session.info.train_marks == 3
        steps.append([b - a for a, b in itertools.pairwise(marks)])
    assert steps[0] == steps[1] == steps[2]
    assert all(10 < count < 2000 for count in steps[0])
    assert counter.read() == []


def test_a_second_program_may_connect_after_the_first(an500: tuple[QemuTarget, Session]) -> None:
    _, session = an500
    session.train(0)
    url = session.exchange.transport.name
    session.close()
    with Session.open(url) as again:
        assert again.hyper().step == 1


@pytest.mark.parametrize("machine", ["mps2-an500", "mps3-an547"])
def test_a_write_past_256_kb_is_told_over_the_wire(tmp_path: Path, machine: str) -> None:
    board = f"qemu_{machine.replace('-', '_')}"
    elf = build_fake(tmp_path, board, defines=("TE_FAKE_OVERRUN=0x20040000",))
    with QemuTarget(elf, machine) as target, Session.open(target.start()) as opened:
        opened.train(1)
        with pytest.raises(DeviceFaultError, match="memory fault: .* at 0x20040000") as caught:
            opened.train(2)
        assert caught.value.fault.cfsr & 0xFF == 0x82
        with pytest.raises(DeviceFaultError):  # it has stopped, and keeps saying so
            opened.train(1)


@pytest.mark.parametrize("machine", ["mps2-an386", "mps3-an547"])
def test_a_write_through_a_null_pointer_is_a_fault(tmp_path: Path, machine: str) -> None:
    board = f"qemu_{machine.replace('-', '_')}"
    elf = build_fake(tmp_path, board, defines=("TE_FAKE_OVERRUN=8",))
    with (
        QemuTarget(elf, machine) as target,
        Session.open(target.start()) as opened,
        pytest.raises(DeviceFaultError, match="memory fault: .* at 0x00000008"),
    ):
        opened.train(2)


def test_a_write_past_192_kb_is_a_fault(tmp_path: Path) -> None:
    elf = build_fake(tmp_path, "qemu_netduinoplus2", defines=("TE_FAKE_OVERRUN=0x20030000",))
    with (
        QemuTarget(elf, "netduinoplus2") as target,
        Session.open(target.start()) as opened,
        pytest.raises(DeviceFaultError, match="at 0x20030000"),
    ):
        opened.train(2)


def test_a_fault_report_gets_through_a_bad_cable(tmp_path: Path) -> None:
    elf = build_fake(tmp_path, "qemu_mps2_an500", defines=("TE_FAKE_OVERRUN=0x20040000",))
    with (
        QemuTarget(elf, "mps2-an500") as target,
        LossyProxy(target.start(), drop=0.01, double=0.01, flip=0.01, seed=1) as proxy,
        Session.open(proxy.url, patience_s=60.0) as opened,
        pytest.raises(DeviceFaultError),
    ):
        opened.train(2)


def test_an_emulated_board_behind_a_bad_cable(folder: Path, host_hashes: list[str]) -> None:
    elf = build_fake(folder, "qemu_mps2_an500")
    with (
        QemuTarget(elf, "mps2-an500") as target,
        LossyProxy(target.start(), drop=0.01, double=0.01, flip=0.01, seed=2) as proxy,
        Session.open(proxy.url, patience_s=60.0) as opened,
    ):
        assert train_fake(opened, 20) == host_hashes[:20]


def test_a_long_step_is_waited_for(tmp_path: Path) -> None:
    elf = build_fake(tmp_path, "qemu_mps2_an386", defines=("TE_FAKE_SLOW=30000000",))
    with QemuTarget(elf, "mps2-an386") as target, Session.open(target.start()) as opened:
        opened.train(1)
        assert opened.hyper().step == 1


def test_the_lowest_stack_address_is_seen(folder: Path) -> None:
    elf = build_fake(folder, "qemu_mps2_an500")
    watch = (0x2003F000, 0x20040000)
    with (
        QemuTarget(elf, "mps2-an500", watch_stack=watch) as target,
        Session.open(target.start()) as opened,
    ):
        opened.train(1)
        assert target.counter is not None
        lowest = target.counter.lowest_stack_address()
        assert lowest is not None
        assert 0 < 0x20040000 - lowest < 1024


def test_without_a_plugin_nothing_is_counted_and_all_else_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elf = build_fake(folder, "qemu_mps2_an500")
    monkeypatch.setattr("bench_melt.targets.qemu.plugin_library", lambda: None)
    with QemuTarget(elf, "mps2-an500") as target, Session.open(target.start()) as opened:
        opened.train(1)
        assert target.counter is None


def test_a_plugin_that_qemu_refuses_is_done_without(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elf = build_fake(folder, "qemu_mps2_an500")
    bad = tmp_path / "bad.so"
    bad.write_bytes(b"not a library")
    monkeypatch.setattr("bench_melt.targets.qemu.plugin_library", lambda: bad)
    with QemuTarget(elf, "mps2-an500") as target, Session.open(target.start()) as opened:
        opened.train(1)
        assert target.counter is None


def test_the_plugin_is_built_once(tmp_path: Path) -> None:
    first = plugin_library(tmp_path)
    assert first is not None
    stamp = first.stat().st_mtime_ns
    assert plugin_library(tmp_path) == first
    assert first.stat().st_mtime_ns == stamp
    assert list(tmp_path.iterdir()) == [first]


def test_no_compiler_means_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert plugin_library(tmp_path) is None


def test_an_unknown_machine_is_reported_with_qemu_s_words(folder: Path) -> None:
    elf = build_fake(folder, "qemu_mps2_an500")
    with pytest.raises(DeviceError, match="does not start: .*unsupported machine"):
        QemuTarget(elf, "mps2-an9999", count=False).start()


def test_missing_firmware_and_missing_qemu_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="tinyengine-codegen build"):
        QemuTarget(tmp_path / "none.elf", "mps2-an500").start()
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match="install package qemu-system-arm"):
        QemuTarget(tmp_path / "none.elf", "mps2-an500").start()
