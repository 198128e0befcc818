"""`te_manifest.json`: what a generated folder holds; `compile` writes it, other tools read it."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from codegen.build import FORMAT_VERSION, MANIFEST, read_manifest
from tinyengine.errors import UserError

Phase = Literal["forward", "loss", "input_gradient", "weight_gradient", "update"]
Element = Literal["i8", "i16", "i32", "u32", "f32"]


class _Table(BaseModel):
    """One JSON object: immutable, and an unknown key is an error."""

    # "model_hash" is a fine name here: nothing of pydantic's is called that
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Border(_Table):
    """The model's input or output: `dtype` is the model's own, `device_dtype` what the C code has.

    shape includes the batch of 1. Where the two types differ the host converts with
    real = scale * (q - zero_point); both are null where there is no quantisation.
    """

    shape: tuple[PositiveInt, ...] = Field(min_length=1)
    dtype: Element
    device_dtype: Element
    scale: float | None = None
    zero_point: int | None = None


class StateTensor(_Table):
    """One tensor that changes from step to step, as the device holds it."""

    name: str
    shape: tuple[PositiveInt, ...]
    dtype: Element


class MarkedLayer(_Table):
    """One node between two marks of the generated code."""

    layer: str
    op: str
    phase: Phase


class SchemeEntry(_Table):
    """The update scheme by name, and what it came to on this model.

    biases, weights: names of the tensors that learn; a weight's value is its share of channels.
    """

    name: str
    head: str = ""
    rounding: str = ""
    gradients: str = ""
    optimizer: str = ""
    accumulate: int = 1
    biases: tuple[str, ...] = ()
    weights: dict[str, float] = Field(default_factory=dict)


class Manifest(_Table):
    """Everything that another tool needs to know about a generated folder. Sizes in bytes."""

    format_version: int = FORMAT_VERSION
    tool_version: str
    model: str
    model_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    board: str
    scheme: SchemeEntry
    classes: int = Field(ge=0)  # 0: the output is not a classification
    seed: int = 0
    input: Border
    input_fed: bool = False  # it arrives row by row and is nowhere whole
    output: Border
    state: tuple[StateTensor, ...] = ()
    forward_layers: tuple[MarkedLayer, ...]
    train_layers: tuple[MarkedLayer, ...] = ()  # empty: inference only
    arena_bytes: int = Field(ge=0)
    trainable_bytes: int = Field(ge=0)
    flash_bytes: int | None = Field(default=None, ge=0)
    macs_forward: int = Field(ge=0)
    macs_backward: int = Field(ge=0)
    lower_bound_bytes: int = Field(ge=0)

    @property
    def trains(self) -> bool:
        """Whether the folder's code has a training step."""
        return bool(self.train_layers)


def write_manifest(manifest: Manifest) -> str:
    """Return the file's text: stable, so that equal folders have equal bytes."""
    return json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n"


def load_manifest(directory: Path) -> Manifest:
    """Read the manifest of a folder that `tinyengine-codegen compile` made.

    Raises:
        UserError: the folder is not one of ours, is damaged, or another version made it.
    """
    table = read_manifest(directory)
    path = directory / MANIFEST
    version = table.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"'{path}' has format version {version!r}, this tool reads {FORMAT_VERSION}; "
            "compile the model again"
        )
    try:
        return Manifest.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"'{path}' is damaged: '{where}': {first['msg'].lower()} ({error.error_count()} "
            "problems); compile the model again"
        ) from error
