"""One suite, a real llama.cpp and a small random model: here, on a phone, on a board by ssh."""

from pathlib import Path

import pytest

from tests.adbd_double import HOME, Adbd
from tests.board_suites import measure, program, write_suite
from tests.needs import package, without
from tests.phone_rig import Server
from tests.remote.test_suite_on_board import SERVER
from tests.sshd import sshd

pytestmark = pytest.mark.phone

TARGET = """
[[targets]]
name = "phone"
machine = "phone.toml"
connection = {{ address = "{serial}", server = "{server}", root = "{root}" }}
"""
MACHINE = """
name = "phone"
summary = "an adb daemon on the loopback"
kind = "android"
tested = "only in tests"
"""
LLAMA = """
runner = { kind = "server", program = "serve", args = ["{model}", "{port}", "{threads}"], \
context = 256 }
"""


@pytest.mark.slow
def test_the_same_suite_on_three_kinds_of_machines(
    server: Server, phone: Adbd, tmp_path: Path
) -> None:
    package("xllamacpp")
    for tool in ("sshd", "ssh-keygen"):
        without(tool)
    (tmp_path / "serve.py").write_text(SERVER)
    program(tmp_path / "serve", str(tmp_path / "serve.py"), '"$@"')
    (tmp_path / "phone.toml").write_text(MACHINE)
    workloads = {"synthetic": f"n_prompt = 16\nn_gen = 8\n{LLAMA}"}
    with sshd(tmp_path / "s") as board:
        suite = write_suite(tmp_path, board, workloads, warmups=1)
        target = TARGET.format(serial=phone.serial, server=server.address, root=phone.phone.folder)
        suite.write_text(suite.read_text() + target)
        rows = measure(suite)
    assert [row.outcome.reason for row in rows] == [None] * 3
    assert {row.target.machine_kind for row in rows} == {"local", "android", "linux"}
    told = {(r.results.latency.prompt_tokens, r.results.latency.generated_tokens) for r in rows}
    assert told == {(16, 8)}
    for row in rows:
        assert row.results.latency.clock == "device" and row.results.setting.n_threads == 1
        assert (row.results.latency.decode_tokens_per_s or 0) > 0
        assert (row.results.memory.memory_peak_bytes or 0) > 10 << 20
        assert row.results.model.quantisation == "F16"
    pushed = phone.phone.path(HOME).glob("bench-melt/*/*")
    assert sorted(path.name for path in pushed) == ["serve", "te_bandwidth", "tiny.gguf"]
    assert server.adb("forward", "--list").strip() == ""
