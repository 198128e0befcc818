"""`build` and `doctor` as a person calls them."""

import json
from pathlib import Path

import pytest

from codegen.cli import new_app, run
from codegen.commands import build, doctor
from tests.fake_dir import write_bare


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    app = new_app("test")
    app.command("build")(build.command)
    app.command("doctor")(doctor.command)
    monkeypatch.setattr("sys.argv", ["tool", *arguments])
    with pytest.raises(SystemExit) as end:
        run(app)
    return end.value.code


def test_build_prints_the_contracts_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bare(tmp_path / "gen", "host", "host")
    assert called(monkeypatch, "build", str(folder), "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    keys = ["elf", "flash_bytes", "ram_static_bytes", "stack_bytes", "ram_bytes"]
    assert list(figures) == keys
    assert figures["ram_bytes"] == figures["ram_static_bytes"] + figures["stack_bytes"]
    assert Path(figures["elf"]).is_file()


def test_build_prints_the_elf_s_path_as_the_folder_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bare(tmp_path / "gen", "host", "host")
    monkeypatch.chdir(tmp_path)
    assert called(monkeypatch, "build", "gen") == 0
    assert capsys.readouterr().out.split()[:2] == ["elf", "gen/build/host/firmware.elf"]
    (tmp_path / "link").symlink_to(folder)
    for typed in ("./link/", "../" + tmp_path.name + "/gen", str(folder)):
        assert called(monkeypatch, "build", typed, "--json") == 0
        elf = json.loads(capsys.readouterr().out)["elf"]
        assert elf == str(Path(typed) / "build/host/firmware.elf") and Path(elf).is_file()


def test_build_without_a_board_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "te_manifest.json").write_text("{}")
    assert called(monkeypatch, "build", str(tmp_path)) == 1
    assert "names no board; say which with --board" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "te_manifest.json").write_text(text)
    assert called(monkeypatch, "build", str(tmp_path), "--board", "host") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_doctor_prints_one_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, "doctor", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    found = {row["name"]: row for group in report.values() for row in group}
    assert found["gcc"]["version"] and found["numpy"]["where"].endswith("numpy")


def test_doctor_without_tools_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert called(monkeypatch, "doctor") == 0
    shown = capsys.readouterr()
    assert "missing: needed for Cortex-M boards" in shown.out
    assert "gcc libc6-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm" in shown.err
    assert called(monkeypatch, "doctor", "--install") == 1
    assert "no apt-get here" in capsys.readouterr().err
