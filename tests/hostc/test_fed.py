"""Generated C that takes its input row by row equals the simulator."""

import ctypes

import numpy as np
import pytest

from tests.cases import CASES, Case
from tests.hostc.host_library import HostLibrary, U
from tests.hostc.test_emit import compare, make, outputs
from tests.streams import chained, fed
from tests.training import LR, TRAINABLE, compiled, random_samples, scheme
from tinyengine.compiled import Compiled
from tinyengine.sim.train import Trainer
from tinyengine.update.scheme import load_scheme

OK, ARG, STATE, RANGE = 0, 1, 2, 3


@pytest.fixture(scope="module")
def chain() -> Compiled:
    return chained(fed=True)


@pytest.fixture(scope="module")
def library(chain: Compiled, tmp_path_factory: pytest.TempPathFactory) -> HostLibrary:
    return make(chain, tmp_path_factory)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_inference(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = fed(compiled(case, load_scheme("none")), 2)
    if made is None:
        return  # tests/pure/test_fed.py counts those that can be fed
    found = make(made, tmp_path_factory)
    shape = made.infer.graph.type(made.infer.graph.inputs[0]).shape
    for seed in range(3):
        x = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
        outputs(made, found, x, None)


@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_training(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = fed(compiled(case, scheme(biases=1, head="int8")), 1)
    if made is not None:
        compare(made, make(made, tmp_path_factory), 3)


def test_what_the_planner_chooses(chain: Compiled, library: HostLibrary) -> None:
    library.call("init")
    compare(chain, library, 3)


def sizes(count: int, seed: int) -> list[int]:
    """Pieces of 0 to 9 that add up to `count`."""
    rng, found = np.random.default_rng(seed), []
    while (left := count - sum(found)) > 0:
        found.append(min(int(rng.integers(0, 10)), left))
    return found


def test_rows_come_a_few_at_a_time(chain: Compiled, library: HostLibrary) -> None:
    assert chain.train is not None
    library.call("init")
    trainer = Trainer(chain.train.graph, LR, 7)
    for number, (x, label) in enumerate(random_samples(chain.train.graph, 3)):
        row = 0
        for count in sizes(x.shape[1], number):
            # a buffer that is gone after the call, as a camera's is
            rows = ctypes.create_string_buffer(x[0, row : row + count].tobytes())
            assert library.call("feed_rows", U(row), rows, U(count)) == OK
            ctypes.memset(rows, 0x5A, len(rows))
            row += count
        assert library.train_step(None, label) == trainer.step(x, label)
    assert library.state() == b"".join(a.tobytes() for a in trainer.state().values())


def test_bytes_need_not_be_rows(chain: Compiled, library: HostLibrary) -> None:
    shape = chain.infer.graph.type(chain.infer.graph.inputs[0]).shape
    x = np.random.default_rng(4).integers(-128, 128, shape).astype(np.int8)
    whole, raw = library.forward(x), x.tobytes()
    for at in range(0, len(raw), 1001):
        piece = raw[at : at + 1001]
        assert library.call("feed", U(at), piece, U(len(piece))) == OK
    assert library.forward(None) == whole


def test_rows_out_of_turn_are_refused(chain: Compiled, library: HostLibrary) -> None:
    shape = chain.infer.graph.type(chain.infer.graph.inputs[0]).shape
    x = np.random.default_rng(5).integers(-128, 128, shape).astype(np.int8)
    height, whole = shape[1], library.forward(x)
    rows = x.tobytes()
    y = ctypes.create_string_buffer(library.model.output_bytes)
    assert library.call("forward", None, y) == STATE  # used up
    assert library.call("feed_rows", U(0), rows, U(3)) == OK
    assert library.call("forward", None, y) == STATE  # not all there
    assert library.call("feed_rows", U(4), x[0, 4:].tobytes(), U(1)) == STATE  # one left out
    assert library.call("feed_rows", U(2), x[0, 2:].tobytes(), U(1)) == STATE  # one again
    assert library.call("feed_rows", U(3), None, U(1)) == ARG
    assert library.call("feed_rows", U(3), x[0, 3:].tobytes(), U(height - 2)) == RANGE
    assert library.call("feed_rows", U(height + 1), None, U(0)) == RANGE
    assert library.call("feed_rows", U(0xFFFFFFFF), None, U(2)) == RANGE
    # none of that has changed anything: the rest completes the input
    assert library.call("feed_rows", U(3), x[0, 3:].tobytes(), U(height - 3)) == OK
    assert library.forward(None) == whole


def test_a_new_input_forgets_the_one_that_was_cut_off(
    chain: Compiled, library: HostLibrary
) -> None:
    shape = chain.infer.graph.type(chain.infer.graph.inputs[0]).shape
    x = np.random.default_rng(6).integers(-128, 128, shape).astype(np.int8)
    whole = library.forward(x)
    assert library.call("feed_rows", U(0), (~x).tobytes(), U(17)) == OK
    assert library.call("feed_rows", U(0), x.tobytes(), U(shape[1])) == OK
    assert library.forward(None) == whole
    assert library.call("feed_rows", U(0), (~x).tobytes(), U(shape[1])) == OK
    library.call("init")
    y = ctypes.create_string_buffer(library.model.output_bytes)
    assert library.call("forward", None, y) == STATE


def test_a_wrong_label_leaves_the_input(chain: Compiled, library: HostLibrary) -> None:
    assert chain.train is not None
    x, label = next(iter(random_samples(chain.train.graph, 1)))
    assert library.call("feed_rows", U(0), x.tobytes(), U(x.shape[1])) == OK
    loss = ctypes.c_float()
    assert library.call("train_step", None, U(1 << 20), ctypes.byref(loss)) == RANGE
    assert library.call("train_step", None, U(label), ctypes.byref(loss)) == OK
