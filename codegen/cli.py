"""`tinyengine-codegen`: the command line, and the exit codes that all our command lines share."""

import errno
import importlib
import json
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import typer

from tinyengine.errors import InternalError, TinyEngineError, UserError

_ISSUES = "please report it with this text and the command that you ran"
_OURS = ("tinyengine", "codegen", "bench_melt")
_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}
# the surroundings refuse: nothing of ours is broken
_SURROUNDINGS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
}


def new_app(summary: str) -> typer.Typer:
    """Return an empty typer application with the settings that our tools share."""
    app = typer.Typer(
        help=summary,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    # with a single subcommand typer would drop its name; a callback keeps it
    app.callback()(lambda: None)
    return app


def add_commands(app: typer.Typer, package: str) -> None:
    """Register every module of `package` that defines `command` under the module's name.

    A module that cannot be loaded because a Python package is missing becomes a command that says
    so: the others, `doctor` among them, keep working.
    """
    folder = importlib.import_module(package)
    for info in sorted(pkgutil.iter_modules(folder.__path__), key=lambda info: info.name):
        name = info.name.replace("_", "-")
        try:
            module = importlib.import_module(f"{package}.{info.name}")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in _OURS:
                raise
            app.command(name, context_settings=_ANYTHING)(_unavailable(name, str(error.name)))
            continue
        if hasattr(module, "command"):
            app.command(name)(module.command)


def _unavailable(name: str, missing: str) -> Callable[[], None]:
    def command() -> None:
        raise UserError(
            f"'{name}' needs the python package '{missing}', which is not installed; "
            "install tinyengine-mcu again with its dependencies"
        )

    command.__doc__ = f"Not available: the python package '{missing}' is missing."
    return command


def start(summary: str, package: str) -> NoReturn:
    """Run the command line whose subcommands are the modules of `package`."""

    def assembled() -> None:
        app = new_app(summary)
        add_commands(app, package)
        app()

    run(assembled)


def run(app: Callable[[], object]) -> NoReturn:
    """Run a command line and leave the process with the exit code of the contract.

    0 fine, 1 the user's input is wrong, 2 usage, 3 device or link, 70 internal. Only 70 shows a
    traceback.
    """
    try:
        app()
    except InternalError as error:
        _internal(error)
    except TinyEngineError as error:
        _complain(str(error), error.exit_code)
    except BrokenPipeError:
        # whoever read our output has gone: nothing to tell, and nobody to tell it to
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno in _SURROUNDINGS and error.filename is not None:
            _complain(f"cannot access '{error.filename}': {error.strerror}", 1)
        _internal(error)
    except Exception as error:
        _internal(error)
    sys.exit(0)


def print_json(value: Mapping[str, Any]) -> None:
    """Write the one JSON object of `--json` to stdout."""
    print(json.dumps(value, allow_nan=False))


def main() -> NoReturn:
    """Entry point of `tinyengine-codegen`."""
    start(
        "Turns an int8 model and an update scheme into C that trains on a board.",
        "codegen.commands",
    )


def _complain(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _internal(error: Exception) -> NoReturn:
    traceback.print_exception(error, file=sys.stderr)
    _complain(
        f"internal error: {error or type(error).__name__}; {_ISSUES}", InternalError.exit_code
    )
