"""Arrays through a board: host-side quantisation at the borders, one forward per sample."""

from pathlib import Path

import numpy as np

from bench_melt.data.arrays import read_npy
from bench_melt.data.convert import item_shape, quantised_type
from bench_melt.device import Device
from bench_melt.progress import Bars
from bench_melt.workloads.counting import StepCounts, Tally
from codegen.manifest import Border, Manifest
from tinyengine.errors import UserError
from tinyengine.ir.tensor import Array, DType
from tinyengine.ops.borders import quantise


def read_inputs(path: Path, border: Border) -> Array:
    """Return samples (n, *input shape) in the model's own input dtype.

    Raises:
        UserError: the file is unreadable, or has another shape or dtype.
    """
    x = read_npy(path)
    shape, dtype = item_shape(border), DType(border.dtype).numpy
    if x.ndim == 0 or x.shape[1:] != shape:
        raise UserError(
            f"'{path}' has shape {x.shape}; the model wants (n, {', '.join(map(str, shape))})"
        )
    if x.dtype != dtype:
        raise UserError(
            f"'{path}' has dtype {x.dtype}; the model's input is {dtype}: convert it with "
            f"x.astype(np.{dtype}) if its values mean that already"
        )
    return x


def infer(device: Device, manifest: Manifest, x: Array, shown: Bars) -> tuple[Array, int | None]:
    """Return outputs (n, *output shape) in the model's own dtype, and the mean instructions.

    x: (n, *input shape) in the model's own input dtype.

    Raises:
        DeviceError: the device fails on the way.
    """
    border = manifest.output
    out_shape, out_dtype = border.shape[1:], DType(border.dtype).numpy
    y = np.zeros((len(x), *out_shape), out_dtype)
    forward = Tally.of(manifest.forward_layers, fed=manifest.input_fed)
    counts = StepCounts(device, forward, Tally.of(()), False)
    counts.begin()
    meter = shown.phase("inference", len(x))
    for index, sample in enumerate(x):
        device.session.write_input(to_device(sample, manifest.input))
        device.session.forward()
        counts.after_forward()
        y[index] = from_device(device.session.read_output(), border)
        meter.step()
    return y, counts.instructions(counts.forward)


def to_device(sample: Array, border: Border) -> bytes:
    """Return the bytes of one sample as the device takes it; the host quantises float inputs."""
    if border.dtype == border.device_dtype:
        wire = DType(border.device_dtype).numpy.newbyteorder("<")
        return np.ascontiguousarray(sample, wire).tobytes()
    return quantise(sample, quantised_type(border)).tobytes()


def from_device(data: bytes, border: Border) -> Array:
    """Return one output (*output shape) in the model's own dtype; int8 -> float32 as TFLite does:
    scale * (q - zero point), one rounding.
    """
    wire = DType(border.device_dtype).numpy.newbyteorder("<")
    array: Array = np.frombuffer(data, wire).reshape(border.shape[1:])
    if border.dtype == border.device_dtype:
        return array
    type_ = quantised_type(border)
    centred = array.astype(np.int32) - type_.zero_point
    return centred.astype(np.float32) * np.float32(type_.scale)
