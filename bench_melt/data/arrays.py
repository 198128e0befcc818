"""Reads .npy and .npz files that nobody vouches for: sizes are checked before memory is taken."""

import contextlib
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from tinyengine.errors import UserError
from tinyengine.ir.tensor import Array

MAX_ARRAY_BYTES = 2 << 30


def read_npy(path: Path) -> Array:
    """Return the array of a .npy file.

    Raises:
        UserError: no such file, damaged, holds Python objects, or too large.
    """
    with _told(path), path.open("rb") as file:
        return _read(file, path.stat().st_size, str(path))


def read_npz(path: Path, wanted: tuple[str, ...]) -> dict[str, Array]:
    """Return those of the arrays called `wanted` that a .npz file holds; others are not read.

    Raises:
        UserError: no such file, damaged, holds Python objects, or too large.
    """
    found: dict[str, Array] = {}
    with _told(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in wanted and name != info.filename:
                with archive.open(info) as member:
                    found[name] = _read(member, info.file_size, f"{path}:{name}")
    return found


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"no such file: '{path}'") from error
    except Exception as error:  # numpy's and zipfile's parsers raise a dozen kinds on rubbish
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"cannot read '{path}': {reason.splitlines()[0]}") from error


def _read(file: IO[bytes], file_bytes: int, where: str) -> Array:
    """Return the array of an open .npy file of `file_bytes` bytes."""
    shape, dtype, fortran = _header(file)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError(f"'{where}' holds {dtype}, not numbers")
    count = math.prod(shape)
    if count * dtype.itemsize > min(file_bytes, MAX_ARRAY_BYTES):
        raise ValueError(
            f"'{where}' claims {count * dtype.itemsize} bytes of data; the file has {file_bytes}, "
            f"the limit is {MAX_ARRAY_BYTES}"
        )
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise ValueError(f"'{where}' ends after {len(data)} of {count * dtype.itemsize} bytes")
    array: Array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), order="C", copy=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"npy format {version} is not understood")
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape} has a negative size")
    return shape, dtype, fortran


def npy_bytes(array: Array) -> bytes:
    """Return the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
