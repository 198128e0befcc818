"""Every way a model comes in: a `.tflite`, an MCUNet `.json` + `.npz`, a Python function."""

from __future__ import annotations

from pathlib import Path

from tinyengine.errors import ModelError
from tinyengine.importers.mcunet import load_mcunet
from tinyengine.importers.python import load_python
from tinyengine.importers.tflite import load_tflite
from tinyengine.ir.graph import Graph

_FORMS = "a .tflite, an MCUNet .json with its .npz beside it, or file.py:function"
_LATER = {
    ".onnx": "ONNX",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".pte": "ExecuTorch",
    ".keras": "Keras",
    ".h5": "Keras",
}


def load_model(spec: str) -> Graph:
    """The graph that `spec` names: a file, or `file.py:function`.

    Raises:
        UserError: the file is missing, unreadable, or not a supported model.
    """
    file, colon, function = spec.rpartition(":")
    if colon and file.endswith(".py"):
        return load_python(Path(file), function)
    path = Path(spec)
    suffix = path.suffix.lower()
    if suffix in _LATER:
        raise ModelError(
            f"'{spec}': {_LATER[suffix]} models are not in this version; convert it to an int8 "
            f".tflite. A model is {_FORMS}"
        )
    if suffix == ".py":
        raise ModelError(f"'{spec}' names no function; write '{spec}:FUNCTION'")
    if not path.exists():
        raise ModelError(f"no model file '{spec}'; a model is {_FORMS}")
    if suffix == ".tflite":
        return load_tflite(path)
    if suffix == ".json":
        return load_mcunet(path)
    raise ModelError(f"'{spec}' has an unknown kind of name; a model is {_FORMS}")
