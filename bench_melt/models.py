"""A model's file before it goes to a machine: what it is, what it holds, its hash."""

import hashlib
import importlib.util
import math
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench_melt.decode_reads import DecodeReads, decode_reads
from bench_melt.record import ModelFacts
from codegen.tables import nearest
from tinyengine.errors import ModelError, UserError
from tinyengine.importers.tflite_file import Reader as TfliteReader

Format = Literal["gguf", "tflite"]

_MAGIC = b"GGUF"
_CHUNK_BYTES = 1 << 20
# what libraries raise on a header that says nonsense
_BROKEN = (ValueError, KeyError, IndexError, TypeError, OverflowError)
_WEIGHT_TYPES = ("int8", "float32", "float16", "int16")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model on this computer, with what its own header says."""

    path: Path
    format: Format
    facts: ModelFacts
    vocabulary: int | None = None  # tokens that a language model knows
    reads: DecodeReads | None = None  # of memory, per token of a language model


def load_model_file(path: Path, quantisation: str | None) -> ModelFile:
    """Look into a model file.

    Args:
        path: A .gguf or .tflite file.
        quantisation: What the user says it holds ("Q4_1", "int8"); None: whatever it holds.

    Raises:
        UserError: no such file, of no known format, broken, or of another quantisation.
    """
    if not path.is_file():
        folder = path.parent
        files = folder.iterdir() if folder.is_dir() else ()
        there = [p.name for p in files if p.suffix in (".gguf", ".tflite") and p.is_file()]
        raise UserError(f"there is no model file '{path}'{nearest(path.name, there)}")
    with path.open("rb") as file:
        magic = file.read(8)
    if magic.startswith(_MAGIC):
        found = _gguf(path)
    elif magic[4:8] == b"TFL3":
        found = _tflite(path)
    else:
        raise UserError(f"'{path}' is neither a .gguf nor a .tflite file (begins with {magic!r})")
    if quantisation is not None:
        _require(path, found, quantisation)
    return found


def file_sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _gguf(path: Path) -> ModelFile:
    if importlib.util.find_spec("gguf") is None:
        raise UserError(
            "reading a .gguf file needs the python package 'gguf': "
            "pip install 'tinyengine-mcu[llm]'"
        )
    from gguf import GGUFReader

    try:
        reader = GGUFReader(str(path))
        tensors = [(t.tensor_type.name, int(t.n_elements), int(t.n_bytes)) for t in reader.tensors]
        architecture = reader.get_field("general.architecture")
        label = reader.get_field("general.size_label")
        name = " ".join(str(f.contents()) for f in (architecture, label) if f is not None)
        quantisation = _gguf_quantisation(reader.get_field("general.file_type"), tensors)
        tokens = reader.get_field("tokenizer.ggml.tokens")
        vocabulary = len(tokens.data) if tokens is not None else None
        reads = decode_reads(reader)
    except (
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        OSError,
        UnicodeDecodeError,
        OverflowError,
    ) as error:
        raise UserError(f"'{path}' is not a readable .gguf file: {error}") from error
    facts = ModelFacts(
        model_filename=path.name,
        model_sha256=file_sha256(path),
        model_type=f"{name} {quantisation}".strip(),
        model_size=sum(size for _, _, size in tensors),
        model_n_params=sum(count for _, count, _ in tensors),
        quantisation=quantisation,
    )
    return ModelFile(path, "gguf", facts, vocabulary, reads)


def _gguf_quantisation(file_type: object, tensors: list[tuple[str, int, int]]) -> str:
    """Return the file's own name for its format, else the type of most of its parameters."""
    from gguf import LlamaFileType, ReaderField

    if isinstance(file_type, ReaderField):
        try:
            kind = LlamaFileType(int(file_type.contents()))
        except ValueError:
            pass  # a type newer than this library
        else:
            return kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
    counts: Counter[str] = Counter()
    for name, elements, _ in tensors:
        counts[name] += elements
    return counts.most_common(1)[0][0] if counts else "unknown"


def _tflite(path: Path) -> ModelFile:
    data = path.read_bytes()
    try:
        model = TfliteReader(data).model()
        made = {*model.inputs, *(at for op in model.operators for at in op.outputs)}
        constants = [t for t in model.tensors if t.index not in made and t.buffer > 0]
    except (*_BROKEN, ModelError, struct.error) as error:
        raise UserError(f"'{path}' is not a readable .tflite file: {error}") from error
    counts: Counter[str] = Counter()
    for tensor in constants:
        counts[tensor.type_name] += math.prod(tensor.shape)
    weights = {name: count for name, count in counts.items() if name in _WEIGHT_TYPES}
    quantisation = max(weights, key=lambda name: weights[name], default="unknown")
    facts = ModelFacts(
        model_filename=path.name,
        model_sha256=hashlib.sha256(data).hexdigest(),
        model_type=f"tflite {quantisation}",
        model_size=len(data),
        model_n_params=counts.total(),
        quantisation=quantisation,
    )
    return ModelFile(path, "tflite", facts)


def _require(path: Path, found: ModelFile, wanted: str) -> None:
    held = found.facts.quantisation or "unknown"
    if wanted.casefold() == held.casefold():
        return
    known = _quantisation_names(found.format)
    if wanted.upper() not in known and wanted.lower() not in known:
        raise UserError(
            f"unknown quantisation '{wanted}' of model '{path.name}'"
            f"{nearest(wanted.upper(), known)}; the file holds '{held}'"
        )
    raise UserError(f"model '{path}' holds quantisation '{held}', the suite says '{wanted}'")


def _quantisation_names(kind: Format) -> tuple[str, ...]:
    if kind == "tflite":
        return _WEIGHT_TYPES
    from gguf import LlamaFileType

    names = (member.name for member in LlamaFileType)
    return tuple(n.removeprefix("MOSTLY_").removeprefix("ALL_") for n in names)
