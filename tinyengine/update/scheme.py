"""The update scheme: which tensors learn, and how. TOML in, names checked against a model."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from tinyengine.errors import SchemeError
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Role, Value, dequantise
from tinyengine.ops.sgd import Rounding

HEADS = ("float32", "int8", "frozen")
GRADIENTS = ("f32", "s16", "s8")
OPTIMIZERS = ("sgd",)
BUILT_IN = ("none", "head", "bias", "full")
ALL = 1 << 30  # as a number of biases: every layer


@dataclass(frozen=True, slots=True)
class Scheme:
    """An update scheme as written, before it meets a model.

    biases: the last n layers before the head (or ALL), or layer names. weights: layer name ->
    share of its input channels in (0, 1]. every_weight: all of them, whole.
    """

    name: str
    biases: int | tuple[str, ...] = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    every_weight: bool = False
    head: str = "float32"
    rounding: Rounding = Rounding.STOCHASTIC
    gradients: str = "f32"
    optimizer: str = "sgd"
    accumulate: int = 1

    @property
    def trains(self) -> bool:
        """Whether anything learns."""
        return self.head != "frozen" or bool(self.biases) or bool(self.weights) or self.every_weight


def load_scheme(spec: str) -> Scheme:
    """A built-in scheme, a shipped example (`mcunet-5fps-49kb`, or `49kb` for short) or a file.

    Raises:
        SchemeError: no such scheme, or the file is not one.
    """
    built_in = {
        "none": Scheme("none", head="frozen"),
        "head": Scheme("head"),
        "bias": Scheme("bias", biases=ALL),
        "full": Scheme("full", biases=ALL, every_weight=True),
    }
    if spec in built_in:
        return built_in[spec]
    shipped = shipped_schemes()
    for name in (spec, f"mcunet-5fps-{spec}"):
        if name in shipped:
            return parse_scheme(name, shipped[name])
    path = Path(spec)
    if not path.is_file():
        names = [*BUILT_IN, *shipped]
        raise SchemeError(
            f"no update scheme '{spec}': not a file and not one of {', '.join(names)}"
            f"{_nearest(spec, names)}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemeError(f"cannot read update scheme '{spec}': {error}") from error
    return parse_scheme(path.stem, text)


def with_gradients(scheme: Scheme, gradients: str | None) -> Scheme:
    """The scheme with another gradient format; None leaves it.

    Raises:
        SchemeError: there is no such format.
    """
    if gradients is None:
        return scheme
    if gradients not in GRADIENTS:
        raise SchemeError(f"gradient format '{gradients}' is not one of {', '.join(GRADIENTS)}")
    return replace(scheme, gradients=gradients)


def shipped_schemes() -> dict[str, str]:
    """Name -> TOML text of every scheme in the package."""
    folder = resources.files("tinyengine.update") / "schemes"
    files = (f for f in folder.iterdir() if f.name.endswith(".toml"))
    return {f.name.removesuffix(".toml"): f.read_text("utf-8") for f in sorted(files, key=str)}


def parse_scheme(name: str, text: str) -> Scheme:
    """A scheme from TOML text (DESIGN section 5).

    Raises:
        SchemeError: not TOML, an unknown key, or a value out of range.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SchemeError(f"update scheme '{name}' is not valid TOML: {error}") from error
    update = table.get("update")
    if not isinstance(update, dict) or len(table) != 1:
        raise SchemeError(f"update scheme '{name}' must hold one table, [update]")
    keys = {"biases", "weights", "head", "rounding", "gradients", "optimizer", "accumulate"}
    for key in update:
        if key not in keys:
            raise SchemeError(f"update scheme '{name}': unknown key '{key}'{_nearest(key, keys)}")
    return Scheme(
        name,
        biases=_biases(name, update.get("biases", 0)),
        weights=_weights(name, update.get("weights", {})),
        head=_choice(name, update, "head", HEADS, "float32"),
        rounding=Rounding(
            _choice(name, update, "rounding", [r.value for r in Rounding], "stochastic")
        ),
        gradients=_choice(name, update, "gradients", GRADIENTS, "f32"),
        optimizer=_choice(name, update, "optimizer", OPTIMIZERS, "sgd"),
        accumulate=_count(name, update.get("accumulate", 1)),
    )


def _choice(
    name: str, update: Mapping[str, Any], key: str, allowed: Iterable[str], default: str
) -> str:
    value = update.get(key, default)
    allowed = list(allowed)
    if value not in allowed:
        raise SchemeError(
            f"update scheme '{name}': {key} = {value!r} is not one of {', '.join(allowed)}"
        )
    return str(value)


