"""The machine's memory bandwidth, and the share of it that decoding takes."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench_melt import bandwidth as module
from bench_melt.bandwidth import Bandwidth, Rate, compiler_for, decode_share
from bench_melt.decode_reads import DecodeReads, decode_reads
from bench_melt.models import load_model_file
from bench_melt.runner import sweep
from bench_melt.runners.bandwidth import read_bytes_per_s
from bench_melt.store import open_store
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import MachineInfo, State
from bench_melt.workloads.llm.client import Answer
from bench_melt.workloads.llm.metrics import position_of
from tests.sweep_rig import Quiet, Scripted, rig_for, suite_at
from tests.tiny_gguf import write_tiny_gguf
from tinyengine.errors import DeviceError

pytestmark = pytest.mark.pure


class Counting(LocalMachine):
    """This computer; counts what it starts, and has as much memory as a test says."""

    def __init__(self, free_bytes: int | None = None) -> None:
        super().__init__(load_machine("local"))
        self.started: list[Sequence[str]] = []
        self._free_bytes = free_bytes

    def start(self, argv: Sequence[str], **more: Any) -> Any:
        self.started.append(argv)
        return super().start(argv, **more)

    def state(self) -> State:
        return State(memory_available_bytes=self._free_bytes)


class Telling:
    """A process that says one line."""

    def __init__(self, line: str) -> None:
        self._line = line

    def wait_line(self, start: str, deadline: object) -> str:
        return self._line

    def kill(self) -> None:
        """It has ended."""


def test_a_pass_is_the_bytes_over_the_time() -> None:
    # of a buffer that stays in the cache: only the order of magnitude is certain
    assert 1e7 < read_bytes_per_s(1 << 20, 1, 3) < 1e12
    assert 1e7 < read_bytes_per_s(1 << 20, 2, 3) < 1e12


def test_it_is_measured_once_for_so_many_threads_and_cores() -> None:
    made = Bandwidth()
    with Counting(free_bytes=4 * 33 << 20) as machine:
        first = made.measure(machine, MachineInfo(), 1, ())
        assert (first.bytes_per_s or 0) > 1e7 and first.reason is None
        assert made.measure(machine, MachineInfo(), 1, ()) is first
        assert made.measure(machine, MachineInfo(), 2, ()) is not first
    assert [argv[-3:] for argv in machine.started] == [["33", "1", "8"], ["33", "2", "8"]]


@pytest.mark.parametrize(
    ("line", "free_bytes", "reason"),
    [
        ("bytes_per_s many", None, "said 'bytes_per_s many'"),
        ("", 64 << 20, "has no 128 MiB of memory to spare"),
    ],
)
def test_a_measurement_that_fails_says_why_and_costs_no_row(
    monkeypatch: pytest.MonkeyPatch, line: str, free_bytes: int | None, reason: str
) -> None:
    machine = Counting(free_bytes)
    monkeypatch.setattr(machine, "start", lambda argv, cores: Telling(line))
    found = Bandwidth().measure(machine, MachineInfo(), 1, ())
    assert found.bytes_per_s is None and reason in str(found.reason)


def test_compilers_of_other_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    here: Mapping[str, str] = {"gcc": "gcc", "aarch64-linux-gnu-gcc": "cross"}
    monkeypatch.setattr(module, "shutil", SimpleNamespace(which=here.get))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert compiler_for(platform.machine()) == ["gcc"]
    if platform.machine() != "aarch64":
        assert compiler_for("aarch64") == ["cross"]
    with pytest.raises(DeviceError, match="no compiler for 'riscv64'.*'riscv64-linux-gnu-gcc'"):
        compiler_for("riscv64")
    with pytest.raises(DeviceError, match="does not say what processor"):
        compiler_for(None)
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    assert compiler_for("riscv64")[1:] == ["-m", "ziglang", "cc", "-target", "riscv64-linux-musl"]


def test_the_share_that_decoding_takes() -> None:
    reads = DecodeReads(weights_bytes=90_000_000, kv_bytes_per_position=20_000)
    # 90 MB and 500 positions of 20 kB, 50 times a second, of 10 GB/s
    assert decode_share(reads, 500.0, 50.0, Rate(1e10)) == pytest.approx(0.5)
    for missing in (
        decode_share(None, 500.0, 50.0, Rate(1e10)),
        decode_share(reads, None, 50.0, Rate(1e10)),
        decode_share(reads, 500.0, None, Rate(1e10)),
        decode_share(reads, 500.0, 50.0, Rate(None, "why")),
    ):
        assert missing is None


def test_where_in_the_context_tokens_were_made() -> None:
    def answer(prompt: int | None, made: int) -> Answer:
        return Answer(0.0, (0.1,), "", prompt, None, made, None, ())

    assert position_of([answer(100, 20), answer(300, 40)]) == 215
    assert position_of([answer(100, 20), answer(None, 40)]) is None and position_of([]) is None


class Header:
    """A .gguf file's reader, with the keys and tensors of a test."""

    def __init__(self, keys: Mapping[str, object], tensors: Mapping[str, int]) -> None:
        self._keys = keys
        self.tensors = [SimpleNamespace(name=n, n_bytes=np.uint64(b)) for n, b in tensors.items()]

    def get_field(self, key: str) -> Any:
        held = self._keys.get(key)
        return None if held is None else SimpleNamespace(contents=lambda: held)


