"""The whole way: a model is compiled, built, driven over its link, and equals the simulator."""

import base64
from pathlib import Path

import numpy as np
import pytest

from bench_melt.data.fake import fake_sample
from bench_melt.device import open_device
from bench_melt.targets.host import HostTarget
from codegen.board import load_board
from codegen.build import build
from codegen.compile_model import compile_model
from codegen.manifest import load_manifest
from tests.bench_rig import bench_melt, bench_melt_json
from tinyengine.importers import load_model
from tinyengine.ir import text
from tinyengine.sim.run import run
from tinyengine.sim.train import Trainer, model_state

CASES = Path(__file__).parents[1] / "cases.py"
MASTER = """
[update]
biases = 2
head = "float32"
rounding = "master16"
[update.weights]
"project" = 0.5
"""


def generate(folder: Path, case: str, update: str) -> Path:
    compile_model(f"{CASES}:{case}", load_board("host"), update, folder)
    return folder


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("residual") / "dir", "residual", "full")


def save_samples(path: Path, folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    manifest = load_manifest(folder)
    rng = np.random.default_rng(4)
    x = rng.integers(-128, 128, (count, *manifest.input.shape[1:])).astype(np.int8)
    y = rng.integers(0, manifest.classes, count)
    np.savez(path, x=x, y=y)
    return x, y


def test_every_step_leaves_the_simulator_s_state(residual: Path) -> None:
    got = bench_melt_json("verify", residual, "--boards", "host", "--steps", 25, "--seed", 3)
    assert (got["equal"], got["first_difference"]) == (True, None)
    assert list(got["states"]) == ["simulator", "host"]
    assert got["states"]["simulator"] == got["states"]["host"]
    again = bench_melt_json("verify", residual, "--boards", "host", "--steps", 25, "--seed", 4)
    assert again["states"]["host"] != got["states"]["host"]


def test_verify_talks_to_devices_that_run_already(residual: Path) -> None:
    elf = build(residual, load_board("host")).elf
    steps = ("--steps", 3, "--seed", 3)
    started = bench_melt_json("verify", residual, "--boards", "host", *steps)
    with HostTarget(elf) as target:
        for prefix in ("", "host="):
            port = f"{prefix}{target.start()}"
            asked = ("--boards", "host", *steps, "--port", port)
            assert bench_melt_json("verify", residual, *asked) == started
    done = bench_melt("verify", residual, "--boards", "host", *steps, "--port", port)
    assert (done.returncode, done.stdout) == (3, "")  # nobody is there any more


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        (["socket://127.0.0.1:1"], "say whose port it is, as BOARD=PORT"),
        (["hots=socket://127.0.0.1:1"], "with one of the --boards host, qemu_mps2_an500"),
        (["host="], "--port host=: say whose port it is"),
        (["host=/dev/a", "host=/dev/b"], "--port names 'host' twice"),
    ],
)
def test_ports_that_belong_to_nobody(residual: Path, ports: list[str], message: str) -> None:
    given = [word for port in ports for word in ("--port", port)]
    boards = ("--boards", "host,qemu_mps2_an500")
    done = bench_melt("verify", residual, *boards, "--steps", 1, *given)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_a_checkpoint_over_the_link_goes_on_with_the_same_bits(residual: Path) -> None:
    manifest = load_manifest(residual)
    with open_device(residual, manifest, load_board("host")) as device:
        session = device.session
        session.set_hyper(seed=5)

        def train(first: int) -> str:
            for index in range(first, first + 5):
                session.train(session.fill(1, index))
            return session.state_hash()

        half = train(0)
        tensors = [session.read_state(i) for i in range(len(manifest.state))]
        step = session.hyper().step
        whole = train(5)
        session.reset()
        session.set_hyper(seed=5, step=step)
        for index, data in enumerate(tensors):
            session.write_state(index, data)
        assert (step, session.state_hash()) == (5, half)
        assert train(5) == whole


