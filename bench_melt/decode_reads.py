"""What decoding one token reads from memory, told by a .gguf file's header.

Every tensor once, but of the embedding one row (where the output layer is a tensor of its own), and
of a mixture of experts those that a token is sent to; and keys and values of every position.
Source: llama.cpp, gguf-py/gguf/constants.py (names of keys and tensors).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gguf import GGUFReader

_KV_BYTES = 2  # of an element: f16, what runners keep unless told otherwise
_LOOKED_UP = ("per_layer_token_embd.weight", "position_embd.weight", "token_types.weight")


@dataclass(frozen=True, slots=True)
class DecodeReads:
    """Bytes per token: of weights, and per position that is in the context."""

    weights_bytes: int
    kv_bytes_per_position: int


def decode_reads(reader: "GGUFReader") -> DecodeReads | None:
    """Return what decoding reads; None where the header does not tell.

    A layer with a sliding window is taken to read all positions.
    """
    architecture = reader.get_field("general.architecture")
    if architecture is None:
        return None
    prefix = str(architecture.contents())
    kv_bytes = _kv_bytes(reader, prefix)
    return None if kv_bytes is None else DecodeReads(_weights_bytes(reader, prefix), kv_bytes)


def _weights_bytes(reader: "GGUFReader", prefix: str) -> int:
    names = {tensor.name for tensor in reader.tensors}
    looked_up = {*_LOOKED_UP, *(["token_embd.weight"] if "output.weight" in names else [])}
    used = _number(reader, f"{prefix}.expert_used_count")
    held = _number(reader, f"{prefix}.expert_count")
    share = used / held if used and held else 1.0
    return round(
        sum(
            int(tensor.n_bytes) * (share if "_exps." in tensor.name else 1.0)
            for tensor in reader.tensors
            if tensor.name not in looked_up
        )
    )


def _kv_bytes(reader: "GGUFReader", prefix: str) -> int | None:
    """Return bytes of keys and values that a position adds, over all layers."""
    layers = _number(reader, f"{prefix}.block_count")
    width = _number(reader, f"{prefix}.embedding_length")
    heads = _numbers(reader, f"{prefix}.attention.head_count")
    if not layers or not width or not heads or not max(heads):
        return None
    kv_heads = _numbers(reader, f"{prefix}.attention.head_count_kv") or heads
    # one number for all layers, or one per layer
    total = sum(kv_heads) if len(kv_heads) > 1 else kv_heads[0] * layers
    usual = width // max(heads)
    key = _number(reader, f"{prefix}.attention.key_length") or usual
    value = _number(reader, f"{prefix}.attention.value_length") or usual
    return total * (key + value) * _KV_BYTES


def _number(reader: "GGUFReader", key: str) -> int | None:
    found = _numbers(reader, key)
    return found[0] if found else None


def _numbers(reader: "GGUFReader", key: str) -> list[int]:
    field = reader.get_field(key)
    if field is None:
        return []
    held = field.contents()
    return [int(value) for value in held] if isinstance(held, list) else [int(held)]
