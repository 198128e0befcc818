"""The demo's model and data: sound, small, reproducible, and the learning shows."""

from pathlib import Path

import numpy as np
import pytest

from bench_melt.data import load_dataset
from bench_melt.demo.adapt import adapt, make_task
from bench_melt.demo.flow import FALLBACK, RATE, choose_board, files
from bench_melt.demo.make_model import WEARER, demo_scheme
from bench_melt.demo.watch import WINDOW, Recording, Windows, cut, load_recordings
from codegen.manifest import Border
from tests.needs import package
from tinyengine.importers.tflite import load_tflite
from tinyengine.ir.graph import Graph
from tinyengine.ir.verify import Stage, verify

TESTS = 220


@pytest.fixture(scope="module")
def graph() -> Graph:
    return load_tflite(files()[0])


@pytest.fixture(scope="module")
def learn() -> Windows:
    with np.load(files()[2]) as data:
        return Windows(data["x"], data["y"])


@pytest.fixture(scope="module")
def test() -> Windows:
    with np.load(files()[2]) as data:
        return Windows(data["x_test"], data["y_test"])


def test_the_files_travel_and_are_small() -> None:
    sizes = [path.stat().st_size for path in files()]
    assert sum(sizes) < 400_000
    notice = files()[2].with_name("LICENSE.seglearn").read_text()
    assert "David M. Burns" in notice and "Redistribution" in notice


def test_the_model_is_sound(graph: Graph) -> None:
    verify(graph, Stage.IMPORT)
    assert graph.type(graph.inputs[0]).shape == (1, WINDOW, 1, 6)
    assert graph.type(graph.outputs[0]).count == 7


def test_the_data_fits_the_model() -> None:
    border = Border(shape=(1, WINDOW, 1, 6), dtype="i8", device_dtype="i8", scale=1 / 32)
    data = load_dataset(str(files()[2]), border, 7)
    assert len(data.y_test) == TESTS and data.classes == 7
    assert set(data.y) == set(data.y_test) == set(range(7))


def test_accuracy_rises(graph: Graph, learn: Windows, test: Windows) -> None:
    found = adapt(graph, demo_scheme(), learn, test, 150, RATE)
    assert found.accuracy_before == 73 / TESTS
    assert found.accuracy_after > 0.75
    again = adapt(graph, demo_scheme(), learn, test, 150, RATE)
    assert again == found


def test_windows_of_two_parts_share_no_sample() -> None:
    # every sample is its own number, so that windows can be traced
    numbers = np.repeat(np.arange(-128, 128, dtype=np.int8)[:, None], 6, axis=1)
    recordings = [Recording(numbers, 0, 1, 0)]
    early, late = cut(recordings, 4, (0.0, 0.5)), cut(recordings, 4, (0.5, 1.0))
    assert len(early.y) > 1 and len(late.y) > 1
    assert not set(early.x.ravel()) & set(late.x.ravel())


def test_the_data_is_what_the_script_makes(learn: Windows, test: Windows) -> None:
    package("seglearn")
    task = make_task(load_recordings()[0], WEARER)
    assert np.array_equal(task.learn.x, learn.x) and np.array_equal(task.learn.y, learn.y)
    assert np.array_equal(task.test.x, test.x) and np.array_equal(task.test.y, test.y)


def test_without_tools_it_says_so_and_runs_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lines: list[str] = []
    assert choose_board(lines.append).name == FALLBACK
    assert "arm-none-eabi-gcc" in lines[0] and "install" in lines[0]
    assert "this computer" in lines[1]
