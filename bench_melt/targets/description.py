"""A phone, a board with Linux or this computer, as its TOML in `boards/machines/` describes it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from codegen.paths import boards_dir
from codegen.tables import Table, TextPath, nearest, read_table
from tinyengine.errors import UserError

Kind = Literal["local", "android", "linux", "ios"]


class Connection(Table):
    """How to reach it. What differs from desk to desk belongs in the suite file."""

    address: str | None = None  # linux: host name; android: serial or HOST:PORT; ios: UDID
    port: int | None = Field(default=None, gt=0, lt=65_536)
    user: str | None = None
    key_file: TextPath | None = None  # linux: private key; None: the agent's
    known_hosts: TextPath | None = None  # linux: None: the user's own file
    server: str | None = None  # HOST:PORT of the adb server or the usbmux socket, if not the usual
    root: TextPath = Path(
        "/"
    )  # where /sys and /proc hang: another folder stands in for them in tests


class MachineOverrides(Connection):
    """The same keys in a suite's target: what is given there wins."""


class Thermal(Table):
    """Which sensors gate the start of a repetition."""

    zones: tuple[str, ...] = ("*",)  # shell patterns of zone names


class App(Table):
    """The runner app of an iPhone."""

    bundle: str = Field(pattern=r"^[A-Za-z0-9.-]+$")  # its bundle id
    package: TextPath | None = None  # .ipa that is installed where it is not there yet


class Description(Table):
    """One machine of `boards/machines/`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    summary: str
    kind: Kind
    tested: str = Field(min_length=10)  # what was and what was not run on the real thing
    soc: str | None = None
    memory_bytes: int | None = Field(default=None, gt=0)
    staging: str = "bench-melt"  # folder of the machine that files go to; relative to the login's
    cores: dict[str, tuple[int, ...]] = Field(default_factory=dict)  # group -> core numbers
    app: App | None = None  # ios alone
    connection: Connection = Connection()
    thermal: Thermal = Thermal()

    def with_connection(self, given: Connection) -> "Description":
        """Return it with the keys that `given` sets in place of its own."""
        merged = self.connection.model_copy(
            update={name: getattr(given, name) for name in given.model_fields_set}
        )
        return self.model_copy(update={"connection": merged})

    def with_files_in(self, folder: Path) -> "Description":
        """Return it with the paths of files on this computer whole: ~, else from `folder`."""
        asked = self.connection
        files = {"key_file": asked.key_file, "known_hosts": asked.known_hosts}
        whole = {name: folder / path.expanduser() for name, path in files.items() if path}
        app = self.app
        if app is not None and app.package is not None:
            app = app.model_copy(update={"package": folder / app.package.expanduser()})
        return self.model_copy(update={"connection": asked.model_copy(update=whole), "app": app})

    def core_numbers(self, wanted: str | tuple[int, ...] | None) -> tuple[int, ...]:
        """Return the cores that a suite asks for: a group's, the numbers themselves, or none.

        Raises:
            UserError: no such group.
        """
        if wanted is None or isinstance(wanted, tuple):
            return wanted or ()
        if wanted not in self.cores:
            raise UserError(
                f"machine '{self.name}' has no cores called '{wanted}'"
                f"{nearest(wanted, tuple(self.cores))}; its groups: "
                f"{', '.join(self.cores) or 'none'}"
            )
        return self.cores[wanted]


def machine_names() -> tuple[str, ...]:
    """Return the names of the machines that ship with the tool, sorted."""
    return tuple(sorted(path.stem for path in (boards_dir() / "machines").glob("*.toml")))


def load_machine(name_or_path: str, folder: Path = Path()) -> Description:
    """Read a shipped description by its name, or any by the path of its TOML file.

    Args:
        name_or_path: The name or the path.
        folder: What a relative path is relative to.

    Raises:
        UserError: no such machine or file, or the file breaks the schema.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return read_table(folder / name_or_path, Description, "machine file")
    names = machine_names()
    if name_or_path not in names:
        raise UserError(
            f"unknown machine '{name_or_path}'{nearest(name_or_path, names)}; machines: "
            f"{', '.join(names)}; or give the path of a machine's .toml file"
        )
    path = boards_dir() / "machines" / f"{name_or_path}.toml"
    return read_table(path, Description, "machine file")
