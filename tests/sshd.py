"""A real sshd on 127.0.0.1 with throw-away keys, for tests; runs as whoever runs the tests."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench_melt.targets.description import Connection, Description
from bench_melt.targets.linux import LinuxMachine
from tests.needs import which

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp {sftp}
SetEnv HOME={folder}/home PATH={folder}/bin:{path}
{more}
"""


@dataclass(frozen=True)
class Sshd:
    """Where it listens, and the folder with its keys and its login's home."""

    port: int
    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def connection(self, **more: object) -> Connection:
        given: dict[str, object] = {
            "address": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "key_file": self.folder / "key",
            "known_hosts": self.folder / "known_hosts",
            **more,
        }
        return Connection.model_validate(given)

    def machine(self, **more: object) -> LinuxMachine:
        return LinuxMachine(self.description(**more))

    def description(self, *, staging: str | None = None, **more: object) -> Description:
        return Description(
            name="board",
            summary="sshd on the loopback",
            kind="linux",
            tested="only in tests",
            staging=staging or str(self.home / "staged"),
            connection=self.connection(**more),
        )

    def know(self, port: int) -> None:
        """Let its host key be known at another port too: of a proxy before it."""
        key = (self.folder / "host.pub").read_text()
        with (self.folder / "known_hosts").open("a") as file:
            file.write(f"[127.0.0.1]:{port} {key}")


@contextmanager
def sshd(
    folder: Path,
    *,
    more: str = "",
    sftp: str = "internal-sftp",
    tools: Mapping[str, str] | None = None,
) -> Iterator[Sshd]:
    """Run one while the block does; `tools` are scripts for its login's PATH."""
    (folder / "home").mkdir(parents=True)
    (folder / "bin").mkdir()
    for name, text in (tools or {}).items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    make_key(folder / "host")
    make_key(folder / "key")
    shutil.copy(folder / "key.pub", folder / "authorized")
    port = free_port()
    made = Sshd(port, folder)
    made.know(port)
    config = folder / "config"
    path = os.environ.get("PATH", "")
    config.write_text(_CONFIG.format(port=port, folder=folder, sftp=sftp, path=path, more=more))
    argv = [str(which("sshd")), "-D", "-e", "-f", str(config)]
    if os.geteuid() == 0:
        # root's sshd drops its rights in an empty folder that the service would have made
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log)
        try:
            _wait(port, process, folder / "log")
            yield made
        finally:
            process.terminate()
            process.wait()


def make_key(path: Path, passphrase: str = "") -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_words(words: Sequence[str]) -> list[int]:
    """Return the processes whose command line holds all of `words`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().decode(errors="replace")
            if all(word in line for word in words):
                found.append(int(path.parent.name))
    return found


def gone(*words: str, limit_s: float = 10.0) -> bool:
    """Return whether no process with these words is left, soon."""
    end_s = time.monotonic() + limit_s
    while with_words(words):
        if time.monotonic() > end_s:
            return False
        time.sleep(0.02)
    return True


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    raise AssertionError(f"sshd does not listen: {log.read_text()}")
