"""A model as a Python function: `file.py:function` is called with a `Net` and writes the graph."""

from __future__ import annotations

import contextlib
import sys
import traceback
import types
from pathlib import Path

from tinyengine.errors import ModelError, UserError
from tinyengine.importers.net import Net
from tinyengine.ir.graph import Graph

_MODULE = "tinyengine_user_model"


def load_python(path: Path, function: str) -> Graph:
    """The graph that `function` of the file `path` writes. The file is the user's own code: run.

    Nothing is cached: the file is compiled anew and its module forgotten.

    Raises:
        ModelError: no such file or function, or an error in it, with its line.
    """
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"no file '{path}'; a Python model is written file.py:function") from None
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {error.strerror}") from None
    module = types.ModuleType(_MODULE)
    module.__file__ = str(path)
    sys.modules[_MODULE] = module  # dataclasses and the like look their module up
    try:
        # stdout belongs to the command's answer (`--json`); what the file prints is a note
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(source, str(path), "exec"), module.__dict__)
            return _trace(module, path, function)
    except (Exception, SystemExit) as error:
        raise ModelError(_message(error, path)) from error
    finally:
        del sys.modules[_MODULE]


def _trace(module: types.ModuleType, path: Path, function: str) -> Graph:
    made = getattr(module, function, None)
    if not callable(made):
        own = [
            name
            for name, item in vars(module).items()
            if isinstance(item, types.FunctionType) and item.__module__ == _MODULE
        ]
        there = ", ".join(f"'{name}'" for name in own) or "none"
        raise ModelError(f"'{path}' has no function '{function}'; functions there: {there}")
    net = Net(function)
    return net.graph(made(net))


def _message(error: BaseException, path: Path) -> str:
    """The error with the line of the user's file that it comes from."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"'{path}', line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    if not lines:
        return f"{kind}{error}" if kind == "" else f"'{path}': {kind}{error}"
    return f"'{path}', line {lines[-1]}: {kind}{error}"