def _biases(name: str, value: Any) -> int | tuple[str, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < ALL:
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise SchemeError(
        f"update scheme '{name}': biases must be a count >= 0 or a list of layer names, "
        f"is {value!r}"
    )


def _count(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65536:
        return value
    raise SchemeError(f"update scheme '{name}': accumulate must be in 1..65536, is {value!r}")


def _weights(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise SchemeError(f"update scheme '{name}': weights must be a table of layer = ratio")
    for layer, ratio in value.items():
        number = isinstance(ratio, int | float) and not isinstance(ratio, bool)
        if not number or not 0 < ratio <= 1:
            raise SchemeError(
                f"update scheme '{name}': ratio of layer '{layer}' must be in (0, 1], is {ratio!r}"
            )
    return {layer: float(ratio) for layer, ratio in value.items()}


def _nearest(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(words), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


@dataclass(frozen=True, slots=True)
class Learning:
    """A scheme resolved against a model: value names that learn, and channels of partial ones."""

    scheme: Scheme
    biases: frozenset[str]
    weights: Mapping[str, tuple[int, ...]]  # weight value -> channels that learn, ascending


def resolve(scheme: Scheme, graph: Graph, head: str | None) -> Learning:
    """Turn layer names and counts into the tensors of `graph` that learn.

    head: the layer that makes the logits; `scheme.head` alone decides whether it learns.

    Raises:
        SchemeError: a layer that does not exist or has no such tensor, or more biases than layers.
    """
    weights, biases = _parameters(graph, "weight"), _parameters(graph, "bias")
    body = [layer for layer in biases if layer != head]
    named = scheme.biases if isinstance(scheme.biases, tuple) else _last(scheme, body)
    for layer in (*named, *scheme.weights):
        _check_layer(scheme, layer, graph, head, weights if layer in scheme.weights else biases)
    ratios = dict(scheme.weights)
    if scheme.every_weight:
        ratios = {layer: 1.0 for layer in weights if layer != head}
    chosen = {weights[layer].name: _channels(weights[layer], r) for layer, r in ratios.items()}
    learning = {biases[layer].name for layer in named}
    if head is not None and scheme.head != "frozen":
        if head in biases:
            learning.add(biases[head].name)
        if head in weights:
            chosen[weights[head].name] = _channels(weights[head], 1.0)
    return Learning(scheme, frozenset(learning), chosen)


def _parameters(graph: Graph, suffix: str) -> dict[str, Value]:
    """Layer -> its trainable tensor called `<layer>/<suffix>`, in order of execution."""
    found: dict[str, Value] = {}
    for node in graph.nodes:
        for name in node.inputs:
            value = graph.values[name]
            if value.role is Role.TRAINABLE and name.endswith(f"/{suffix}"):
                found.setdefault(node.layer, value)
    return found


def _last(scheme: Scheme, body: list[str]) -> tuple[str, ...]:
    count = scheme.biases
    assert isinstance(count, int)
    if count >= ALL:
        return tuple(body)
    if count > len(body):
        raise SchemeError(
            f"update scheme '{scheme.name}' wants the last {count} biases; the model has "
            f"{len(body)} layers with a bias before the head"
        )
    return tuple(body[len(body) - count :])


def _check_layer(
    scheme: Scheme, layer: str, graph: Graph, head: str | None, table: Mapping[str, Value]
) -> None:
    if layer == head:
        raise SchemeError(
            f"update scheme '{scheme.name}': layer '{layer}' is the head; `head` says how it learns"
        )
    if layer in table:
        return
    layers = list(dict.fromkeys(node.layer for node in graph.nodes))
    if layer in layers:
        raise SchemeError(
            f"update scheme '{scheme.name}': layer '{layer}' has no tensor that can learn"
        )
    raise SchemeError(
        f"update scheme '{scheme.name}' names layer '{layer}', which the model does not have"
        f"{_nearest(layer, layers)}"
    )


def _channels(weight: Value, ratio: float) -> tuple[int, ...]:
    """The share `ratio` of input channels with the largest L2 norm of real weights, ascending.

    The count is rounded to nearest (halves up) and at least 1; ties go to the lower index.
    """
    channels = weight.type.shape[-1]
    count = max(1, int(ratio * channels + 0.5))
    real = dequantise(weight.type.quant, weight.require_data()).reshape(-1, channels)
    norms = np.sqrt((real**2).sum(axis=0))
    order = np.lexsort((np.arange(channels), -norms))
    return tuple(sorted(int(c) for c in order[:count]))
