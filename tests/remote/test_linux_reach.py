"""Why a machine cannot be reached: each reason has its message, with what to do."""

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from bench_melt.targets.description import Connection, Description
from bench_melt.targets.reach import make_machine
from bench_melt.targets.ssh_errors import why
from bench_melt.targets.ssh_link import SshLink
from tests.bench_command import SUITE, bench_run
from tests.board_suites import program
from tests.sshd import Sshd, free_port, make_key, sshd
from tests.tiny_gguf import write_tiny_gguf
from tinyengine.errors import DeviceError, UserError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd") / "s") as made:
        yield made


def fails(server: Sshd, message: str, **more: object) -> None:
    with pytest.raises(DeviceError, match=message), server.machine(**more) as machine:
        machine.probe()


def test_nobody_listens(server: Sshd) -> None:
    user = server.connection().user
    port = free_port()
    fails(
        server,
        rf"machine 'board' \({user}@127.0.0.1:{port}\): refuses the connection: is sshd running",
        port=port,
    )


def test_an_unknown_host_key(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known").write_text("")
    public = (server.folder / "host.pub").read_text()
    shown = asyncssh.import_public_key(public).get_fingerprint()
    message = (
        rf"its host key \(ssh-ed25519 {shown.replace('+', '.')}\) is not in '.*known'; compare.*"
        rf"add it: ssh-keyscan -p {server.port} 127.0.0.1 >> .*known"
    )
    fails(server, message, known_hosts=tmp_path / "known")


def test_a_changed_host_key(server: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    public = (tmp_path / "other.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {public}")
    message = (
        r"its host key .* is not the one in '.*known': it was installed anew, or another computer "
        rf"answers.*ssh-keygen -f .*known -R '\[127.0.0.1\]:{server.port}'"
    )
    fails(server, message, known_hosts=tmp_path / "known")


def test_a_key_that_is_not_taken(server: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "mine")
    message = (
        r"permission denied: it does not take key '.*mine' for user '.*'; hand over the public key "
        rf"\(ssh-copy-id -p {server.port} -i .*mine.pub"
    )
    fails(server, message, key_file=tmp_path / "mine")


def test_the_agents_keys(server: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a key file: the agent of the environment, and ~/.ssh."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    fails(server, "does not take the keys of your agent and of ~/.ssh", key_file=None)
    (tmp_path / ".ssh").mkdir()
    shutil.copy(server.folder / "key", tmp_path / ".ssh" / "id_ed25519")
    with server.machine(key_file=None) as machine:
        assert machine.probe().architecture == os.uname().machine


@pytest.mark.parametrize("words", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n"])
def test_something_that_is_no_ssh_server(server: Sshd, words: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        fails(server, "what listens there does not speak ssh", port=listener.getsockname()[1])
        thread.join()


def test_a_silent_computer(server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = SshLink("board", server.connection(port=listener.getsockname()[1]))
        with pytest.raises(DeviceError, match="does not answer within 0.3 s: is it on"):
            link.connect(0.3)


def test_a_name_that_nobody_knows(server: Sshd) -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    told = why(error, server.connection(), 10.0)
    assert told == "no computer of this name is known (Name or service not known)"
    assert why(OSError(113, "No route to host"), server.connection(), 10.0) == (
        "cannot be reached: No route to host"
    )
    fails(server, r"board' \(.*a\.\.b.*\): no connection", address="a..b")


def test_a_server_without_file_transfer(tmp_path: Path) -> None:
    with sshd(tmp_path / "s", sftp="/no/such/sftp-server") as made, made.machine() as machine:
        machine.probe()
        with pytest.raises(DeviceError, match="'board' offers no file transfer"):
            machine.deploy(Path(__file__))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent", None, "cannot read key file '.*absent': No such file"),
        ("text", "hello", "'.*text' is no private key"),
        ("k.pub", "ssh-ed25519 AAAA x", r"no private key \(the public half\?"),
    ],
)
def test_a_key_file_that_is_none(
    server: Sshd, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        server.machine(key_file=tmp_path / name)


def test_a_key_file_with_a_passphrase(server: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "locked", "secret")
    with pytest.raises(UserError, match="has a passphrase: give it to your agent"):
        server.machine(key_file=tmp_path / "locked")


def test_known_hosts_that_are_none(server: Sshd, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read known hosts '.*absent'"):
        server.machine(known_hosts=tmp_path / "absent").probe()
    (tmp_path / "odd").write_text("[unclosed\n")
    with pytest.raises(UserError, match="'.*odd' is no file of known hosts"):
        server.machine(known_hosts=tmp_path / "odd").probe()


def test_a_machine_without_an_address() -> None:
    description = Description(
        name="x", summary="", kind="linux", tested="only in tests", connection=Connection()
    )
    with pytest.raises(UserError, match=r"machine 'x' has no address.*\[targets.connection\]"):
        make_machine(description)


def test_what_the_command_says_of_boards(
    server: Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A suite's mistake is told before anything runs; a board that is away is a row."""
    write_tiny_gguf(tmp_path / "tiny.gguf")
    path, db = tmp_path / "suite.toml", tmp_path / "results.sqlite"
    board = SUITE.replace('"local"', '"jetson_orin_nano"')
    at = f'"jetson_orin_nano"\nconnection = {{ address = "127.0.0.1", port = {free_port()} }}'
    program(tmp_path / "serve", "-c", "")
    served = board.replace("n_gen = 2", 'runner = { kind = "server", program = "serve" }')
    for text, code, words in (
        (served, 1, "machine 'jetson_orin_nano' has no address"),
        (board.replace('"jetson_orin_nano"', at), 1, "embedded runner serves on this computer"),
        (
            served.replace('"jetson_orin_nano"', at.replace("port", 'key_file = "no", port')),
            1,
            f"cannot read key file '{tmp_path / 'no'}'",
        ),
        (served.replace('"jetson_orin_nano"', at), 3, "refuses the connection: is sshd running"),
    ):
        path.write_text(text)
        assert bench_run([str(path), "--db", str(db)]) == code
        assert words in capsys.readouterr().err
