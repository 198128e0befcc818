"""What a meter recorded, and the CSV file it is kept in."""

import contextlib
import math
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench_melt.energy.table import Rows, open_table, open_text
from tinyengine.errors import UserError

Floats = npt.NDArray[np.float64]
COLUMNS = ("time_s", "voltage_v", "current_a")
COLUMNS_POWER = ("time_s", "power_w")
_KIND = "samples"


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


def read_samples(path: Path, after_line: int | None = None) -> Samples:
    """Read a recording: CSV with a header naming at least `time_s,voltage_v,current_a`.

    Or `time_s,power_w`, of a meter that knows power alone. Further columns are ignored, lines may
    be blank, the order of the columns is free, and gzip may have compressed it (.csv.gz).

    Args:
        path: The file.
        after_line: Take what follows this line (the header is line 1), without a last line that is
            not ended; None: all of it.

    Raises:
        UserError: no such file, not text, a column missing, a value that is not a finite number, a
            time stamp that goes back, or fewer than two samples; with the number of the line.
    """
    with open_samples(path) as (_, places, columns):
        pass
    source: Path | list[str] = path
    if after_line is not None:
        with open_text(path, _KIND) as file:
            source = [line for line in file if line.endswith("\n")][after_line:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "no data": told below
            rows = np.loadtxt(
                source,
                delimiter=",",
                skiprows=1 if after_line is None else 0,
                usecols=[places[name] for name in columns],
                comments=None,
                quotechar='"',
                ndmin=2,
                encoding="utf-8",
            )
    except (ValueError, IndexError, OSError, EOFError, zlib.error) as error:
        raise _first_problem(path) from error
    if len(rows) < 2:
        since = "" if after_line is None else f" since line {after_line}"
        raise UserError(f"samples '{path}': {len(rows)} rows of data{since}; two are the least")
    with np.errstate(over="ignore", invalid="ignore"):
        parts = np.ascontiguousarray(rows.T)
        samples = Samples.of(*parts) if columns == COLUMNS else Samples(*parts)
        fine = np.isfinite(rows).all(axis=1) & np.isfinite(samples.power_w)
        if not fine.all() or (np.diff(samples.time_s) < 0).any():
            raise _first_problem(path)
    return samples


@contextlib.contextmanager
def open_samples(path: Path) -> Iterator[tuple[Rows, dict[str, int], tuple[str, ...]]]:
    """Open a recording: its rows, the place of every column, and the columns that count.

    Raises:
        UserError: as `open_table`.
    """
    with open_text(path, _KIND) as file:
        names = [name.strip(' "') for name in file.readline().strip().split(",")]
    whole = {*COLUMNS} <= {*names}
    columns = COLUMNS_POWER if {*COLUMNS_POWER} <= {*names} and not whole else COLUMNS
    with open_table(path, _KIND, columns) as (rows, places):
        yield rows, places, columns


def count_lines(path: Path) -> int:
    """Return how many lines of a recording are ended.

    Raises:
        UserError: it cannot be read.
    """
    with open_text(path, _KIND) as file:
        return sum(line.endswith("\n") for line in file)


def _first_problem(path: Path) -> UserError:
    """Read slowly, and return the error that names the first line that is wrong."""
    last_s = -np.inf
    with open_samples(path) as (rows, _, columns):
        for line, fields in rows:
            where = f"{_KIND} '{path}' line {line}"
            values = []
            for name in columns:
                try:
                    values.append(float(fields[name]))
                except ValueError:
                    return UserError(f"{where}: {name} is {fields[name]!r}, not a number")
                if not np.isfinite(values[-1]):
                    return UserError(f"{where}: {name} is {fields[name].strip()}; drop such rows")
            time_s = values[0]
            if time_s < last_s:
                return UserError(
                    f"{where}: time_s goes back from {last_s!r} to {time_s!r}; a recording whose "
                    "clock was set back cannot be joined: split it there"
                )
            if not np.isfinite(math.prod(values[1:])):
                return UserError(f"{where}: voltage_v x current_a is beyond all numbers")
            last_s = time_s
    return UserError(f"cannot read samples '{path}': its rows do not parse as numbers")
