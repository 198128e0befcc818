"""From the `[meter]` table of a TOML file to the meter that it describes."""

import difflib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bench_melt.meters.android import Collect, CurrentNowMeter, OdpmMeter
from bench_melt.meters.base import Clock, Meter, Shell
from bench_melt.meters.files import Files, LocalFiles, ShellFiles
from bench_melt.meters.hwmon import HwmonMeter
from bench_melt.meters.ios import Battery, IosBatteryMeter
from bench_melt.meters.joulescope import JoulescopeMeter
from bench_melt.meters.monsoon import MonsoonMeter
from bench_melt.meters.otii import OtiiMeter
from bench_melt.meters.ppk2 import Ppk2Meter
from bench_melt.meters.rapl import RaplMeter
from bench_melt.meters.replay import CsvMeter, SimulatedMeter, Waveform
from tinyengine.errors import UserError

_Way = TypeVar("_Way")


@dataclass(frozen=True, slots=True)
class Link:
    """What a meter inside the device needs of it; None: this computer, or not to be had.

    Attributes:
        shell: Runs a command line on the device, returns what it printed.
        collect: Fetches a file of the device.
        battery: Reads the properties of an iPhone's battery.
    """

    shell: Shell | None = None
    collect: Collect | None = None
    battery: Battery | None = None


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Every = Annotated[float, Field(gt=0, le=60)]
_Volt = Annotated[float, Field(gt=0, le=100)]


class CsvSpec(_Table):
    """Replays a recording."""

    kind: Literal["csv"]
    file: Path


class SimulatedSpec(_Table):
    """A known waveform; see `Waveform`."""

    kind: Literal["simulated"]
    steps: tuple[tuple[float, float], ...] = ()
    idle_w: float = 0.5
    voltage_v: _Volt = 3.8
    rate_hz: float = Field(default=5000.0, gt=0, le=1e6)
    offset_s: float = 0.0
    drift_ppm: float = Field(default=0.0, ge=-1e5, le=1e5)
    repeats: int = Field(default=1, ge=1, le=1000)
    loss: float = Field(default=0.0, ge=0, lt=1)
    gaps: tuple[tuple[float, float], ...] = ()
    noise_w: float = Field(default=0.0, ge=0)
    seed: int = Field(default=0, ge=0)
    mark_w: float = Field(default=3.0, ge=0)
    phases: dict[str, float] = Field(default_factory=dict)


class MonsoonSpec(_Table):
    """Monsoon HVPM or LVPM."""

    kind: Literal["monsoon"]
    model: Literal["HVPM", "LVPM"] = "HVPM"
    serial: int | None = None
    voltage_v: _Volt | None = None


class Ppk2Spec(_Table):
    """Nordic PPK2."""

    kind: Literal["ppk2"]
    voltage_v: _Volt
    port: str | None = None
    source: bool = True


class JoulescopeSpec(_Table):
    """Joulescope JS110 or JS220."""

    kind: Literal["joulescope"]
    serial: str | None = None
    rate_hz: int = Field(default=10_000, gt=0)


class OtiiSpec(_Table):
    """Otii Arc or Ace."""

    kind: Literal["otii"]
    host: str = "127.0.0.1"
    port: int = Field(default=1905, gt=0, lt=65536)
    device: str | None = None
    voltage_v: _Volt | None = None


class HwmonSpec(_Table):
    """INA3221 or INA2xx on the board itself."""

    kind: Literal["hwmon"]
    root: str = "/sys/class/hwmon"
    rail: str | None = None
    every_s: _Every = 0.02


class RaplSpec(_Table):
    """Energy counters of an x86 processor."""

    kind: Literal["rapl"]
    root: str = "/sys/class/powercap"
    domain: str = "package"
    every_s: _Every = 0.01


class OdpmSpec(_Table):
    """Power rails of an Android phone."""

    kind: Literal["odpm"]
    rails: tuple[str, ...] = ()
    every_s: _Every = 0.25


class CurrentNowSpec(_Table):
    """Battery gauge of an Android phone."""

    kind: Literal["current_now"]
    supply: str = Field(default="battery", pattern=r"^[\w-]+$")
    every_s: _Every = 0.1
    current_unit_a: float = Field(default=1e-6, gt=0)
    discharging: Literal[-1, 1] = -1


class IosSpec(_Table):
    """Battery gauge of an iPhone."""

    kind: Literal["ios"]
    every_s: _Every = 1.0


