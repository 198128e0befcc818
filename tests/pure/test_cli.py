"""The exit codes of the command-line contract, and what each kind of failure shows."""

import errno
import json
from collections.abc import Sequence

import pytest

from codegen.cli import add_commands, new_app, print_json, run
from tinyengine.errors import DeviceError, InternalError, UserError


def outcome(error: Exception | None, arguments: Sequence[str] = ("go",)) -> int:
    app = new_app("test")

    @app.command("go")
    def go() -> None:
        if error is not None:
            raise error
        print_json({"a": 1, "b": None})

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr("sys.argv", ["tool", *arguments])
        run(app)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(None) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1, "b": None}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("board 'x' is unknown"), 1),
        (DeviceError("board 'x' is silent"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1),
    ],
)
def test_one_message_and_no_traceback(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(error) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1


@pytest.mark.parametrize("error", [InternalError("plan overlaps"), KeyError("lost")])
def test_our_own_mistake_shows_a_traceback(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(error) == 70
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "error: internal error" in shown and "please report" in shown


@pytest.mark.parametrize("arguments", [["gone"], ["go", "--wrong"], []])
def test_usage(arguments: list[str]) -> None:
    assert outcome(None, arguments) == 2


def test_every_module_under_commands_is_a_subcommand() -> None:
    app = new_app("test")
    add_commands(app, "codegen.commands")
    assert {"build", "doctor"} <= {command.name for command in app.registered_commands}
