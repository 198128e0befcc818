"""A llama of random weights that llama.cpp loads: 0.2 M parameters, no vocabulary."""

from pathlib import Path

import numpy as np

EMBED, HEADS, LAYERS, HIDDEN, TOKENS, CONTEXT = 64, 4, 2, 128, 256, 512


def write_tiny_llama(path: Path, seed: int = 0) -> Path:
    """Write the file with gguf's own writer; the same seed gives the same weights."""
    from gguf import GGUFWriter, LlamaFileType

    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path, "llama")
    writer.add_size_label("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBED)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(EMBED // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(TOKENS)
    writer.add_tokenizer_model("none")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)

    def add(name: str, *shape: int) -> None:
        kind = np.float16 if len(shape) == 2 else np.float32
        writer.add_tensor(f"{name}.weight", rng.normal(0, 0.1, shape).astype(kind))

    add("token_embd", TOKENS, EMBED)
    add("output_norm", EMBED)
    add("output", TOKENS, EMBED)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        add(f"{block}.attn_norm", EMBED)
        add(f"{block}.ffn_norm", EMBED)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"{block}.{name}", EMBED, EMBED)
        add(f"{block}.ffn_gate", HIDDEN, EMBED)
        add(f"{block}.ffn_up", HIDDEN, EMBED)
        add(f"{block}.ffn_down", EMBED, HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
