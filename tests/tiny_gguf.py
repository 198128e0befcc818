"""A small llama with random weights and a tokenizer of bytes; real for llama.cpp, and quick."""

from pathlib import Path

import numpy as np

from tests.needs import package

_EMBEDDING, _FEED_FORWARD, _HEADS, _BLOCKS, _CONTEXT = 64, 128, 4, 2, 512
_UNKNOWN, _CONTROL, _NORMAL, _BYTE = 2, 3, 1, 6


def write_tiny_gguf(path: Path, seed: int = 0) -> Path:
    """Write it (1 MB, F16) and return its path."""
    package("gguf")
    import gguf

    draw = np.random.default_rng(seed)
    words = [f"▁{chr(97 + a)}{chr(97 + b)}" for a in range(10) for b in range(26)]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, *[_NORMAL] * len(words)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_block_count(_BLOCKS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(index) for index in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    def add(name: str, *shape: int) -> None:
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
        else:
            values = draw.normal(0.0, 1.0 / np.sqrt(shape[1]), shape)
            writer.add_tensor(f"{name}.weight", values.astype(np.float16))

    add("token_embd", len(tokens), _EMBEDDING)
    for block in range(_BLOCKS):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{block}.{part}", _EMBEDDING, _EMBEDDING)
        add(f"blk.{block}.attn_norm", _EMBEDDING)
        add(f"blk.{block}.ffn_norm", _EMBEDDING)
        add(f"blk.{block}.ffn_gate", _FEED_FORWARD, _EMBEDDING)
        add(f"blk.{block}.ffn_up", _FEED_FORWARD, _EMBEDDING)
        add(f"blk.{block}.ffn_down", _EMBEDDING, _FEED_FORWARD)
    add("output_norm", _EMBEDDING)
    add("output", len(tokens), _EMBEDDING)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
