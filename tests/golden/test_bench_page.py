"""docs/bench.md: its suite is one, its columns exist, its keys are those of the tables."""

import re
from pathlib import Path

import pytest

from bench_melt.record import COLUMNS
from bench_melt.suite import load_suite
from bench_melt.workloads.tables import Goodput, LlmRunner, LlmTable, TfliteTable

pytestmark = pytest.mark.golden

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bench.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text from a heading to the next of its level or higher."""
    level = title.split(" ")[0]
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", PAGE, re.M | re.S)
    assert found is not None, title
    return found[1]


def first_cells(text: str) -> list[str]:
    return [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]


def test_the_suite_is_one(tmp_path: Path) -> None:
    block = re.search(r"^```toml\n(.*?)^```", PAGE, re.M | re.S)
    assert block is not None
    path = tmp_path / "suite.toml"
    path.write_text(block[1], encoding="utf-8")
    suite = load_suite(path)
    assert {cell.workload.kind for cell in suite.cells} == {"llm", "tflite"}
    assert f"cells       {len(suite.cells)}\n" in PAGE


def test_the_columns_exist() -> None:
    named = []
    for cell in first_cells(section("## Figures")):
        names = re.findall(r"`(\w+\*?)`", cell)
        stem = names[0].rpartition("_p")[0]
        named += [stem + name if name.startswith("_p") else name for name in names]
    assert len(named) > 25
    for name in named:
        pattern = re.compile(name.replace("*", r"\w+"))
        assert any(pattern.fullmatch(column) for column in COLUMNS), name


@pytest.mark.parametrize(
    ("title", "table", "elsewhere"),
    [
        ("### `llm`", LlmTable, {"kind", "name", "models", "runner"}),
        ("### `tflite`", TfliteTable, {"kind", "name", "models"}),
    ],
)
def test_the_keys_are_those_of_the_tables(
    title: str, table: type[LlmTable] | type[TfliteTable], elsewhere: set[str]
) -> None:
    text = section(title)
    named = {name for cell in first_cells(text) for name in re.findall(r"`([\w.]+)`", cell)}
    named = {name for name in named if not name.startswith("runner.")}
    named -= {"threads", "context", "batch", "ubatch", "gpu_layers"} - {*table.model_fields}
    assert named == {*table.model_fields} - elsewhere
    if table is LlmTable:
        assert all(f"`{key}`" in text for key in Goodput.model_fields)
        told = {"kind", "program", "threads", "context", "batch", "ubatch", "gpu_layers"}
        assert told <= {*LlmRunner.model_fields}
