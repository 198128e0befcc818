"""The graphs that a generated folder's code was made from."""

from pathlib import Path

from codegen.manifest import Manifest
from tinyengine.errors import ModelError, UserError
from tinyengine.ir import text
from tinyengine.ir.graph import Graph

TRAIN_GRAPH, INFER_GRAPH = "graph.te", "infer.te"


def load_train_graph(directory: Path) -> Graph:
    """Return the training graph that the folder's code was made from.

    Raises:
        UserError: it is not there or damaged.
    """
    return _load(directory / TRAIN_GRAPH)


def matching_train_graph(directory: Path, manifest: Manifest) -> Graph:
    """Return the training graph, which must hold the state that the manifest lists.

    Raises:
        UserError: as `load_train_graph`, or it belongs to another model.
    """
    graph = load_train_graph(directory)
    found = [(v.name, v.type.shape, v.type.dtype.value) for v in graph.state()]
    if found != [(s.name, s.shape, s.dtype) for s in manifest.state]:
        raise UserError(
            f"'{directory / TRAIN_GRAPH}' holds other trainable tensors than the manifest lists; "
            "compile the model again"
        )
    return graph


def load_infer_graph(directory: Path) -> Graph:
    """Return the inference graph that the folder's code was made from.

    Raises:
        UserError: it is not there or damaged.
    """
    return _load(directory / INFER_GRAPH)


def _load(path: Path) -> Graph:
    try:
        return text.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read '{path}': {error}; compile the model again") from error
    except ModelError as error:
        raise UserError(f"'{path}' is damaged: {error}; compile the model again") from error
