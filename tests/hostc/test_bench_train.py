"""`bench-melt train` on a fake model whose steps the test computes itself."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from bench_melt.data.dataset import visiting_order
from tests.bench_rig import FakeTrainer, bench_melt, bench_melt_json, samples, write_fake_folder

KEYS = (
    "accuracy_before", "accuracy_after", "loss_first", "loss_last", "steps",
    "instructions_per_step", "instructions_forward", "ram_bytes", "state_sha256",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_folder(tmp_path_factory.mktemp("fake"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "d.npz"
    x, y = samples(7)
    x_test, y_test = samples(5, seed=1)
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
    return path


def state_hash(trainer: FakeTrainer) -> str:
    return hashlib.sha256(trainer.weight.tobytes() + trainer.bias.tobytes()).hexdigest()


def test_the_device_takes_the_samples_in_file_order_again_and_again(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    trainer = FakeTrainer(lr=0.125)
    x, y = samples(7)
    test = samples(5, seed=1)
    before = trainer.accuracy(*test)
    losses = [trainer.step(x[i % 7], y[i % 7]) for i in range(17)]
    out = tmp_path / "state.npz"
    got = bench_melt_json(
        "train", folder, "--board", "host", "--data", data, "--steps", 17, "--lr", 0.125,
        "--state-out", out,
    )  # fmt: skip
    assert tuple(got) == KEYS
    assert got["state_sha256"] == state_hash(trainer)
    assert (got["loss_first"], got["loss_last"], got["steps"]) == (losses[0], losses[-1], 17)
    assert (got["accuracy_before"], got["accuracy_after"]) == (before, trainer.accuracy(*test))
    assert got["instructions_per_step"] is got["instructions_forward"] is None  # nobody counts
    with np.load(out, allow_pickle=False) as state:
        assert list(state) == ["head/weight", "head/bias"]
        assert np.array_equal(state["head/weight"], trainer.weight)


def test_a_seed_gives_a_permutation(folder: Path, data: Path) -> None:
    trainer = FakeTrainer()
    x, y = samples(7)
    for i in visiting_order(7, 5):
        trainer.step(x[i], y[i])
    got = bench_melt_json(
        "train", folder, "--board", "host", "--data", data, "--steps", 7, "--seed", 5, "--eval", 0
    )
    assert got["state_sha256"] == state_hash(trainer)
    assert got["accuracy_before"] is got["accuracy_after"] is None


def test_no_steps_is_as_compiled(folder: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "state.npz"
    got = bench_melt_json(
        "train", folder, "--board", "host", "--data", data, "--steps", 0, "--state-out", out,
        "--eval", 3,
    )  # fmt: skip
    assert got["state_sha256"] == hashlib.sha256(bytes(108)).hexdigest()
    assert (got["steps"], got["loss_first"], got["loss_last"]) == (0, None, None)
    assert got["accuracy_before"] == got["accuracy_after"] is not None
    with np.load(out) as state:
        assert not state["head/weight"].any()


def test_the_host_s_profile_is_in_nanoseconds(folder: Path, data: Path) -> None:
    got = bench_melt_json(
        "train", folder, "--board", "host", "--data", data, "--steps", 3, "--profile"
    )
    profile = got["profile"]
    assert profile["unit"] == "nanoseconds"
    assert [row["layer"] for row in profile["layers"]] == ["head"]
    assert profile["layers"][0]["update"] >= 0 == profile["layers"][0]["loss"]


def test_progress_and_tables_go_to_stderr(folder: Path, data: Path) -> None:
    done = bench_melt("train", folder, "--board", "host", "--data", data, "--steps", 3, "--profile")
    assert done.returncode == 0, done.stderr
    assert "loss" in done.stderr
    assert "accuracy" in done.stderr
    assert "nanoseconds per training step" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(KEYS)


def test_samples_are_held_out_only_when_asked(folder: Path, tmp_path: Path) -> None:
    x, y = samples(10)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    trainer = FakeTrainer()
    for a, b in zip(x, y, strict=True):
        trainer.step(a, b)
    got = bench_melt_json(
        "train", folder, "--board", "host", "--data", tmp_path / "d.npz", "--steps", 10
    )
    assert (got["state_sha256"], got["accuracy_before"]) == (state_hash(trainer), None)
    got = bench_melt_json(
        "train", folder, "--board", "host", "--data", tmp_path / "d.npz", "--steps", 0, "--eval", 2
    )
    assert got["accuracy_before"] in (0.0, 0.5, 1.0)