MeterSpec = Annotated[
    CsvSpec
    | SimulatedSpec
    | MonsoonSpec
    | Ppk2Spec
    | JoulescopeSpec
    | OtiiSpec
    | HwmonSpec
    | RaplSpec
    | OdpmSpec
    | CurrentNowSpec
    | IosSpec,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[MeterSpec] = TypeAdapter(MeterSpec)
_SPECS: tuple[type[_Table], ...] = (
    *(CsvSpec, SimulatedSpec, MonsoonSpec, Ppk2Spec, JoulescopeSpec, OtiiSpec),
    *(HwmonSpec, RaplSpec, OdpmSpec, CurrentNowSpec, IosSpec),
)


def meter_kinds() -> tuple[str, ...]:
    """Return the kinds of meters, sorted."""
    return tuple(sorted(_kind_of(spec) for spec in _SPECS))


def read_meter_spec(
    table: Mapping[str, Any], where: str = "[meter]", also: tuple[str, ...] = ()
) -> MeterSpec:
    """Check a table that describes a meter.

    Args:
        table: Key -> value.
        where: How messages call it.
        also: Further keys that may stand there, checked elsewhere: offered as the nearest.

    Raises:
        UserError: an unknown kind or key (the nearest is offered), a value missing or out of range.
    """
    kind = table.get("kind")
    if kind not in meter_kinds():
        said = "key 'kind' is missing" if kind is None else f"unknown meter kind '{kind}'"
        near = _nearest(str(kind), meter_kinds())
        raise UserError(f"{where}: {said}{near}; kinds: {', '.join(meter_kinds())}")
    try:
        return _ADAPTER.validate_python(dict(table))
    except ValidationError as error:
        (spec,) = (one for one in _SPECS if _kind_of(one) == kind)
        keys = (*spec.model_fields, *also)
        problems = [problem_of(problem, keys, tag=True) for problem in error.errors()]
        raise UserError(f"{where} of kind '{kind}': {'; '.join(problems)}") from error


def _kind_of(spec: type[_Table]) -> str:
    return str(spec.model_fields["kind"].annotation.__args__[0])  # type: ignore[union-attr]


def problem_of(problem: Any, keys: tuple[str, ...], *, tag: bool = False) -> str:
    """Say in words what is wrong with one key of a table; `tag`: its place begins with a kind."""
    key = ".".join(str(part) for part in problem["loc"][tag:])
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key '{key}'{_nearest(key, keys)}"
        case "missing":
            return f"key '{key}' is missing"
        case _:
            return f"key '{key}' is {problem['input']!r}: {problem['msg'].lower()}"


def _nearest(name: str, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def make_meter(spec: MeterSpec, link: Link | None = None, clock: Clock = time.monotonic) -> Meter:
    """Return the meter of a checked table, not started.

    Args:
        spec: What `read_meter_spec` returned.
        link: How to reach the device, for meters that are inside it.
        clock: The host's, for meters that have none of their own.

    Raises:
        UserError: a meter inside a device that this link does not reach.
    """
    link = link or Link()
    match spec:
        case CsvSpec():
            return CsvMeter(spec.file)
        case SimulatedSpec():
            fields = spec.model_dump(exclude={"kind", "drift_ppm"})
            return SimulatedMeter(Waveform(**fields, drift=spec.drift_ppm * 1e-6), clock)
        case MonsoonSpec():
            return MonsoonMeter(spec.model, spec.serial, spec.voltage_v)
        case Ppk2Spec():
            return Ppk2Meter(spec.voltage_v, spec.port, source=spec.source, clock=clock)
        case JoulescopeSpec():
            return JoulescopeMeter(spec.serial, spec.rate_hz)
        case OtiiSpec():
            return OtiiMeter(spec.host, spec.port, spec.device, spec.voltage_v)
        case HwmonSpec():
            return HwmonMeter(_files(spec.root, link), spec.rail, spec.every_s, clock)
        case RaplSpec():
            return RaplMeter(_files(spec.root, link), spec.domain, spec.every_s, clock)
        case OdpmSpec():
            shell, collect = _need(link.shell, "odpm"), _need(link.collect, "odpm")
            return OdpmMeter(shell, collect, spec.rails, spec.every_s)
        case CurrentNowSpec():
            shell = _need(link.shell, "current_now")
            unit_a, sign = spec.current_unit_a, spec.discharging
            return CurrentNowMeter(shell, spec.supply, spec.every_s, unit_a, sign, clock)
        case IosSpec():
            return IosBatteryMeter(_need(link.battery, "ios"), spec.every_s, clock)


def _files(root: str, link: Link) -> Files:
    return LocalFiles(Path(root)) if link.shell is None else ShellFiles(root, link.shell)


def _need(way: _Way | None, kind: str) -> _Way:
    if way is None:
        raise UserError(
            f"a meter of kind '{kind}' is inside the device: this target gives no way to ask it"
        )
    return way
