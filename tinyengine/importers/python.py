"""Placeholder until the importer lands."""

from pathlib import Path

from tinyengine.errors import ModelError
from tinyengine.ir.graph import Graph


def load_python(path: Path, function: str) -> Graph:
    """Not there yet."""
    raise ModelError(f"'{path}:{function}': Python functions cannot be read yet")
