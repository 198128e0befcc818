"""The trainable state of a device: read, given the model's own shapes, saved."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench_melt.data.arrays import npy_bytes
from bench_melt.link.session import Session
from codegen.manifest import Manifest
from tinyengine.errors import DeviceError, UserError
from tinyengine.ir.tensor import Array, DType

_EPOCH = (1980, 1, 1, 0, 0, 0)  # no clock in the file: equal states give equal bytes


def read_state(session: Session, manifest: Manifest) -> dict[str, Array]:
    """Return every tensor of the device's state by name, in state order.

    Raises:
        DeviceError: the device has other tensors than the manifest says, or fails.
    """
    found: dict[str, Array] = {}
    for index, tensor in enumerate(manifest.state):
        dtype = DType(tensor.dtype).numpy.newbyteorder("<")
        data = session.read_state(index)
        if len(data) != int(np.prod(tensor.shape)) * dtype.itemsize:
            raise DeviceError(
                f"state tensor {index} of the device has {len(data)} bytes, '{tensor.name}' of "
                f"shape {tensor.shape} and type {tensor.dtype} does not; build and flash it again"
            )
        found[tensor.name] = np.frombuffer(data, dtype).reshape(tensor.shape)
    return found


def check_writable(path: Path) -> None:
    """Fail before the work rather than after it.

    Raises:
        UserError: a file cannot be written there.
    """
    if path.is_dir():
        raise UserError(f"cannot write '{path}': it is a folder")
    if not path.parent.is_dir():
        raise UserError(f"cannot write '{path}': there is no folder '{path.parent}'")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"cannot write '{path}': permission denied")


def save_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as .npz, whole or not at all; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            archive.writestr(info, npy_bytes(array), zipfile.ZIP_DEFLATED)
    write_whole(path, buffer.getvalue())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside its place, then move it there."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a pipe or a device
        return
    fresh = path.with_name(f"{path.name}.tmp{os.getpid()}")
    fresh.write_bytes(data)
    fresh.replace(path)
