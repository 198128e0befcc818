"""Where a session may run: a pty, and a parent that gets killed."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

import pytest

from bench_melt.link.session import Session
from bench_melt.targets.base import make_target
from bench_melt.targets.host import HostTarget
from codegen.board import load_board
from tests.link_rig import build_fake, train_fake
from tinyengine.errors import UserError


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fake(tmp_path_factory.mktemp("fake"), "host")


def bridge(master: int, url: str, stop: threading.Event) -> None:
    """Carry bytes between a pty's master and a firmware's socket."""
    host, _, port = url.removeprefix("socket://").rpartition(":")
    with socket.create_connection((host, int(port))) as link:
        while not stop.is_set():
            ready, _, _ = select.select([master, link], [], [], 0.1)
            if master in ready:
                link.sendall(os.read(master, 4096))
            if link in ready:
                os.write(master, link.recv(4096))


def test_a_serial_port_works_like_a_socket(program: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    stop = threading.Event()
    with HostTarget(program) as target:
        carrier = threading.Thread(target=bridge, args=(master, target.start(), stop))
        carrier.start()
        board = load_board("host")
        with (
            make_target(board, program, port=os.ttyname(slave)) as wired,
            Session.open(wired.start(), baud=wired.baud) as session,
        ):
            through_pty = train_fake(session, 5)
        stop.set()
        carrier.join()
    os.close(master)
    os.close(slave)
    with HostTarget(program) as target, Session.open(target.start()) as session:
        assert train_fake(session, 5) == through_pty


def test_a_killed_parent_leaves_no_process_behind(program: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from bench_melt.targets.host import HostTarget\n"
        "target = HostTarget(Path(sys.argv[1]))\n"
        "print(target.start(), flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(program)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    port = int(parent.stdout.readline().strip().rpartition(":")[2])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.05)
    pytest.fail("the firmware's process is still listening")


def test_a_real_board_without_a_port_says_what_to_give(tmp_path: Path) -> None:
    text = Path(__file__).parents[2].joinpath("boards", "qemu_netduinoplus2.toml").read_text()
    text = text.replace('kind = "qemu"', 'kind = "serial"').replace(
        'machine = "netduinoplus2"', "[serial]\nbaud = 115200\n[x]"
    )
    board = tmp_path / "qemu_netduinoplus2.toml"
    board.write_text(text.split("[x]")[0])
    with pytest.raises(UserError, match="real hardware: name its port"):
        make_target(load_board(str(board)), tmp_path / "firmware.elf")
