"""Manifests for tests that need no generated code."""

from typing import Any

from codegen.manifest import Border, Manifest, MarkedLayer, SchemeEntry


def border(*shape: int, dtype: Any = "i8", scale: float = 1 / 32, zero_point: int = 0) -> Border:
    return Border(shape=shape, dtype=dtype, device_dtype="i8", scale=scale, zero_point=zero_point)


def manifest(**changes: Any) -> Manifest:
    """A manifest of a little classifier, 4x4 grey pictures in and 3 classes out."""
    fields: dict[str, Any] = {
        "tool_version": "0",
        "model": "little",
        "model_hash": "ab" * 32,
        "board": "host",
        "scheme": SchemeEntry(name="head"),
        "classes": 3,
        "input": border(1, 4, 4, 1),
        "output": Border(shape=(1, 3), dtype="f32", device_dtype="f32"),
        "forward_layers": (MarkedLayer(layer="fc", op="linear", phase="forward"),),
        "train_layers": (MarkedLayer(layer="fc", op="linear", phase="forward"),),
        "arena_bytes": 64,
        "trainable_bytes": 60,
        "macs_forward": 48,
        "macs_backward": 48,
        "lower_bound_bytes": 64,
    }
    return Manifest(**{**fields, **changes})
