"""Names from models as C identifiers, comments and strings."""

from __future__ import annotations

import re

# headers that kernels include: a model of such a name would stand in their way as src/<name>.h
_HEADERS = frozenset(
    {
        "assert",
        "complex",
        "ctype",
        "errno",
        "fenv",
        "float",
        "inttypes",
        "iso646",
        "limits",
        "locale",
        "math",
        "setjmp",
        "signal",
        "stdarg",
        "stdbool",
        "stddef",
        "stdint",
        "stdio",
        "stdlib",
        "string",
        "tgmath",
        "time",
        "unistd",
        "wchar",
        "wctype",
    }
)


def module_name(model: str) -> str:
    """Return the prefix of a model's symbols and the stem of its files.

    >>> module_name("string"), module_name("resnet8")
    ('m_string', 'resnet8')
    """
    clashes = model in _HEADERS or model.startswith(("te_", "_")) or model == "main"
    return f"m_{model}" if clashes else model


class Names:
    """Hands out C identifiers, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def fresh(self, prefix: str, hint: str) -> str:
        """Return `prefix_hint` with what C does not allow replaced, and a number if it is taken."""
        cleaned = re.sub(r"[^A-Za-z0-9]+", "_", hint).strip("_")
        base = f"{prefix}_{cleaned}"
        name, number = base, 2
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name


def comment(text: str) -> str:
    """Return `text` such that it cannot end a C comment or continue a line."""
    return re.sub(r"[^\w /.,:;()\[\]{}<>=+%@#-]", "_", text, flags=re.ASCII)


def string(text: str) -> str:
    """Return a C string literal of the UTF-8 bytes of `text`."""
    plain = re.compile(rb"[A-Za-z0-9 /_.,:;()\[\]{}<>=+%@#-]")
    parts = (bytes([b]) for b in text.encode())
    return '"' + "".join(p.decode() if plain.match(p) else f"\\{p[0]:03o}" for p in parts) + '"'
