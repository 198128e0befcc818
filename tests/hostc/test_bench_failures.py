"""What `bench-melt` says and how it ends when the device, the link or the input is wrong."""

import socket
from pathlib import Path

import numpy as np
import pytest

from bench_melt.device import open_device
from bench_melt.targets.host import HostTarget
from codegen.board import load_board
from codegen.build import build
from codegen.manifest import load_manifest
from codegen.paths import boards_dir
from tests.bench_rig import bench_melt, bench_melt_json, samples, write_fake_folder
from tests.proxy import LossyProxy
from tinyengine.errors import DeviceError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_folder(tmp_path_factory.mktemp("fake"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "d.npz"
    x, y = samples(4)
    np.savez(path, x=x, y=y)
    return path


def train(folder: Path, data: Path, *more: object, board: object = "host") -> tuple[int, str, str]:
    """Exit code, what stands on stdout, the one message on stderr."""
    done = bench_melt(
        "train", folder, "--board", board, "--data", data, "--steps", 4, *more, "--json"
    )
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return done.returncode, done.stdout, "\n".join(errors)


def test_nobody_at_the_port_is_exit_3(folder: Path, data: Path) -> None:
    code, out, error = train(folder, data, "--port", "socket://127.0.0.1:1")
    assert (code, out) == (3, "")
    assert "board 'host': no device at 'socket://127.0.0.1:1'" in error


def test_a_silent_device_is_told_with_what_was_waited_for(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"socket://127.0.0.1:{silent.getsockname()[1]}"
        host = load_board("host")
        with (
            pytest.raises(DeviceError, match=r"board 'host': .* is silent: no answer to HELLO in"),
            open_device(folder, load_manifest(folder), host, port=url, patience_s=0.3),
        ):
            pass


def test_another_model_on_the_device_is_exit_3(tmp_path: Path, data: Path) -> None:
    other = write_fake_folder(tmp_path / "other", model="mine", model_hash="cd" * 32)
    code, out, error = train(other, data)
    assert (code, out) == (3, "")
    assert "wrong firmware: the device runs model 'fake' (fa4e00000000), the folder holds 'mine'" \
        " (cdcdcdcdcdcd); build the folder for 'host' and flash it" in error  # fmt: skip


def test_a_device_that_dies_is_exit_3_with_its_last_words(tmp_path: Path) -> None:
    folder = write_fake_folder(tmp_path / "fake")
    text = (boards_dir() / "host.toml").read_text()
    board = tmp_path / "host.toml"
    board.write_text(
        text.replace('port = "host"', 'port = "host"\ndefines = ["TE_FAKE_OVERRUN=8"]')
    )
    x, _ = samples(4)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1, 0, 2])
    code, out, error = train(folder, tmp_path / "d.npz", board=board)
    assert (code, out) == (3, "")
    assert "board 'host': the device closed the link" in error
    assert "ended with exit code -11" in error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--lr", "nan"), "--lr nan is not a learning rate"),
        (("--lr", "1e39"), r"--lr 1e\+39 is not a learning rate"),
        (("--lr", "-1"), "--lr -1.0 is not a learning rate"),
        (("--eval", "2"), "--eval 2: data '.*' has 1 test samples; use --eval 1 or less"),
        (("--state-out", "/nowhere/s.npz"), "cannot write '/nowhere/s.npz': there is no folder"),
    ],
)
def test_senseless_settings_are_exit_1(
    folder: Path, data: Path, more: tuple[str, ...], message: str
) -> None:
    code, out, error = train(folder, data, *more)
    assert (code, out) == (1, "")
    assert pytest.RaisesExc(ValueError, match=message).matches(ValueError(error))


def test_data_that_does_not_fit_is_exit_1(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 8), np.int8), y=[0, 1, 2, 0])
    code, _, error = train(folder, tmp_path / "d.npz")
    assert code == 1
    assert "x has shape (4, 8); the model wants (n, 6000)" in error
    code, _, error = train(folder, tmp_path / "absent")
    assert (code, "no data" in error) == (1, True)


def test_an_unknown_board_and_a_strange_folder_are_exit_1(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    code, _, error = train(folder, data, board="qemu_an500")
    assert (code, "unknown board 'qemu_an500'" in error) == (1, True)
    code, _, error = train(tmp_path, data)
    assert (code, "is not a folder that 'tinyengine-codegen compile' made" in error) == (1, True)


def test_a_folder_for_inference_cannot_train(tmp_path: Path, data: Path) -> None:
    folder = write_fake_folder(tmp_path / "fake", train_layers=())
    code, _, error = train(folder, data)
    assert code == 1
    assert "was compiled with scheme 'head', in which nothing learns" in error
    done = bench_melt("verify", folder, "--boards", "host", "--steps", 1)
    assert (done.returncode, "no state to compare" in done.stderr) == (1, True)


def test_a_folder_without_its_graph_is_told_before_the_steps(tmp_path: Path, data: Path) -> None:
    folder = write_fake_folder(tmp_path / "fake")
    (folder / "graph.te").unlink()
    code, _, error = train(folder, data, "--state-out", tmp_path / "s.npz")
    assert (code, "cannot read" in error, "compile the model again" in error) == (1, True, True)
    assert not (folder / "build").exists()


def test_a_folder_with_the_graph_of_another_model_is_told(tmp_path: Path, data: Path) -> None:
    folder = write_fake_folder(tmp_path / "fake")
    (folder / "graph.te").write_text("")
    code, out, error = train(folder, data, "--state-out", tmp_path / "s.npz")
    assert (code, out) == (1, "")
    assert "holds other trainable tensors than the manifest lists" in error
    done = bench_melt("verify", folder, "--boards", "host", "--steps", 1)
    assert (done.returncode, "other trainable tensors" in done.stderr) == (1, True)


def test_wrong_usage_is_exit_2(folder: Path, data: Path) -> None:
    assert train(folder, data, "--steps", "-1")[0] == 2
    assert bench_melt("train", folder).returncode == 2
    assert bench_melt("fly").returncode == 2


def test_boards_to_verify_must_be_different_and_some(folder: Path) -> None:
    for boards, message in (("", "names no board"), ("host,host", "names 'host' twice")):
        done = bench_melt("verify", folder, "--boards", boards, "--steps", 1)
        assert (done.returncode, message in done.stderr) == (1, True)


def test_training_through_a_bad_cable_gives_the_same_state(folder: Path, data: Path) -> None:
    clean = bench_melt_json("train", folder, "--board", "host", "--data", data, "--steps", 4)
    elf = build(folder, load_board("host")).elf
    with HostTarget(elf) as target:
        url = target.start()
        with LossyProxy(url, drop=0.01, double=0.01, flip=0.01, seed=1) as proxy:
            lossy = bench_melt_json(
                "train", folder, "--board", "host", "--data", data, "--steps", 4,
                "--port", proxy.url,
            )  # fmt: skip
            assert proxy.damaged_bytes > 100
    assert lossy["state_sha256"] == clean["state_sha256"]
    assert lossy["loss_last"] == clean["loss_last"]
