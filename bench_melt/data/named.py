"""Data sets that packages carry, found by name. Nothing is downloaded."""

import gzip
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from bench_melt.data.convert import item_shape, pictures_of, samples_of
from bench_melt.data.dataset import Dataset, Samples, check_labels
from bench_melt.data.fake import fake_sample
from codegen.manifest import Border
from codegen.toolchain import apt_line, find_tool, run_tool
from tinyengine.errors import UserError
from tinyengine.ir.tensor import Array

_FASHION = "dataset-fashion-mnist"
_IDX_UBYTE = 0x0800
_LFW_FACES = 100  # scikit-image: the first hundred are faces, the others not
_RANDOM_TRAIN, _RANDOM_TEST = 256, 64

Loader = Callable[[Border, int], Dataset]


def loaders() -> Mapping[str, Loader]:
    """Return the data sets that are known by name."""
    return {
        "fashion-mnist": _fashion_mnist,
        "digits": _digits,
        "lfw": _lfw,
        "gestures": _gestures,
        "random": _random,
    }


def _fashion_mnist(border: Border, classes: int) -> Dataset:
    """60,000 + 10,000 grey 28x28 pictures of clothes in 10 classes; Debian package, MIT."""
    files = {path.name: path for path in _debian_files(_FASHION)}

    def read(name: str, rank: int) -> Array:
        if name not in files:
            raise UserError(f"package '{_FASHION}' has no file '{name}'; install it again")
        return _idx(files[name], rank)

    x, y = read("train-images-idx3-ubyte.gz", 3), read("train-labels-idx1-ubyte.gz", 1)
    x_test, y_test = read("t10k-images-idx3-ubyte.gz", 3), read("t10k-labels-idx1-ubyte.gz", 1)
    return Dataset(
        "fashion-mnist",
        pictures_of(x, border, "fashion-mnist"),
        check_labels(y, len(x), classes, "'fashion-mnist': y"),
        pictures_of(x_test, border, "fashion-mnist"),
        check_labels(y_test, len(x_test), classes, "'fashion-mnist': y_test"),
        classes,
    )


def _debian_files(package: str) -> list[Path]:
    advice = f"install it with: {apt_line((package,))} (or 'make setup' in a checkout)"
    if find_tool("dpkg") is None:
        raise UserError(
            f"data comes from the Debian package '{package}', and there is no dpkg here; "
            "save it as a .npz with x, y, x_test and y_test instead"
        )
    answer = run_tool(["dpkg", "-L", package], timeout_s=20)
    if answer.returncode:
        raise UserError(f"the Debian package '{package}' is not installed; {advice}")
    return [Path(line) for line in answer.stdout.splitlines()]


def _idx(path: Path, rank: int) -> Array:
    """Return the array of a gzipped IDX file of bytes: magic u32, sizes u32, data; big endian."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(f"cannot read '{path}': {error}; install its package again") from error
    head = np.frombuffer(data[: 4 * (rank + 1)], ">u4")
    shape = tuple(int(size) for size in head[1:])
    if head[0] != _IDX_UBYTE + rank or len(data) != 4 * (rank + 1) + int(np.prod(shape)):
        raise UserError(f"'{path}' is no IDX file of {rank} dimensions; install its package again")
    return np.frombuffer(data, np.uint8, offset=4 * (rank + 1)).reshape(shape)


def _digits(border: Border, classes: int) -> Dataset:
    """1,797 grey 8x8 handwritten digits (scikit-learn); one in five is for testing."""
    path = _package_file("sklearn", "scikit-learn", "datasets/data/digits.csv.gz")
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    pixels = np.rint(table[:, :-1] * (255.0 / 16.0)).astype(np.uint8).reshape(-1, 8, 8)
    return _pictures("digits", pixels, table[:, -1].astype(np.int64), border, classes)


def _lfw(border: Border, classes: int) -> Dataset:
    """100 faces (label 1) and 100 other grey 25x25 pictures (scikit-image); one in five tests."""
    path = _package_file("skimage", "scikit-image", "data/lfw_subset.npy")
    pixels = np.rint(np.load(path, allow_pickle=False) * 255.0).astype(np.uint8)
    labels = (np.arange(len(pixels)) < _LFW_FACES).astype(np.int64)
    return _pictures("lfw", pixels, labels, border, classes)


def _pictures(name: str, pixels: Array, y: Array, border: Border, classes: int) -> Dataset:
    y = check_labels(y, len(pixels), classes, f"'{name}': y")
    x = pictures_of(pixels, border, name)
    return Dataset(name, x, y, x.take(np.arange(0)), y[:0], classes).with_test()


def _gestures(border: Border, classes: int) -> Dataset:
    """Seven shoulder exercises seen by a watch (seglearn), windows of 64 samples x 6 channels.

    The last third of every recording is for testing: windows of the two parts share no sample.
    """
    from bench_melt.demo.watch import INPUT_QUANT, cut, load_recordings

    recordings, _ = load_recordings()
    parts = [cut(recordings, 32, part).shuffled(1) for part in ((0.0, 2 / 3), (2 / 3, 1.0))]
    scale = np.float32(INPUT_QUANT.per_tensor_scale)
    x, x_test = (samples_of(part.x * scale, border, "'gestures': x") for part in parts)
    y, y_test = (check_labels(p.y, len(p.y), classes, "'gestures': y") for p in parts)
    return Dataset("gestures", x, y, x_test, y_test, classes)


def _random(border: Border, classes: int) -> Dataset:
    """Noise with random labels, the same as the device makes: for measuring, not for learning."""
    if border.device_dtype != "i8":
        raise UserError(f"data 'random' is int8; the model's input is {border.device_dtype}")
    shape = item_shape(border)
    count = int(np.prod(shape))

    def make(index: Array) -> Array:
        return fake_sample(0, int(index), count, classes)[0].view(np.int8).reshape(shape)

    rows = np.arange(_RANDOM_TRAIN + _RANDOM_TEST)
    y = np.array([fake_sample(0, int(i), 0, classes)[1] for i in rows], np.int64)
    x = Samples(rows, make)
    train, test = rows[:_RANDOM_TRAIN], rows[_RANDOM_TRAIN:]
    return Dataset("random", x.take(train), y[train], x.take(test), y[test], classes)


def _package_file(module: str, distribution: str, name: str) -> Path:
    """Return a file that an installed package carries; the package is not imported."""
    spec = importlib.util.find_spec(module)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / name
        if path.is_file():
            return path
    raise UserError(
        f"this data comes with python package '{distribution}', which is not installed; "
        f"install it with: pip install {distribution} (extra 'data')"
    )
