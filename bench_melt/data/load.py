"""One door to all data sets."""

import difflib
from pathlib import Path

from bench_melt.data.dataset import Dataset
from bench_melt.data.folder import load_npz, load_pictures
from bench_melt.data.named import loaders
from codegen.manifest import Border
from tinyengine.errors import UserError


def load_dataset(spec: str, border: Border, classes: int) -> Dataset:
    """Find, read and check a data set for a model.

    Args:
        spec: A name (`fashion-mnist`, `digits`, `lfw`, `gestures`, `random`), a .npz file, or a
            folder of .npz files or of class sub-folders of pictures.
        border: The model's input.
        classes: How many the model tells apart.

    Raises:
        UserError: nothing of that name, its package is missing, or it does not fit the model.
    """
    if classes < 1:
        raise UserError("the model's output is not a classification: there is nothing to label")
    known = loaders()
    if spec in known:
        return known[spec](border, classes)
    path = Path(spec)
    if path.is_dir():
        archives = sorted(path.glob("*.npz"))
        if archives:
            return load_npz(archives, spec, border, classes)
        return load_pictures(path, border, classes)
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise UserError(f"data file '{spec}' is not a .npz (x, y, optionally x_test, y_test)")
        return load_npz([path], spec, border, classes)
    near = difflib.get_close_matches(spec, known, n=2, cutoff=0.5)
    hint = f" (nearest: {', '.join(repr(name) for name in near)})" if near else ""
    raise UserError(f"no data '{spec}'{hint}: not a file, a folder, or one of {', '.join(known)}")
