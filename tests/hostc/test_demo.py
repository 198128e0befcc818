"""The demo on this computer: the same bits as the simulator, and its command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench_melt.commands.demo import command
from bench_melt.demo import language
from bench_melt.demo.adapt import adapt
from bench_melt.demo.flow import RATE, files, run_demo
from bench_melt.demo.make_model import demo_scheme
from bench_melt.demo.watch import Windows
from codegen.board import load_board
from codegen.cli import new_app
from tinyengine.errors import UserError
from tinyengine.importers.tflite import load_tflite


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: what is built already is not built again."""
    return tmp_path_factory.mktemp("demo") / "out"


def test_equals_the_simulator(out: Path) -> None:
    with np.load(files()[2]) as data:
        learn, test = Windows(data["x"], data["y"]), Windows(data["x_test"], data["y_test"])
    expected = adapt(load_tflite(files()[0]), demo_scheme(), learn, test, 100, RATE)
    lines: list[str] = []
    found = run_demo(out, load_board("host"), 100, lines.append)
    assert found.result.state_sha256 == expected.state_sha256
    assert found.result.accuracy_before == expected.accuracy_before
    assert found.result.accuracy_after == expected.accuracy_after
    assert found.result.instructions_per_step is None
    assert found.report.is_file() and len(lines) == 3


def test_never_writes_into_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="--out"):
        run_demo(tmp_path, load_board("host"), 1, lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_command_prints_one_json_object(out: Path) -> None:
    app = new_app("test")
    app.command("demo")(command)
    arguments = ["demo", "training", "--out", str(out), "--board", "host", "--steps", "5"]
    found = CliRunner().invoke(app, [*arguments, "--json"])
    assert found.exit_code == 0
    figures = json.loads(found.stdout)
    assert figures["steps"] == 5 and figures["instructions_per_step"] is None
    assert figures["language"] is None
    table = CliRunner().invoke(app, arguments)
    assert "accuracy after" in table.stdout and "not counted" in table.stdout
    assert "of 262,144" not in table.stdout


def test_without_its_packages_the_language_part_is_a_note(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "NEEDED", ("gguf", "no_such_package"))
    app = new_app("test")
    app.command("demo")(command)
    arguments = ["--out", str(out), "--board", "host", "--steps", "1"]
    found = CliRunner().invoke(app, ["demo", *arguments, "--json"])
    assert found.exit_code == 0
    figures = json.loads(found.stdout)
    assert figures["steps"] == 1 and figures["language"] is None
    how = "'no_such_package' is not installed: pip install 'tinyengine-mcu[llm]'"
    assert how in found.stderr
    asked = CliRunner().invoke(app, ["demo", "language", *arguments])
    assert isinstance(asked.exception, UserError) and how[:17] in str(asked.exception)
