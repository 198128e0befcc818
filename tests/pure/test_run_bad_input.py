"""What `bench-melt run` says of a suite, a model or a database that is wrong: exit code 1, once."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.bench_command import SUITE, bench_run
from tests.tiny_gguf import write_tiny_gguf

MODEL = 'path = "tiny.gguf"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_gguf(tmp_path / "tiny.gguf")
    return tmp_path


def refused(folder: Path, text: str, *more: str) -> None:
    path = folder / "suite.toml"
    path.write_text(text)
    assert bench_run([str(path), "--db", str(folder / "results.sqlite"), *more]) == 1


def message(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1
    return shown.err.removeprefix("error: ").rstrip()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[suite]", "[siute]\nx = 1\n[suite]", "unknown key 'siute' (nearest: 'suite')"),
        ("warmups", "warmup", "unknown key 'warmup' in [suite] (nearest: 'warmups')"),
        ('"local"', '"local"\ncoers = [1]', "unknown key 'coers' in [targets] (nearest: 'cores')"),
        (
            '"local"',
            '"local"\nconnection = { adress = "x" }',
            "unknown key 'adress' in [targets.connection] (nearest: 'address')",
        ),
        (
            "n_gen = 2",
            "runner = { thread = 2 }",
            "unknown key 'thread' in [workloads.runner] (nearest: 'threads')",
        ),
        (
            'kind = "llm"',
            'kind = "tflite"\nthread = 2\ninferences = 3',
            "unknown key 'thread' in [workloads] (nearest: 'threads')",
        ),
        ('kind = "llm"', 'kind = "lm"', "unknown kind 'lm' in [workloads] (nearest: 'llm'); kinds"),
        ('kind = "llm"\n', "", "key 'kind' in [workloads] is missing"),
        (
            "n_gen = 2",
            'runner = { kind = "embeded" }',
            "key 'kind' in [workloads.runner] is 'embeded' (nearest: 'embedded')",
        ),
        ("repetitions = 1", "repetitions = 0", "key 'repetitions' in [suite] is 0"),
    ],
)
def test_keys(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    assert old in SUITE
    refused(folder, SUITE.replace(old, new, 1))
    told = message(capsys)
    assert words in told and "after validation" not in told


def test_an_empty_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SUITE.replace(f'[[models]]\nname = "tiny"\n{MODEL}\n', "")
    refused(folder, f"models = []\n{text}")
    assert "key 'models' is (): tuple should have at least 1 item" in message(capsys)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"local"', '"locl"', "unknown machine 'locl' (nearest: 'local'); machines: "),
        ('"local"', '"my/own.toml"', "own.toml': No such file or directory"),
        ('"local"', '"local"\ncores = "big"', "machine 'local' has no cores called 'big'"),
        ("tiny.gguf", "tiny.guf", "tiny.guf' (nearest: 'tiny.gguf', "),
        ("tiny.gguf", "suite.toml", "is neither a .gguf nor a .tflite file (begins with b'[suite]"),
        ("tiny.gguf", "cut.gguf", "cut.gguf' is not a readable .gguf file: "),
        (MODEL, 'package = "smollm2-135"', "model 'smollm2-135' (nearest: 'smollm2-135m')"),
        (MODEL, f'{MODEL}\nquantisation = "Q4_11"', "unknown quantisation 'Q4_11' of model 'tiny"),
        (MODEL, f'{MODEL}\nquantisation = "Q4_1"', "holds quantisation 'F16', the suite says 'Q4"),
        (
            "n_gen = 2",
            'runner = { kind = "server", program = "absent" }',
            "workload 'w': there is no program",
        ),
    ],
)
def test_what_is_named_is_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    assert old in SUITE
    (folder / "cut.gguf").write_bytes((folder / "tiny.gguf").read_bytes()[:100_000])
    refused(folder, SUITE.replace(old, new, 1))
    assert words in message(capsys)
    assert not (folder / "results.sqlite").exists()


def test_databases(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = folder / "notes.txt"
    notes.write_text("buy milk")
    refused(folder, SUITE, "--db", str(notes))
    assert "notes.txt' is not a database of SQLite; it was left as it is" in message(capsys)
    assert notes.read_text() == "buy milk"
    with closing(sqlite3.connect(folder / "newer.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE bench_meta (version INTEGER)")
        connection.execute("INSERT INTO bench_meta VALUES (99)")
    refused(folder, SUITE, "--db", str(folder / "newer.sqlite"))
    assert "has schema version 99, this tool writes and reads 1; update" in message(capsys)


def test_a_suite_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_run([str(tmp_path / "absent.toml")]) == 1
    assert "cannot read suite file" in message(capsys)


def test_a_model_that_is_not_there_is_not_compared_with_other_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tiny2.sqlite").write_text("")
    refused(folder, SUITE.replace(MODEL, 'path = "tiny2.gguf"'))
    assert message(capsys).endswith("tiny2.gguf' (nearest: 'tiny.gguf')")


def test_rows_that_failed_are_shown_by_the_command_that_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, db = folder / "suite.toml", folder / "my rows.sqlite"
    path.write_text(SUITE.replace('"local"', '"local"\ncores = [4096]'))
    assert bench_run([str(path), "--db", str(db)]) == 3
    run = f"bench-melt report --db '{db}' --run "
    assert f"their rows say why: {run}" in capsys.readouterr().err
    assert bench_run([str(path), "--db", str(db), "--resume"]) == 0
    assert "has all its 1 rows: nothing was measured" in capsys.readouterr().err