@pytest.mark.parametrize("update", ["full", "partial"])
def test_the_state_file_is_the_simulator_s_state(tmp_path: Path, update: str) -> None:
    scheme = update
    if update == "partial":
        (tmp_path / "partial.toml").write_text(MASTER)
        scheme = str(tmp_path / "partial.toml")
    folder = generate(tmp_path / "dir", "residual", scheme)
    x, y = save_samples(tmp_path / "d.npz", folder, 6)
    got = bench_melt_json(
        "train", folder, "--board", "host", "--data", tmp_path / "d.npz", "--steps", 9,
        "--lr", 0.03125, "--state-out", tmp_path / "s.npz",
    )  # fmt: skip
    trainer = Trainer(text.parse((folder / "graph.te").read_text()), 0.03125, 0)
    losses = [trainer.step(x[i % 6][None], int(y[i % 6])) for i in range(9)]
    assert got["state_sha256"] == trainer.hash()
    assert (got["loss_first"], got["loss_last"]) == (losses[0], losses[-1])
    expected = model_state(trainer.graph, trainer.state())
    with np.load(tmp_path / "s.npz", allow_pickle=False) as state:
        assert list(state) == list(expected)
        for name, array in expected.items():
            assert state[name].dtype == array.dtype
            assert np.array_equal(state[name], array)
        if update == "partial":
            assert state["project/weight"].dtype == np.int16


@pytest.mark.parametrize("case", ["residual", "borders"])
def test_arrays_through_the_board_equal_the_simulator(tmp_path: Path, case: str) -> None:
    folder = generate(tmp_path / "dir", case, "none")
    manifest = load_manifest(folder)
    dtype = {"i8": np.int8, "f32": np.float32}[manifest.input.dtype]
    shape = manifest.input.shape[1:]
    x = np.random.default_rng(1).normal(0, 40, (6, *shape)).clip(-128, 127).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    got = bench_melt_json(
        "infer", folder, "--board", "host", "--input", tmp_path / "x.npy",
        "--output", tmp_path / "y.npy",
    )  # fmt: skip
    assert got["samples"] == 6
    y = np.load(tmp_path / "y.npy")
    graph = load_model(f"{CASES}:{case}")
    for i in range(6):
        whole = run(graph, {graph.inputs[0]: x[i : i + 1]})[graph.outputs[0]]
        assert y.dtype == whole.dtype
        assert np.array_equal(y[i], whole[0])


def test_arrays_of_another_shape_or_dtype_are_refused(residual: Path, tmp_path: Path) -> None:
    shape = load_manifest(residual).input.shape[1:]
    for x, message in (
        (np.zeros((2, 3), np.int8), "has shape (2, 3); the model wants (n, "),
        (np.zeros(shape, np.int8), "the model wants (n, "),
        (np.zeros((2, *shape)), "has dtype float64; the model's input is int8"),
    ):
        np.save(tmp_path / "x.npy", x)
        done = bench_melt(
            "infer", residual, "--board", "host", "--input", tmp_path / "x.npy",
            "--output", tmp_path / "y.npy",
        )  # fmt: skip
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "y.npy").exists()
    np.save(tmp_path / "x.npy", np.zeros((0, *shape), np.int8))
    bench_melt_json("infer", residual, "--board", "host", "--input", tmp_path / "x.npy",
                    "--output", tmp_path / "y.npy")  # fmt: skip
    assert len(np.load(tmp_path / "y.npy")) == 0


def test_a_simulator_that_computes_something_else_is_told_where(
    residual: Path, tmp_path: Path
) -> None:
    other = generate(tmp_path / "dir", "residual", "full")
    graph = (other / "graph.te").read_text()
    lines = graph.splitlines()
    at = next(i for i, line in enumerate(lines) if "classifier/bias" in line and " = " in line)
    # one bias starts one bit higher in the simulator: the folder's code no longer matches it
    head, _, data = lines[at].partition(' = "')
    raw = bytearray(base64.b64decode(data.rstrip('"')))
    raw[0] ^= 1
    lines[at] = f'{head} = "{base64.b64encode(raw).decode()}"'
    (other / "graph.te").write_text("\n".join(lines))
    done = bench_melt("verify", other, "--boards", "host", "--steps", 3, "--json")
    assert done.returncode == 3
    assert '"step": 0, "board": "host", "tensor": "classifier/bias", "index": [0]' in done.stdout
    assert "error: board 'host' parts from the simulator at step 0" in done.stderr


def test_a_step_tells_what_it_predicted(residual: Path) -> None:
    trainer = Trainer(text.parse((residual / "graph.te").read_text()), 0.05, 0)
    manifest = load_manifest(residual)
    with open_device(residual, manifest, load_board("host")) as device:
        device.session.set_hyper(lr=0.05)
        for index in range(12):
            label = device.session.fill(0, index)
            data, _ = fake_sample(0, index, device.session.info.input_bytes, manifest.classes)
            answer = device.session.train(label)
            assert answer.loss == trainer.step(data.view(np.int8), label)
            assert answer.predicted == int(trainer.logits.argmax())
