"""Data sets that are files: one .npz, a folder of them, a folder of pictures per class."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench_melt.data.arrays import MAX_ARRAY_BYTES, read_npz
from bench_melt.data.convert import fit_picture, picture_shape, samples_of
from bench_melt.data.dataset import Dataset, check_labels, shuffled
from codegen.manifest import Border
from tinyengine.errors import UserError
from tinyengine.ir.tensor import Array

_ARRAYS = ("x", "y", "x_test", "y_test")
_PICTURES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif"))
_LARGEST_PIXELS = 64 << 20
_ORDER_SEED = 1


def load_npz(paths: Sequence[Path], name: str, border: Border, classes: int) -> Dataset:
    """Return the data of .npz files, one after the other: x, y and optionally x_test, y_test.

    Raises:
        UserError: a file is missing or damaged, an array is missing, or shapes, dtypes or labels
            do not fit the model.
    """
    parts: dict[str, list[Array]] = {key: [] for key in _ARRAYS}
    for path in paths:
        for key, array in _read_one(path, border, classes).items():
            parts[key].append(array)
    arrays = {key: _joined(key, many, name) for key, many in parts.items()}
    x = samples_of(arrays["x"], border, f"'{name}': x")
    x_test = samples_of(arrays["x_test"], border, f"'{name}': x_test") if parts["x_test"] else None
    empty = x.take(np.arange(0))
    return Dataset(name, x, arrays["y"], x_test or empty, arrays["y_test"], classes)


def _read_one(path: Path, border: Border, classes: int) -> dict[str, Array]:
    arrays = read_npz(path, _ARRAYS)
    for key in ("x", "y"):
        if key not in arrays:
            raise UserError(
                f"'{path}' has no array '{key}'; a data set holds x (samples) and y (labels), "
                "optionally x_test and y_test"
            )
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise UserError(f"'{path}' has only one of x_test and y_test; give both or neither")
    for x, y in (("x", "y"), ("x_test", "y_test")):
        if x in arrays:
            samples_of(arrays[x], border, f"'{path}': {x}")  # a message that names the file
            arrays[y] = check_labels(arrays[y], len(arrays[x]), classes, f"'{path}': {y}")
    return arrays


def _joined(key: str, parts: list[Array], name: str) -> Array:
    if not parts:
        return np.zeros(0, np.int64)
    dtypes = {part.dtype for part in parts}
    if len(dtypes) > 1:
        listed = ", ".join(sorted(map(str, dtypes)))
        raise UserError(f"'{name}': the files' {key} have different dtypes: {listed}")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def load_pictures(folder: Path, border: Border, classes: int) -> Dataset:
    """Return the pictures of a folder with one sub-folder per class, labelled in sorted order.

    Sub-folders `train` and `test` that hold the classes are taken as such.

    Raises:
        UserError: no pictures, more folders than the model has classes, or an unreadable file.
    """
    train, test = folder / "train", folder / "test"
    split = train.is_dir() and any(_folders(train))
    base = train if split else folder
    names = [path.name for path in _folders(base)]
    if not names:
        raise UserError(
            f"'{folder}' holds neither .npz files nor a sub-folder of pictures for each class"
        )
    if len(names) > classes:
        listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise UserError(
            f"'{folder}' has {len(names)} classes ({listed}); the model has "
            f"{classes}; compile with --classes {len(names)}"
        )
    x, y = _read_classes(base, names, border)
    samples = samples_of(x, border, f"'{folder}'")
    if not (split and test.is_dir()):
        return Dataset(str(folder), samples, y, samples.take(np.arange(0)), y[:0], classes)
    strange = sorted({path.name for path in _folders(test)} - set(names))
    if strange:
        raise UserError(f"'{test}' has class '{strange[0]}', which '{train}' has not")
    x_test, y_test = _read_classes(test, names, border)
    return Dataset(str(folder), samples, y, samples_of(x_test, border, str(test)), y_test, classes)


def _folders(folder: Path) -> list[Path]:
    found = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return sorted(found, key=lambda path: path.name)


def _read_classes(base: Path, names: Sequence[str], border: Border) -> tuple[Array, Array]:
    """Return x (n, h, w, c) uint8 and y (n,), classes mixed in a fixed order."""
    shape = picture_shape(border, str(base))
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        inside = sorted((base / name).glob("*")) if (base / name).is_dir() else []
        pictures = [path for path in inside if path.suffix.lower() in _PICTURES]
        if not pictures:
            raise UserError(f"class folder '{base / name}' holds no pictures")
        files += [(path, label) for path in pictures]
    if len(files) * int(np.prod(shape)) > MAX_ARRAY_BYTES:
        raise UserError(
            f"'{base}' holds {len(files)} pictures, {len(files) * int(np.prod(shape))} bytes at "
            f"the model's input size; the limit is {MAX_ARRAY_BYTES}: use fewer"
        )
    order = shuffled(len(files), _ORDER_SEED)
    x = np.stack([_read_picture(files[i][0], shape) for i in order])
    return x, np.array([files[i][1] for i in order], np.int64)


def _read_picture(path: Path, shape: tuple[int, int, int]) -> Array:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata
            with Image.open(path) as picture:
                if picture.width * picture.height > _LARGEST_PIXELS:
                    raise UserError(
                        f"picture '{path}' has {picture.width} x {picture.height} pixels; "
                        f"the limit is {_LARGEST_PIXELS}"
                    )
                return fit_picture(_on_white(ImageOps.exif_transpose(picture)), shape)
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        MemoryError,
        TypeError,
        KeyError,
        IndexError,
    ) as error:
        raise UserError(f"cannot read picture '{path}': {error}") from error


def _on_white(picture: Image.Image) -> Image.Image:
    """Return a picture with transparency on a white ground, others as they are."""
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture)
