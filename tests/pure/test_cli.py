"""The exit codes of the command-line contract, and what each kind of failure shows."""

import errno
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from codegen.cli import add_commands, new_app, print_json, run, start
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
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "file/x"), 1),
        (FileExistsError(errno.EEXIST, "File exists", "x"), 1),
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


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package `some_commands` with one good command."""
    folder = tmp_path / "some_commands"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "two_words.py").write_text("def command(n: int) -> None:\n    print(n)\n")
    (folder / "helper.py").write_text("def other() -> None:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("some_commands")]:
        monkeypatch.delitem(sys.modules, name)
    return folder


def started(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", ["tool", *arguments])
    with pytest.raises(SystemExit) as end:
        start("test", "some_commands")
    return end.value.code


def test_a_module_is_a_subcommand(
    commands: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert started(monkeypatch, "two-words", "7") == 0
    assert capsys.readouterr().out == "7\n"
    assert started(monkeypatch, "helper") == 2


def test_a_missing_package_disables_its_command_only(
    commands: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (commands / "lame.py").write_text("import no_such_package\n")
    assert started(monkeypatch, "two-words", "7") == 0
    assert started(monkeypatch, "lame", "x", "--json") == 1
    message = "error: 'lame' needs the python package 'no_such_package'"
    assert capsys.readouterr().err.startswith(message)


def test_a_command_of_ours_that_cannot_be_loaded_is_our_mistake(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (commands / "lame.py").write_text("import codegen.no_such_module\n")
    assert started(monkeypatch, "two-words", "7") == 70


def test_the_real_commands() -> None:
    app = new_app("test")
    add_commands(app, "codegen.commands")
    assert {"build", "doctor"} <= {command.name for command in app.registered_commands}
