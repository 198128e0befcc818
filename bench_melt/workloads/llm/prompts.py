"""Conversations to measure with, from our own file or the user's; and synthetic prompts.

A prompt file is TOML: `[[conversations]]` with `turns`, the user's side in order, and optionally a
`name` and a `system` text. The answers are the model's own.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from codegen.tables import Table, nearest, read_table
from tinyengine.errors import UserError

_SHIPPED = Path(__file__).with_name("prompts")


class Conversation(Table):
    """What the user says, turn by turn."""

    name: str = ""
    system: str | None = None
    turns: tuple[str, ...] = Field(min_length=1, max_length=1000)


class PromptFile(Table):
    """The file."""

    conversations: tuple[Conversation, ...] = Field(min_length=1)


def prompt_classes() -> tuple[str, ...]:
    """Return the names of the length classes that ship, sorted."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def load_conversations(name_or_path: str, folder: Path) -> tuple[Conversation, ...]:
    """Return the conversations of a shipped length class, or of a file.

    Args:
        name_or_path: "short", ... or a path that ends in .toml.
        folder: What a relative path is relative to.

    Raises:
        UserError: no such class or file, or it breaks the schema.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return read_table(folder / name_or_path, PromptFile, "prompt file").conversations
    names = prompt_classes()
    if name_or_path not in names:
        raise UserError(
            f"unknown prompts '{name_or_path}'{nearest(name_or_path, names)}; length classes: "
            f"{', '.join(names)}; or give the path of a .toml file"
        )
    path = _SHIPPED / f"{name_or_path}.toml"
    return read_table(path, PromptFile, "prompt file").conversations


def synthetic_tokens(count: int, vocabulary: int, seed: int) -> Sequence[int]:
    """Return `count` random token numbers, as llama-bench feeds.

    The first few numbers of a vocabulary are control tokens: they are left out.
    """
    low = min(256, vocabulary // 2)
    return random.Random(seed).choices(range(low, vocabulary), k=count)
