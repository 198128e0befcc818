"""Why an ssh connection could not be made, and what to do about it."""

import shlex
import socket
from pathlib import Path

import asyncssh

from bench_melt.targets.description import Connection
from tinyengine.errors import UserError

_PORT = 22


def where(connection: Connection) -> str:
    """Return "user@host:port" of what is known of them."""
    user = f"{connection.user}@" if connection.user else ""
    port = f":{connection.port}" if connection.port else ""
    return f"{user}{connection.address}{port}"


def why(error: Exception, connection: Connection, limit_s: float) -> str:
    """Return what a failure to connect means; host keys are told of by `why_host_key`."""
    match error:
        case asyncssh.PermissionDenied():
            return _denied(connection)
        case ConnectionRefusedError():
            return "refuses the connection: is sshd running there, and is this its port?"
        case socket.gaierror():
            return f"no computer of this name is known ({error.strerror})"
        case TimeoutError():
            return f"does not answer within {limit_s:g} s: is it on, and on this network?"
        case asyncssh.ConnectionLost() | asyncssh.ProtocolError() | ConnectionResetError():
            return f"what listens there does not speak ssh, or hung up: {error}"
        case OSError():
            return f"cannot be reached: {error.strerror or error}"
        case _:
            return f"no connection: {error}"


def why_host_key(
    known: asyncssh.SSHKnownHosts, key: asyncssh.SSHKey | None, connection: Connection
) -> str:
    """Return what is wrong with a host key that is not the one we know."""
    host, port = str(connection.address), connection.port or _PORT
    file = connection.known_hosts or Path("~/.ssh/known_hosts")
    entry = host if port == _PORT else f"[{host}]:{port}"
    shown = f"{key.get_algorithm()} {key.get_fingerprint()}" if key is not None else "not shown"
    if any(asyncssh.match_known_hosts(known, host, "", port if port != _PORT else None)[:2]):
        return (
            f"its host key ({shown}) is not the one in '{file}': it was installed anew, or "
            f"another computer answers in its place; if you know why, forget the old key with: "
            f"ssh-keygen -f {file} -R {shlex.quote(entry)}"
        )
    scan = f"ssh-keyscan -p {port} {shlex.quote(host)} >> {file}"
    return (
        f"its host key ({shown}) is not in '{file}'; compare the fingerprint with the one that "
        f"'ssh-keygen -lf' tells on the machine itself, then add it: {scan}"
    )


def read_key(path: Path) -> asyncssh.SSHKey:
    """Read a private key.

    Raises:
        UserError: no such file, no private key, or one with a passphrase.
    """
    try:
        return asyncssh.read_private_key(str(path))
    except OSError as error:
        raise UserError(f"cannot read key file '{path}': {error.strerror}") from error
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        if "assphrase" in str(error):
            raise UserError(
                f"key file '{path}' has a passphrase: give it to your agent (ssh-add {path}) and "
                "leave 'key_file' out"
            ) from error
        public = " (the public half? name the file without .pub)" if path.suffix == ".pub" else ""
        raise UserError(f"'{path}' is no private key{public}: {error}") from error


def _denied(connection: Connection) -> str:
    file = connection.key_file
    tried = f"key '{file}'" if file else "the keys of your agent and of ~/.ssh"
    port = f"-p {connection.port} " if connection.port else ""
    identity = f"-i {shlex.quote(f'{file}.pub')} " if file else ""
    user = f"{connection.user}@" if connection.user else ""
    return (
        f"permission denied: it does not take {tried} for "
        f"{f'user {connection.user!r}' if connection.user else 'this user'}; hand over the public "
        f"key (ssh-copy-id {port}{identity}{user}{connection.address}), or name another "
        "'user' or 'key_file'"
    )