LLAMA = {
    "general.architecture": "llama",
    "llama.block_count": 10,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
}


@pytest.mark.parametrize(
    ("keys", "tensors", "expected"),
    [
        # heads of 16: 10 layers of 4 heads, keys and values, 2 bytes
        (LLAMA, {"token_embd.weight": 100, "blk.0.attn_q.weight": 7}, (107, 2560)),
        # an output layer of its own: one row of the embedding is looked up
        (LLAMA, {"token_embd.weight": 100, "output.weight": 50, "b": 7}, (57, 2560)),
        (LLAMA | {"llama.attention.head_count_kv": 1}, {"a": 1}, (1, 640)),
        (LLAMA | {"llama.attention.head_count_kv": [1, 0] * 5}, {"a": 1}, (1, 320)),
        (
            LLAMA | {"llama.attention.key_length": 32, "llama.attention.value_length": 8},
            {"a": 1},
            (1, 3200),
        ),
        (
            LLAMA | {"llama.expert_count": 8, "llama.expert_used_count": 2},
            {"blk.0.ffn_up_exps.weight": 80, "a": 3},
            (23, 2560),
        ),
        (LLAMA | {"llama.attention.head_count": 0}, {"a": 1}, None),
        ({"general.architecture": "mamba", "mamba.block_count": 4}, {"a": 1}, None),
        ({}, {"a": 1}, None),
    ],
)
def test_what_a_header_says_of_decoding(
    keys: Mapping[str, object], tensors: Mapping[str, int], expected: tuple[int, int] | None
) -> None:
    header: Any = Header(keys, tensors)
    wanted = None if expected is None else DecodeReads(*expected)
    assert decode_reads(header) == wanted


def test_a_real_file(tmp_path: Path) -> None:
    found = load_model_file(write_tiny_gguf(tmp_path / "tiny.gguf"), None)
    reads = found.reads
    assert reads is not None and reads.kv_bytes_per_position == 2 * 64 * 2 * 2
    # it has an output layer: all tensors but the embedding, 519 rows of 64 in f16
    assert reads.weights_bytes == (found.facts.model_size or 0) - 519 * 64 * 2


def test_a_station_keeps_its_rates_through_the_sweep(tmp_path: Path) -> None:
    suite, seen = suite_at(tmp_path), []
    rig = rig_for(suite, Scripted(lambda bench: seen.append(bench.bandwidth)))
    with open_store(str(tmp_path / "r.sqlite"), create=True) as store:
        sweep(suite, rig, store, Quiet(), resume=False)
    # two targets, six repetitions each: one per target
    assert len(seen) == 12 and len({id(one) for one in seen}) == 2
