"""The `[targets.meter]` table of a suite: which meter, how long idle, how clocks are joined."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench_melt.meters.base import optional
from bench_melt.meters.make import (
    CsvSpec,
    CurrentNowSpec,
    HwmonSpec,
    IosSpec,
    JoulescopeSpec,
    MeterSpec,
    MonsoonSpec,
    OdpmSpec,
    OtiiSpec,
    Ppk2Spec,
    RaplSpec,
    SimulatedSpec,
    make_meter,
    problem_of,
    read_meter_spec,
)
from bench_melt.meters.replay import CsvMeter
from tinyengine.errors import UserError

Sync = Literal["load", "clock", "none"]

# the phone's boot clock stamps their samples, and its shell tells that clock
_BOOT_CLOCK = (OdpmSpec, CurrentNowSpec)


class Options(BaseModel):
    """The keys of the table that are not the meter's own.

    Attributes:
        idle_s: How long idle power is measured before each repetition; 0: not at all.
        sync: How clocks are joined. "load": by a load step that is made on the device before and
            after the work. "clock": the device's boot clock is read before and after. "none": one
            clock is taken for both.
        mark_s: How long such a load step lasts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    idle_s: float = Field(default=2.0, ge=0, le=600)
    sync: Sync = "load"
    mark_s: float = Field(default=0.5, ge=0.02, le=10)


class Metering(BaseModel):
    """The table, checked."""

    model_config = ConfigDict(frozen=True)

    spec: MeterSpec
    options: Options

    @property
    def kind(self) -> str:
        """The meter's kind."""
        return self.spec.kind


def read_metering(table: Mapping[str, Any], where: str) -> Metering:
    """Check a `[targets.meter]` table.

    Raises:
        UserError: an unknown kind or key (the nearest is offered), a value that is out of range, or
            `sync = "clock"` for a meter that has a clock of its own.
    """
    own = tuple(Options.model_fields)
    spec = read_meter_spec({k: v for k, v in table.items() if k not in own}, where, own)
    try:
        options = Options.model_validate({k: v for k, v in table.items() if k in own})
    except ValidationError as error:
        problems = "; ".join(problem_of(one, own) for one in error.errors())
        raise UserError(f"{where}: {problems}") from error
    if options.sync == "clock" and not isinstance(spec, _BOOT_CLOCK):
        raise UserError(
            f"{where}: sync = 'clock' is for meters that stamp with the device's boot clock (odpm, "
            f"current_now); kind '{spec.kind}' needs 'load', or 'none' where both clocks are one"
        )
    return Metering(spec=spec, options=options)


def placed(metering: Metering, folder: Path) -> Metering:
    """Return it with the path of a recording taken from the suite's folder."""
    match metering.spec:
        case CsvSpec(file=file):
            spec = CsvSpec(kind="csv", file=folder / file)
            return metering.model_copy(update={"spec": spec})
        case _:
            return metering


def check_metering(metering: Metering, *, on_this_computer: bool) -> None:
    """Find out what can be found out about a meter before a sweep begins.

    An instrument of the bench, or a meter of this computer, is started once and let go of.

    Raises:
        UserError: a package is missing, no permission, no such file or rail.
        DeviceError: it is not there or does not answer.
    """
    match metering.spec:
        case CsvSpec(file=file):
            CsvMeter(file).start()
        case OdpmSpec():
            optional("perfetto.protos.perfetto.trace.perfetto_trace_pb2", "perfetto")
        case HwmonSpec() | RaplSpec() if not on_this_computer:
            pass
        case HwmonSpec() | RaplSpec() | MonsoonSpec() | Ppk2Spec() | JoulescopeSpec() | OtiiSpec():
            with make_meter(metering.spec) as meter:
                meter.start()
        case CurrentNowSpec() | IosSpec() | SimulatedSpec():
            pass
