"""The graphs that a generated folder's code was made from."""

from pathlib import Path

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
