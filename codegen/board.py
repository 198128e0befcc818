"""A board as its TOML file describes it; `boards/README.md` is the schema in words."""

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from codegen.paths import boards_dir
from tinyengine.errors import UserError

Core = Literal["host", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"]
Feature = Literal["fpu", "dsp", "mve"]

_NAME = r"^[a-z0-9][a-z0-9_]*$"


class _Table(BaseModel):
    """One TOML table: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Memory(_Table):
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


class Build(_Table):
    """How its firmware is compiled."""

    toolchain: str = Field(pattern=r"^([a-z0-9_]+-)*$")
    port: str = Field(pattern=_NAME)
    cflags: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()


class Run(_Table):
    """What executes the firmware."""

    kind: Literal["host", "qemu", "serial"]
    machine: str | None = None
    uart: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _machine_fits(self) -> "Run":
        if (self.kind == "qemu") != (self.machine is not None):
            raise ValueError("machine belongs to kind = 'qemu', and to it alone")
        return self


class Serial(_Table):
    """The UART of a real board."""

    baud: int = Field(gt=0)


class Flash(_Table):
    """The tool that writes the firmware into a real board."""

    tool: Literal["openocd", "pyocd", "esptool", "platformio"]
    args: tuple[str, ...] = ()


class Meters(_Table):
    """What counts on this board; a missing meter gives null, never an estimate."""

    instructions: Literal["qemu-plugin"] | None = None


class Board(_Table):
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
        return _read(Path(name_or_path))
    names = board_names()
    if name_or_path not in names:
        raise UserError(
            f"unknown board '{name_or_path}'{_nearest(name_or_path, names)}; boards: "
            f"{', '.join(names)}; or give the path of a board's .toml file"
        )
    return _read(boards_dir() / f"{name_or_path}.toml")


def _read(path: Path) -> Board:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read board file '{path}': {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"board file '{path}' is not TOML: {error}") from error
    try:
        # the strict model takes no list where a tuple is declared
        return Board.model_validate(_tuples(table))
    except ValidationError as error:
        raise UserError(f"board file '{path}': {'; '.join(_problems(error))}") from error


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        # an array's index says nothing to the reader: name the array
        *table, key = [part for part in problem["loc"] if isinstance(part, str)] or [""]
        where = f" in [{'.'.join(table)}]" if table else ""
        match problem["type"]:
            case "extra_forbidden":
                yield f"unknown key '{key}'{where}{_nearest(key, _keys(table))}"
            case "missing":
                yield f"key '{key}'{where} is missing"
            case "value_error":
                yield problem["msg"].removeprefix("Value error, ") + (f" in [{key}]" if key else "")
            case _:
                yield f"key '{key}'{where} is {problem['input']!r}: {problem['msg'].lower()}"


def _keys(table: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that the schema knows in a (nested) table."""
    model: type[BaseModel] = Board
    for name in table:
        field = model.model_fields.get(name)
        options = (field.annotation, *get_args(field.annotation)) if field else ()
        found = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not found:
            return ()
        model = found[0]
    return tuple(model.model_fields)


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f" (nearest: {', '.join(repr(name) for name in close)})" if close else ""
