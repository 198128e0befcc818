"""What a meter recorded, and the CSV file it is kept in."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench_melt.energy.table import open_table
from tinyengine.errors import UserError

Floats = npt.NDArray[np.float64]
COLUMNS = ("time_s", "voltage_v", "current_a")


@dataclass(frozen=True, slots=True)
class Samples:
    """A recording. All arrays are float64 (n,), finite; n >= 0.

    Attributes:
        time_s: Stamps of the meter's own clock as it gave them: never falling, maybe repeating.
        power_w: Power into the device.
        voltage_v: Supply voltage; None where the meter knows power or energy only.
        current_a: Supply current; likewise.
    """

    time_s: Floats
    power_w: Floats
    voltage_v: Floats | None = None
    current_a: Floats | None = None

    @staticmethod
    def of(time_s: Floats, voltage_v: Floats, current_a: Floats) -> "Samples":
        """Return the samples of a meter of voltage and current."""
        return Samples(time_s, voltage_v * current_a, voltage_v, current_a)

    def __len__(self) -> int:
        return len(self.time_s)


def read_samples(path: Path) -> Samples:
    """Read a recording: CSV with a header naming at least `time_s,voltage_v,current_a`.

    Further columns are ignored, lines may be blank, the order of the columns is free.

    Raises:
        UserError: no such file, not text, a column missing, a value that is not a finite number, a
            time stamp that goes back, or fewer than two samples; with the number of the line.
    """
    with open_table(path, "samples", COLUMNS) as (_, places):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "no data": told below
            rows = np.loadtxt(
                path,
                delimiter=",",
                skiprows=1,
                usecols=[places[name] for name in COLUMNS],
                comments=None,
                quotechar='"',
                ndmin=2,
                encoding="utf-8",
            )
    except (ValueError, IndexError) as error:
        raise _first_problem(path) from error
    if len(rows) < 2:
        raise UserError(f"samples '{path}': {len(rows)} rows of data; two are the least")
    with np.errstate(over="ignore", invalid="ignore"):
        samples = Samples.of(*np.ascontiguousarray(rows.T))
        fine = np.isfinite(rows).all(axis=1) & np.isfinite(samples.power_w)
        if not fine.all() or (np.diff(samples.time_s) < 0).any():
            raise _first_problem(path)
    return samples


def _first_problem(path: Path) -> UserError:
    """Read slowly, and return the error that names the first line that is wrong."""
    last_s = -np.inf
    with open_table(path, "samples", COLUMNS) as (rows, _):
        for line, fields in rows:
            where = f"samples '{path}' line {line}"
            values = []
            for name in COLUMNS:
                try:
                    values.append(float(fields[name]))
                except ValueError:
                    return UserError(f"{where}: {name} is {fields[name]!r}, not a number")
                if not np.isfinite(values[-1]):
                    return UserError(f"{where}: {name} is {fields[name].strip()}; drop such rows")
            time_s, voltage_v, current_a = values
            if time_s < last_s:
                return UserError(
                    f"{where}: time_s goes back from {last_s!r} to {time_s!r}; a recording whose "
                    "clock was set back cannot be joined: split it there"
                )
            if not np.isfinite(voltage_v * current_a):
                return UserError(f"{where}: voltage_v x current_a is beyond all numbers")
            last_s = time_s
    return UserError(f"cannot read samples '{path}': its rows do not parse as numbers")
