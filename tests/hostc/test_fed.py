"""Generated C that takes its input row by row equals the simulator."""

import ctypes
import struct
from pathlib import Path

import numpy as np
import pytest

from bench_melt.link.codes import Code
from bench_melt.link.session import Session
from bench_melt.targets.host import HostTarget
from codegen.board import load_board
from codegen.build import build
from codegen.compile_model import compile_model
from codegen.engine import open_engine
from codegen.graphs import load_infer_graph
from codegen.manifest import load_manifest
from tests.bench_rig import bench_melt_json
from tests.cases import CASES, Case
from tests.hostc.host_library import HostLibrary, U
from tests.hostc.test_emit import compare, make, outputs
from tests.streams import chained, fed
from tests.training import LR, TRAINABLE, compiled, random_samples, scheme
from tinyengine.compiled import Compiled
from tinyengine.errors import DeviceError
from tinyengine.sim.run import run
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fed") / "dir"
    model = f"{Path(__file__).parents[1] / 'streams.py'}:chain"
    compile_model(model, load_board("host"), scheme(biases=2, head="int8"), out, fed=True)
    return out


def test_the_folder_says_that_its_input_is_fed(folder: Path) -> None:
    assert load_manifest(folder).input_fed
    header = (folder / "src" / "chain.h").read_text()
    assert "chain_feed_rows(uint32_t row, const void *rows, uint32_t count);" in header
    assert "TE_ERR_RANGE: there are 40 rows of 96 bytes." in header


def test_the_link_feeds_what_the_host_writes(folder: Path, tmp_path: Path) -> None:
    got = bench_melt_json("verify", folder, "--boards", "host", "--steps", 6)
    assert got["equal"]
    graph = load_infer_graph(folder)
    x = np.random.default_rng(3).integers(-128, 128, (2, 40, 32, 3)).astype(np.int8)
    np.save(tmp_path / "x.npy", x)
    bench_melt_json(
        "infer", folder, "--board", "host", "--input", tmp_path / "x.npy",
        "--output", tmp_path / "y.npy",
    )  # fmt: skip
    want = [run(graph, {graph.inputs[0]: one[None]})[graph.outputs[0]][0] for one in x]
    assert np.array_equal(np.load(tmp_path / "y.npy"), np.array(want))


def test_a_profile_counts_the_work_done_while_rows_come(folder: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(3).integers(-128, 128, (3, 40, 32, 3)).astype(np.int8)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1, 2])
    got = bench_melt_json(
        "train", folder, "--board", "host", "--data", tmp_path / "d.npz", "--steps", 3, "--profile"
    )
    layers = {row["layer"]: row for row in got["profile"]["layers"]}
    front = next(row for name, row in layers.items() if name.startswith("stem.."))
    # most of the net's sums are in the front: an empty pair of marks is far below this
    assert front["forward"] > 10 * layers["classifier"]["forward"]


def test_the_session_refuses_rows_out_of_turn(folder: Path) -> None:
    built = build(folder, load_board("host"))
    with HostTarget(built.elf) as target, Session.open(target.start()) as session:
        piece = struct.pack("<HI", 0, 96) + bytes(96)
        with pytest.raises(DeviceError, match="rows of its input"):
            session.exchange.ask(Code.WRITE, piece)
        with pytest.raises(DeviceError, match="rows of its input"):
            session.forward()
        with pytest.raises(DeviceError, match="arguments"):
            session.exchange.ask(Code.READ, struct.pack("<HIH", 0, 0, 8))
        assert session.fill(1, 2) == session.fill(1, 2)
        session.forward()


def test_the_engine_takes_whole_samples(folder: Path) -> None:
    engine = open_engine(folder, 0.05)
    assert engine.step_count == 0
