"""From what data sets hold to what the device takes.

| data                | int8 input of the device                                             |
|---------------------|----------------------------------------------------------------------|
| int8                | as it is: these are the model's own codes                            |
| uint8 (pictures)    | pixel - 128: the pixels' range on the whole range of int8            |
| float               | round(x / scale) + zero point, saturated (`tinyengine.ops.borders`)  |

Image models quantise their input so that 0..255 spans int8, whatever real values they give its
ends (scale 1 and zero point -128, 1/127.5 and 0, ...): pixel - 128 serves all of them.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from bench_melt.data.dataset import Samples
from codegen.manifest import Border
from tinyengine.errors import UserError
from tinyengine.ir.tensor import Array, DType, Quant, TensorType
from tinyengine.ops.borders import quantise

_MID_PIXEL = 128


def item_shape(border: Border) -> tuple[int, ...]:
    """Return the shape of one sample: the model's input without the batch of 1."""
    return border.shape[1:]


def quantised_type(border: Border) -> TensorType:
    """Return the type of one int8 sample, with the border's scale and zero point.

    Raises:
        UserError: the model does not say how its input or output is quantised.
    """
    if border.scale is None or border.device_dtype != "i8":
        raise UserError(
            f"the model takes {border.device_dtype} and has no quantisation that float samples "
            "could be converted with; give samples of its own type"
        )
    quant = Quant.per_tensor(border.scale, border.zero_point or 0)
    return TensorType(border.shape, DType.I8, quant)


def samples_of(raw: Array, border: Border, where: str) -> Samples:
    """Return samples of an array (n, *input shape): int8, uint8 or float.

    Raises:
        UserError: another dtype or shape, or values that are not finite.
    """
    shape = item_shape(border)
    if raw.ndim == 0 or raw.shape[1:] not in (shape, _without_channel(shape)):
        raise UserError(
            f"{where} has shape {raw.shape}; the model wants (n, {', '.join(map(str, shape))})"
        )
    if not len(raw):
        raise UserError(f"{where} holds no samples")
    if raw.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(raw).reshape(len(raw), -1).all(axis=1))
        if len(bad):
            raise UserError(
                f"{where}[{bad[0]}] holds values that are not finite ({len(bad)} of {len(raw)} "
                "samples); remove or mend them"
            )
    return Samples(raw, _converter(raw.dtype, border, where))


def _without_channel(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Grey pictures are often stored without their one channel."""
    return shape[:-1] if len(shape) == 3 and shape[-1] == 1 else shape


def _converter(dtype: np.dtype[np.generic], border: Border, where: str) -> Callable[[Array], Array]:
    shape = item_shape(border)
    if border.device_dtype == "f32" and dtype.kind == "f":
        return lambda x: np.ascontiguousarray(x, np.float32).reshape(shape)
    if dtype == np.int8 and border.device_dtype == "i8":
        return lambda x: np.ascontiguousarray(x).reshape(shape)
    if dtype == np.uint8 and border.device_dtype == "i8":
        return lambda x: pixels_to_int8(x).reshape(shape)
    if dtype.kind == "f":
        type_ = quantised_type(border)
        return lambda x: quantise(x, type_).reshape(shape)
    raise UserError(
        f"{where} has dtype {dtype}; the model's own is {border.dtype}; int8 (the model's codes), "
        "uint8 (pictures) and float (real values) are understood"
    )


def pixels_to_int8(pixels: Array) -> Array:
    """Return pixel - 128 as int8."""
    return (np.asarray(pixels, np.int16) - _MID_PIXEL).astype(np.int8)


def pictures_of(raw: Array, border: Border, where: str) -> Samples:
    """Return samples of pictures (n, h, w) or (n, h, w, 3) uint8 of any size.

    They are resized to the input's height and width by Pillow's bilinear filter (fixed point: the
    same bits everywhere; where it shrinks, every pixel counts), grey is repeated for three
    channels, colour weighted to one (ITU-R 601).

    Raises:
        UserError: the model's input is no picture.
    """
    shape = picture_shape(border, where)
    return Samples(raw, lambda x: pixels_to_int8(fit_picture(Image.fromarray(x), shape)))


def picture_shape(border: Border, where: str) -> tuple[int, int, int]:
    """Return height, width and channels of the input.

    Raises:
        UserError: the model's input is no picture.
    """
    shape = item_shape(border)
    if len(shape) != 3 or shape[2] not in (1, 3) or border.device_dtype != "i8":
        raise UserError(
            f"data '{where}' holds pictures; the model's input of shape {border.shape} is none "
            "(1, height, width, 1 or 3 channels)"
        )
    return shape[0], shape[1], shape[2]


def fit_picture(picture: Image.Image, shape: tuple[int, int, int]) -> Array:
    """Return a picture as uint8 (h, w, c)."""
    height, width, channels = shape
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture, np.uint8).reshape(shape)
