"""A board as its TOML file describes it; `boards/README.md` is the schema in words."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from codegen.paths import boards_dir
from codegen.tables import Table, nearest, read_table
from tinyengine.errors import UserError

Core = Literal["host", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"]
Feature = Literal["fpu", "dsp", "mve"]

_NAME = r"^[a-z0-9][a-z0-9_]*$"


class Memory(Table):
    """Where RAM and flash are; sizes in bytes."""

    ram_origin: int = Field(ge=0, lt=1 << 32)
    ram_bytes: int = Field(gt=0, le=1 << 32)
    ram_limit_bytes: int | None = Field(default=None, gt=0)
    flash_origin: int = Field(ge=0, lt=1 << 32)
    flash_bytes: int = Field(gt=0, le=1 << 32)
    vectors_origin: int | None = Field(default=None, ge=0, lt=1 << 32)

    @model_validator(mode="after")
    def _limit_fits(self) -> "Memory":
        if self.ram_limit_bytes is not None and self.ram_limit_bytes > self.ram_bytes:
            raise ValueError(
                f"ram_limit_bytes is {self.ram_limit_bytes} but ram_bytes only {self.ram_bytes}"
            )
        if self.ram_usable_bytes % 8 or self.ram_origin % 8:
            raise ValueError("ram_origin and the RAM's size must be multiples of 8")
        return self

    @property
    def ram_usable_bytes(self) -> int:
        """Bytes of RAM that a program may use: the limit where there is one."""
        return self.ram_limit_bytes or self.ram_bytes


class Build(Table):
    """How its firmware is compiled."""

    toolchain: str = Field(pattern=r"^([a-z0-9_]+-)*$")
    port: str = Field(pattern=_NAME)
    cflags: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()


class Run(Table):
    """What executes the firmware."""

    kind: Literal["host", "qemu", "serial"]
    machine: str | None = None
    uart: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _machine_fits(self) -> "Run":
        if (self.kind == "qemu") != (self.machine is not None):
            raise ValueError("machine belongs to kind = 'qemu', and to it alone")
        return self


class Serial(Table):
    """The UART of a real board."""

    baud: int = Field(gt=0)


class Flash(Table):
    """The tool that writes the firmware into a real board."""

    tool: Literal["openocd", "pyocd", "esptool", "platformio"]
    args: tuple[str, ...] = ()


class Meters(Table):
    """What counts on this board; a missing meter gives null, never an estimate."""

    instructions: Literal["qemu-plugin"] | None = None


class Board(Table):
    """One target of the generated C."""

    name: str = Field(pattern=_NAME)
    summary: str = ""
    core: Core
    features: tuple[Feature, ...] = ()
    clock_hz: int | None = Field(default=None, gt=0)
    memory: Memory | None = None
    build: Build
    run: Run
    serial: Serial | None = None
    flash: Flash | None = None
    meters: Meters = Meters()

    @model_validator(mode="after")
    def _complete(self) -> "Board":
        if self.core != "host" and self.memory is None:
            raise ValueError(f"core '{self.core}' needs a [memory] table")
        if (self.core == "host") != (self.run.kind == "host"):
            raise ValueError("core = 'host' and [run] kind = 'host' belong together")
        if self.run.kind == "serial" and self.serial is None:
            raise ValueError("[run] kind = 'serial' needs a [serial] table")
        return self

    @property
    def is_host(self) -> bool:
        """True for the computer that the tool runs on."""
        return self.core == "host"

    @property
    def ram_usable_bytes(self) -> int | None:
        """Bytes of RAM that a program may use; None where nothing limits it (host)."""
        return self.memory.ram_usable_bytes if self.memory else None

    def without_ram_limit(self) -> "Board":
        """The board with all of its RAM: for counting, which a limit does not change."""
        if self.memory is None:
            return self
        memory = self.memory.model_copy(update={"ram_limit_bytes": None})
        return self.model_copy(update={"memory": memory})


def board_names() -> tuple[str, ...]:
    """Return the names of the boards that ship with the tool, sorted."""
    return tuple(sorted(path.stem for path in boards_dir().glob("*.toml")))


def load_board(name_or_path: str) -> Board:
    """Read a shipped board by its name, or any board by the path of its TOML file.

    Raises:
        UserError: no such board or file, or the file breaks the schema.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return read_table(Path(name_or_path), Board, "board file")
    names = board_names()
    if name_or_path not in names:
        raise UserError(
            f"unknown board '{name_or_path}'{nearest(name_or_path, names)}; boards: "
            f"{', '.join(names)}; or give the path of a board's .toml file"
        )
    return read_table(boards_dir() / f"{name_or_path}.toml", Board, "board file")
