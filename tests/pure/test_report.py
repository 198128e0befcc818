"""Statistics, comparisons and reports of rows."""

import csv
import io
import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_melt.commands import compare as compare_command
from bench_melt.commands import report as report_command
from bench_melt.compare import (
    changed_conditions,
    compare,
    find_rows,
    lost_cells,
    regressions,
)
from bench_melt.record import (
    COLUMNS,
    Conditions,
    Energy,
    Identity,
    Latency,
    ModelFacts,
    Outcome,
    Quality,
    Results,
    Row,
    Setting,
    Sustained,
)
from bench_melt.report.flat import to_csv, to_json, to_jsonl, to_sql
from bench_melt.report.llama_bench import FIELDS, label_of, llama_bench_rows
from bench_melt.report.pages import to_html
from bench_melt.report.summary import cells_of, figure_of, to_markdown
from bench_melt.stats import difference, holm, smallest_p, summarise
from bench_melt.store import Run, Store, open_store
from tinyengine.errors import UserError

pytestmark = pytest.mark.pure


def row(run: str, repetition: int, tokens_per_s: float, **more: Any) -> Row:
    name = more.pop("model", "m")
    reason = more.pop("reason", None)
    return Row(
        Identity(
            run_id=run,
            cell_key=f"{name}{repetition}{more.get('workload', '')}",
            position=repetition,
            suite="s",
            target="phone",
            model=name,
            workload=more.pop("workload", "chat"),
            workload_kind="llm",
            repetition=repetition,
            seed=repetition,
        ),
        Outcome("failed" if reason else "ok", reason, f"2026-01-01T00:00:{repetition:06}", 1.0),
        conditions=Conditions(temperature_c_after=30.0 + repetition % 9),
        results=Results(
            model=ModelFacts(model_filename=f"{name}.gguf", quantisation="Q4_0"),
            setting=Setting(build_commit="abc", n_prompt=512, n_gen=128, n_depth=0, n_threads=1),
            latency=Latency(decode_tokens_per_s=tokens_per_s, prefill_tokens_per_s=100.0),
            sustained=Sustained(3, "[3, 2, 1]"),
            energy=Energy(j_per_token_decode=tokens_per_s / 50),
            quality=Quality(perplexity=12.0),
            details={"phases": []},
        ),
    )


def stored(folder: Path, runs: Mapping[str, list[Row]]) -> str:
    path = str(folder / f"{len(list(folder.iterdir()))}.sqlite")
    with open_store(path, create=True) as store:
        for at, (name, rows) in enumerate(runs.items()):
            fill(store, name, rows, at)
    return path


def fill(store: Store, name: str, rows: list[Row], at: int) -> None:
    store.add_run(Run(name, "s", "h", "", len(rows), f"2026-01-0{at + 1}"))
    for one in rows:
        store.add_row(one)


def speeds(run: str, mean: float, count: int = 8, **more: Any) -> list[Row]:
    rng = np.random.default_rng(int(mean * 100))
    return [row(run, at, mean * float(rng.normal(1, 0.01)), **more) for at in range(count)]


def test_the_median_and_its_interval() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        found = summarise(list(rng.normal(10, 2, 25)))
        assert found.low is not None and found.high is not None
        assert found.low <= found.median <= found.high
        inside += found.low <= 10 <= found.high
    # a 95 % interval holds the true median about 190 times of 200
    assert 178 <= inside <= 199
    assert summarise([3.0]).low is None
    assert summarise([3.0, 3.0]) == summarise([3.0, 3.0])


def test_the_test_is_blind_to_nothing_and_sees_something() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(300):
        alarms += difference(list(rng.normal(5, 1, 10)), list(rng.normal(5, 1, 10))).p < 0.05
    assert alarms < 30  # 5 % of 300 are 15
    found = difference([1.0, 1.1, 1.2, 1.05, 1.15], [2.0, 2.1, 2.2, 2.05, 2.15])
    assert found.effect == 1.0 and found.p < 0.01 and found.change == pytest.approx(0.909, abs=0.01)
    assert difference([4.0] * 5, [4.0] * 5).p == 1.0


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]
    assert smallest_p(3, 3) == pytest.approx(0.1) and smallest_p(4, 4) < 0.05


