"""Operators' attributes as text and back: `{hi=127, window=window{...}}`, never evaluated."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

from tinyengine.ops.op import Op
from tinyengine.ops.registry import OPS
from tinyengine.ops.window import Window


def format_op(op: Op) -> tuple[str, str]:
    """An operator's name and its attributes in braces."""
    return op.kind, _format_fields(op)


def _format_fields(item: Any) -> str:
    fields = ((f.name, getattr(item, f.name)) for f in dataclasses.fields(item))
    return "{" + ", ".join(f"{name}={_format(value)}" for name, value in fields) + "}"


def _format(value: Any) -> str:
    if isinstance(value, Window):
        return "window" + _format_fields(value)
    if isinstance(value, Op):
        return value.kind + _format_fields(value)
    return repr(value)


def parse_op(kind: str, text: str) -> Op:
    """The operator that `format_op` printed.

    Raises:
        ValueError: unknown operator, or text that is not its attributes.
    """
    item, end = _parse_item(kind, text, 0)
    if not isinstance(item, Op) or text[end:].strip():
        raise ValueError(f"'{text}' does not describe operator '{kind}'")
    return item


def _parse_item(kind: str, text: str, at: int) -> tuple[Op | Window, int]:
    made = Window if kind == "window" else OPS.get(kind)
    if made is None:
        raise ValueError(f"unknown operator '{kind}'")
    if not text.startswith("{", at):
        raise ValueError(f"expected '{{' at column {at} of '{text}'")
    fields: dict[str, Any] = {}
    at += 1
    while not text.startswith("}", at):
        equals = text.index("=", at)
        name = text[at:equals].strip(" ,")
        fields[name], at = _parse_attribute(text, equals + 1)
    return made(**fields), at + 1


def _parse_attribute(text: str, at: int) -> tuple[Any, int]:
    brace = at
    while brace < len(text) and (text[brace].isalnum() or text[brace] == "_"):
        brace += 1
    if text.startswith("{", brace) and brace > at:
        return _parse_item(text[at:brace], text, brace)
    end = _literal_end(text, at)
    try:
        return ast.literal_eval(text[at:end]), end
    except SyntaxError:
        raise ValueError(f"attribute '{text[at:end]}' is not a number, text or tuple") from None


def _literal_end(text: str, at: int) -> int:
    """Where a Python literal ends: at a comma or brace outside parentheses and quotes."""
    depth, quote, escaped = 0, "", False
    for index in range(at, len(text)):
        c = text[index]
        if quote:
            quote = "" if c == quote and not escaped else quote
            escaped = c == "\\" and not escaped
        elif c in "'\"":
            quote = c
        else:
            depth += (c == "(") - (c == ")")
            if depth == 0 and c in ",}":
                return index
    raise ValueError(f"attribute at column {at} of '{text}' does not end")
