"""Placeholder until the importer lands."""

from pathlib import Path

from tinyengine.errors import ModelError
from tinyengine.ir.graph import Graph


def load_tflite(path: Path) -> Graph:
    """Not there yet."""
    raise ModelError(f"'{path}': .tflite files cannot be read yet")