def test_a_regression_is_found_and_noise_is_not(tmp_path: Path) -> None:
    path = stored(
        tmp_path,
        {
            "one": [*speeds("one", 50.0), *speeds("one", 20.0, model="n")],
            "two": [*speeds("two", 40.0), *speeds("two", 20.0, model="n")],
        },
    )
    lines = compare(find_rows("one", path), find_rows("two", path), ["decode_tokens_per_s"])
    verdicts = {line.model: line.verdict for line in lines}
    assert verdicts["m"] == "worse"
    assert lines[0].effect == -1.0 and lines[0].change == pytest.approx(-0.2, abs=0.02)
    assert [line.model for line in regressions(lines, 0.05)] == ["m"]
    assert regressions(lines, 0.5) == []
    back = compare(find_rows("two", path), find_rows("one", path), ["decode_tokens_per_s"])
    assert {line.model: line.verdict for line in back}["m"] == "better"


def test_identical_runs_do_not_differ_and_few_rows_say_so(tmp_path: Path) -> None:
    path = stored(tmp_path, {"one": speeds("one", 50.0), "two": speeds("two", 50.0)})
    (line,) = compare(find_rows("one", path), find_rows("two", path), ["decode_tokens_per_s"])
    assert line.verdict == "no difference" and line.p == 1.0
    few = stored(tmp_path / "..", {}) if False else path
    rows = find_rows("one", few)[:3]
    (line,) = compare(rows, rows, ["decode_tokens_per_s"])
    assert line.verdict == "too few"


def test_the_command_exits_1_on_a_regression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path, {"one": speeds("one", 50.0), "two": speeds("two", 40.0)})
    with pytest.raises(compare_command.typer.Exit) as stop:
        compare_command.command("one", "two", db=path, metric=None, limit=5.0, as_json=True)
    assert stop.value.exit_code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["regressions"] == 1  # slower; its energy per token fell
    compare_command.command("one", "one", db=path, metric=None, limit=5.0, as_json=False)


def test_a_cell_that_only_fails_now_is_a_regression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fallen = [row("two", at, 1.0, reason="out of memory") for at in range(3)]
    mixed = [row("three", 0, 1.0, reason="cable pulled"), *speeds("three", 50.0)[1:]]
    runs = {"one": speeds("one", 50.0), "two": fallen, "three": mixed}
    path = stored(tmp_path, runs)
    options: dict[str, Any] = {"db": path, "metric": None, "limit": 5.0}
    with pytest.raises(compare_command.typer.Exit) as stop:
        compare_command.command("one", "two", **options, as_json=False)
    assert stop.value.exit_code == 1
    assert "phone m chat failed 3 times in B: out of memory" in capsys.readouterr().out
    with pytest.raises(compare_command.typer.Exit):
        compare_command.command("one", "two", **options, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["regressions"] == 1 and told["lost"][0]["reason"] == "out of memory"
    # one failure among good rows is none, and what A could not do either is none
    compare_command.command("one", "three", **options, as_json=False)
    assert lost_cells(find_rows("two", path), find_rows("two", path)) == []


def test_conditions_that_differ_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path, {"one": speeds("one", 50.0)})
    first = find_rows("one", path)
    other = [{**one, "n_threads": 4, "governor": "powersave"} for one in first]
    assert changed_conditions(first, first) == {}
    assert changed_conditions(first, other) == {
        "n_threads": ("1", "4"),
        "governor": ("null", "powersave"),
    }
    second = [replace(one, conditions=Conditions(governor="x")) for one in speeds("two", 50.0)]
    both = stored(tmp_path, {"one": speeds("one", 50.0), "two": second})
    compare_command.command("one", "two", db=both, metric=None, limit=5.0, as_json=False)
    assert "not the same condition: governor is null in A, x in B" in capsys.readouterr().out


