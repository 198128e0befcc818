"""Generated C that runs row by row equals the simulator."""

import re

import numpy as np
import pytest

from codegen.board import load_board
from codegen.emit import emit, marked_layers, write_code
from tests.cases import CASES, Case
from tests.hostc.test_emit import compare, make, outputs
from tests.streams import chained, with_streams
from tests.training import TRAINABLE, compiled, scheme
from tinyengine.update.scheme import load_scheme


@pytest.mark.parametrize("height", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_inference_row_by_row(
    case: Case, height: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = with_streams(compiled(case, load_scheme("none")), height)
    library = make(made, tmp_path_factory)
    graph = made.infer.graph
    shape = graph.type(graph.inputs[0]).shape

    for seed in range(3):
        x = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
        outputs(made, library, x, None)


@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_training_row_by_row(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = with_streams(compiled(case, scheme(biases=1, head="int8")), 2)
    compare(made, make(made, tmp_path_factory), 3)


def test_what_the_planner_chooses(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = chained()
    compare(made, make(made, tmp_path_factory), 3)


@pytest.mark.parametrize("gradients", ["f32", "s16", "s8"])
def test_gradients_over_gradients(gradients: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = chained(biases=9, gradients=gradients)
    compare(made, make(made, tmp_path_factory), 4)


def test_both_plans_share_the_code_of_a_stream() -> None:
    made = chained()
    assert made.train is not None and made.train.streams
    text = emit(made, load_board("host"))[f"src/{made.name}.c"]
    functions = re.findall(r"^static void (stream_\w+)\(", text, re.MULTILINE)
    assert len(functions) == len(made.train.streams)
    assert all(text.count(f"    {name}(") == 2 for name in functions)


def test_a_stream_is_one_step_of_a_profile() -> None:
    made = chained()
    forward, train = marked_layers(made)
    names = [m.layer for m in train if m.op == "stream"]
    assert names and names == [m.layer for m in forward if m.op == "stream"]
    assert all(m.phase == "forward" for m in forward)
    code = write_code(made)
    assert code.statements.table_bytes >= 8 * sum(len(s.rows) for s in made.infer.streams)
