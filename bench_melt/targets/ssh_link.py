"""An ssh connection that other threads may use."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from bench_melt.targets.description import Connection
from bench_melt.targets.ssh_channel import Channel
from bench_melt.targets.ssh_errors import read_key, where, why, why_host_key
from bench_melt.targets.ssh_loop import LoopThread
from tinyengine.errors import DeviceError, TinyEngineError, UserError

_Result = TypeVar("_Result")

_CONNECT_S = 10.0
_OPEN_S = 20.0
_CLOSE_S = 2.0
_ALIVE_S = 5.0  # between two signs of life, of the connection and of each command
_ALIVE_COUNT = 3  # unanswered ones after which the connection counts as lost
_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


class SshLink:
    """One connection. Host keys are always checked; keys come from a file or from the agent."""

    def __init__(self, name: str, connection: Connection) -> None:
        """Connect to nothing yet; `name` is the machine's, for messages.

        Raises:
            UserError: no address, or the key file is none.
        """
        self.name = name
        if not connection.address:
            raise UserError(
                f"machine '{name}' has no address: give its host name or IP address as 'address' "
                "in [targets.connection] of the suite"
            )
        self._connection = connection
        self._key = read_key(connection.key_file) if connection.key_file is not None else None
        self._loop: LoopThread | None = None
        self._ssh: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._channels: list[Channel] = []
        self._lost: str | None = None

    def connect(self, limit_s: float = _CONNECT_S) -> None:
        """Connect.

        Raises:
            UserError: the file of known hosts is none.
            DeviceError: unreachable, unknown host key, permission denied: says what to do.
        """
        self.close()
        self._lost = None
        self._loop = LoopThread(self.name)
        try:
            self._ssh = self._loop.call(self._connected(limit_s))
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """True while the connection stands."""
        return self._ssh is not None and self._lost is None

    def lost(self) -> str | None:
        """Return why the connection ended by itself, None if it did not."""
        return self._lost

    def call(
        self, work: Callable[[asyncssh.SSHClientConnection], Coroutine[Any, Any, _Result]]
    ) -> _Result:
        """Do something with the connection.

        Raises:
            DeviceError: it was lost, or the machine refuses.
        """
        loop, ssh = self._loop, self._ssh
        if loop is None or ssh is None:
            raise DeviceError(f"machine '{self.name}' is not connected")
        if self._lost is not None:
            raise self.lost_error()
        try:
            return loop.call(work(ssh))
        except (asyncssh.ChannelOpenError, asyncssh.DisconnectError, ConnectionError) as error:
            if self._lost is not None or not isinstance(error, asyncssh.ChannelOpenError):
                raise self.lost_error(str(error)) from error
            raise DeviceError(f"'{self.name}' refuses: {error}") from error

    def lost_error(self, reason: str = "") -> DeviceError:
        """Return the error that says so."""
        return DeviceError(f"the connection to '{self.name}' was lost: {self._lost or reason}")

    def open(self, command: str, first: bytes) -> Channel:
        """Run a command, with its first input."""

        async def opened(ssh: asyncssh.SSHClientConnection) -> Channel:
            channel = Channel()
            made = ssh.create_session(lambda: channel, command, encoding=None)
            await asyncio.wait_for(made, _OPEN_S)
            channel.write(first)
            return channel

        try:
            channel = self.call(opened)
        except TimeoutError as error:
            raise DeviceError(f"'{self.name}' does not open a session in {_OPEN_S:g} s") from error
        self._channels = [old for old in self._channels if not old.over()] + [channel]
        return channel

    def soon(self, act: Callable[[], None]) -> None:
        """Have the loop's thread do something."""
        if self._loop is not None:
            self._loop.soon(act)

    def sftp(self) -> asyncssh.SFTPClient:
        """Return the connection's file transfer.

        Raises:
            DeviceError: the machine has none.
        """
        if self._sftp is None:

            async def opened(ssh: asyncssh.SSHClientConnection) -> asyncssh.SFTPClient:
                return await ssh.start_sftp_client()

            try:
                self._sftp = self.call(opened)
            except asyncssh.SFTPError as error:
                raise DeviceError(
                    f"'{self.name}' offers no file transfer (sftp): {error}; install its "
                    "openssh-sftp-server"
                ) from error
        return self._sftp

    @contextmanager
    def forward(self, port: int) -> Iterator[str]:
        """Make a TCP port of the machine's loopback reachable here, on a port of ours."""

        async def opened(ssh: asyncssh.SSHClientConnection) -> asyncssh.SSHListener:
            return await ssh.forward_local_port("127.0.0.1", 0, "127.0.0.1", port)

        listener = self.call(opened)
        try:
            yield f"127.0.0.1:{listener.get_port()}"
        finally:
            self.soon(listener.close)

    def close(self) -> None:
        """Let go of everything; harmless twice."""
        loop, ssh = self._loop, self._ssh
        self._loop = self._ssh = self._sftp = None
        if loop is None:
            return
        if ssh is not None:
            with contextlib.suppress(TimeoutError, TinyEngineError, OSError, asyncssh.Error):
                loop.call(_closed(ssh), _CLOSE_S + 1.0)
        loop.close()

    async def _connected(self, limit_s: float) -> asyncssh.SSHClientConnection:
        asked = self._connection
        known = _known_hosts(asked.known_hosts)
        options: dict[str, Any] = {"port": asked.port} if asked.port else {}
        if asked.user:
            options["username"] = asked.user
        if self._key is not None:
            options |= {"client_keys": [self._key], "agent_path": None}
        try:
            ssh = await asyncssh.connect(
                str(asked.address),
                known_hosts=known,
                preferred_auth="publickey",
                connect_timeout=limit_s,
                login_timeout=limit_s,
                keepalive_interval=_ALIVE_S,
                keepalive_count_max=_ALIVE_COUNT,
                client_factory=lambda: _Watcher(self._note_loss),
                **options,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            reason = why_host_key(known, await _host_key(asked, limit_s), asked)
            raise self._unreached(reason) from error
        except (OSError, ValueError, asyncssh.Error) as error:
            raise self._unreached(why(error, asked, limit_s)) from error
        self._beat = asyncio.create_task(self._beats())
        return ssh

    def _unreached(self, reason: str) -> DeviceError:
        return DeviceError(f"machine '{self.name}' ({where(self._connection)}): {reason}")

    def _note_loss(self, error: Exception | None) -> None:
        self._lost = str(error or "it was closed from there")

    async def _beats(self) -> None:
        """Tell every command that we live: what hears nothing for long ends itself."""
        while True:
            await asyncio.sleep(_ALIVE_S)
            for channel in self._channels:
                if not channel.over():
                    channel.write(b"\n")


class _Watcher(asyncssh.SSHClient):
    """Is told when the connection ends."""

    def __init__(self, tell: Callable[[Exception | None], None]) -> None:
        self._tell = tell

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncssh."""
        self._tell(exc)


async def _closed(ssh: asyncssh.SSHClientConnection) -> None:
    ssh.close()
    try:
        await asyncio.wait_for(ssh.wait_closed(), _CLOSE_S)
    except TimeoutError:
        ssh.abort()


async def _host_key(connection: Connection, limit_s: float) -> asyncssh.SSHKey | None:
    """Return the key that the host shows, for the message only."""
    options: dict[str, Any] = {"port": connection.port} if connection.port else {}
    with contextlib.suppress(OSError, asyncssh.Error):
        shown = asyncssh.get_server_host_key(str(connection.address), **options)
        return await asyncio.wait_for(shown, limit_s)
    return None


def _known_hosts(file: Path | None) -> asyncssh.SSHKnownHosts:
    """Return the hosts of a file, or of the user's and the system's own.

    Raises:
        UserError: the named file is not there, or is none.
    """
    files: Sequence[Path] = (
        [path for name in _KNOWN_HOSTS if (path := Path(name).expanduser()).is_file()]
        if file is None
        else [file]
    )
    if not files:
        return asyncssh.import_known_hosts("")
    try:
        return asyncssh.read_known_hosts([str(path) for path in files])
    except OSError as error:
        raise UserError(f"cannot read known hosts '{error.filename}': {error.strerror}") from error
    except ValueError as error:
        names = "', '".join(str(path) for path in files)
        raise UserError(f"'{names}' is no file of known hosts: {error}") from error