def test_a_name_that_is_no_file_and_no_run(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.sqlite")
    with pytest.raises(UserError, match="there is no database file '.*absent.sqlite'"):
        find_rows(absent, absent)
    with pytest.raises(UserError, match="'x' is no file, so it is taken for a run's id; there is"):
        find_rows("x", absent)


@pytest.mark.parametrize(
    ("name", "message"),
    [("three", "there is no run 'three'.*runs: one, two"), ("o", None), ("", "may be run one or")],
)
def test_names_of_runs(tmp_path: Path, name: str, message: str | None) -> None:
    path = stored(tmp_path, {"one": speeds("one", 50.0), "two": speeds("two", 50.0)})
    if message is None:
        assert len(find_rows(name, path)) == 8
        return
    with pytest.raises(UserError, match=message):
        find_rows(name, path)


def test_runs_without_anything_in_common(tmp_path: Path) -> None:
    path = stored(tmp_path, {"one": speeds("one", 5.0), "two": speeds("two", 5.0, model="n")})
    with pytest.raises(UserError, match="nothing|no target, model, workload and metric in common"):
        compare(find_rows("one", path), find_rows("two", path), ["decode_tokens_per_s"])


def rows_of(path: str) -> list[Mapping[str, Any]]:
    with open_store(path, create=False) as store:
        return list(store.rows())


def sample(folder: Path) -> list[Mapping[str, Any]]:
    bad = row("one", 99, 1.0, reason="out of memory: it's 'big' | <b>bold</b>; DROP TABLE x")
    return rows_of(stored(folder, {"one": [*speeds("one", 50.0), bad]}))


def test_flat_files_hold_every_row_and_column(tmp_path: Path) -> None:
    rows = sample(tmp_path)
    read = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert len(read) == 9 and list(read[0]) == [*COLUMNS, "details"]
    assert read[0]["ttft_ms"] == "" and read[0]["decode_tokens_per_s"] != ""
    assert json.loads(to_json(rows))[8]["reason"].startswith("out of memory")
    lines = [json.loads(line) for line in to_jsonl(rows).splitlines()]
    assert lines == json.loads(to_json(rows)) and lines[0]["details"] == {"phases": []}


def test_sql_reads_back(tmp_path: Path) -> None:
    rows = sample(tmp_path)
    connection = sqlite3.connect(":memory:")
    connection.executescript(to_sql(rows))
    connection.row_factory = sqlite3.Row
    read = [dict(found) for found in connection.execute("SELECT * FROM bench_rows")]
    assert read == [dict(found) for found in rows]
    tests = [dict(found) for found in connection.execute("SELECT * FROM llama_bench")]
    connection.close()
    assert len(tests) == 16 and list(tests[0]) == list(FIELDS)
    assert not any(value is None for test in tests for value in test.values())
    # prompt processing at depth 0, generation behind the prompt
    assert (tests[0]["n_prompt"], tests[0]["n_gen"], tests[0]["n_depth"]) == (512, 0, 0)
    assert (tests[1]["n_prompt"], tests[1]["n_gen"], tests[1]["n_depth"]) == (0, 128, 512)
    assert tests[0]["avg_ns"] == pytest.approx(5.12e9) and tests[0]["avg_ts"] == 100.0


def test_names_as_llama_bench_prints_them() -> None:
    assert label_of(512, 0, 0) == "pp512"
    assert label_of(0, 128, 512) == "tg128 @ d512"
    assert label_of(512, 128, 0) == "pp512+tg128"
    assert list(llama_bench_rows([])) == []


def test_tables_and_pages_escape_what_devices_say(tmp_path: Path) -> None:
    rows = sample(tmp_path)
    (cell,) = cells_of(rows)
    assert cell.n == 8 and sum(cell.failures.values()) == 1
    table = to_markdown(rows)
    assert "| phone | m | Q4_0 | chat | decode_tokens_per_s |" in table
    assert "failed 1 times: phone m chat: out of memory" in table
    page = to_html(rows)
    assert "<b>bold</b>" not in page and "&lt;b&gt;bold&lt;/b&gt;" in page
    for title in ("Speed against energy", "perplexity against speed", "Temperature", "Sustained"):
        assert title in page
    # stands alone: the library is inside, once, and nothing is fetched
    assert page.count("plotly.js v") == 1 and "<script src=" not in page


def test_figures_for_people(tmp_path: Path) -> None:
    rows = [{**one, "memory_peak_bytes": 214_500_000} for one in sample(tmp_path)]
    for text in (to_markdown(rows), to_html(rows)):
        assert "214,500,000" in text and "e+08" not in text
    assert figure_of("ttft_ms", 1234.5678) == "1235"


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    measured = sample(tmp_path)
    page = to_html(measured)
    assert "Not measured: no workload of kind &#39;tflite&#39;." in page
    assert "Not measured: no row has a recording that is still there." in page
    bare = dict.fromkeys(("j_per_token_decode", "perplexity", "temperature_c_after"))
    page = to_html([{**one, **bare} for one in measured])
    for missing in (
        "no meter told",
        "no workload with &#39;quality = true&#39;",
        "no machine told",
    ):
        assert f"Not measured: {missing}" in page
    assert "Not measured: no repetition decoded" not in page
    # a cell with one of two figures is named below the picture of the others
    other = [{**one, "model": "n", "j_per_token_decode": None} for one in measured]
    assert "Not measured for phone n Q4_0 chat." in to_html([*measured, *other])
    assert "plotly.js v" not in to_html([])  # nothing to draw, nothing to draw with


def test_power_is_drawn_with_its_phases(tmp_path: Path) -> None:
    samples = tmp_path / "p.csv"
    lines = [f"{at / 100},5.0,{0.1 if at < 50 else 0.3}" for at in range(100)]
    samples.write_text("time_s,voltage_v,current_a\n" + "\n".join(lines), encoding="utf-8")
    one = dict(sample(tmp_path)[0])
    phases = [{"phase": "decode", "start_s": 0.5, "end_s": 1.0}]
    one |= {"samples_file": str(samples), "details": json.dumps({"phases": phases})}
    assert "Power and phases" in to_html([one])


def test_ten_thousand_rows_in_time(tmp_path: Path) -> None:
    path = str(tmp_path / "r.sqlite")
    many = [row("one", at, 50.0 + at % 7, workload=f"w{at % 50}") for at in range(10_000)]
    with open_store(path, create=True) as store:
        store.add_run(Run("one", "s", "h", "", len(many), "2026-01-01"))
        values = [one.flat() | {"details": "{}"} for one in many]
        with store._engine.begin() as connection:
            from bench_melt.store import _ROWS

            connection.execute(_ROWS.insert(), values)
    with open_store(path, create=False) as store:
        start_s = time.process_time()
        assert len(store.finished_cells("one")) == 10_000
        resume_s = time.process_time() - start_s
        start_s = time.process_time()
        page = to_html(store.rows())
        report_s = time.process_time() - start_s
    assert "10000 repetitions" in page
    # generous: the figures are measured by docs/make_melt.py, this only keeps quadratic work out
    assert resume_s < 5 and report_s < 25


@pytest.mark.parametrize("form", list(report_command.Form))
def test_the_command_writes_each_form(tmp_path: Path, form: report_command.Form) -> None:
    path = stored(tmp_path, {"one": speeds("one", 50.0)})
    goal = tmp_path / "out"
    report_command.command(db=path, form=form, run="one", to=goal)
    assert goal.stat().st_size > 100


def test_the_command_refuses_an_unknown_run(tmp_path: Path) -> None:
    path = stored(tmp_path, {"one": speeds("one", 50.0)})
    with pytest.raises(UserError, match="'x' is 0 runs of .*; its runs: one"):
        report_command.command(db=path, form=report_command.Form.MD, run="x", to=None)
