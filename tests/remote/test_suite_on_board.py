"""One suite, a real llama.cpp and a small random model, on this computer and on a board by ssh."""

import json
from pathlib import Path

import pytest

from tests.board_suites import measure, program, write_suite
from tests.needs import package
from tests.sshd import gone, sshd

SERVER = """\
import signal, sys
import xllamacpp
model, port, threads = sys.argv[1:4]
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port = model, ["127.0.0.1"], int(port)
params.n_ctx, params.warmup = 256, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
server = xllamacpp.Server(params)
signal.sigwait({signal.SIGTERM})
"""


@pytest.mark.slow
def test_the_same_suite_here_and_on_a_board(tmp_path: Path) -> None:
    package("xllamacpp")
    (tmp_path / "serve.py").write_text(SERVER)
    program(tmp_path / "serve", str(tmp_path / "serve.py"), '"$@"')
    args = '["{model}", "{port}", "{threads}"]'
    runner = f'runner = {{ kind = "server", program = "serve", args = {args}, context = 256 }}'
    workloads = {
        "synthetic": f"n_prompt = 16\nn_gen = 8\ncold_start = true\n{runner}",
        "talk": f'prompts = "short"\nn_gen = 4\n{runner}',
    }
    with sshd(tmp_path / "s") as board:
        rows = measure(write_suite(tmp_path, board, workloads, warmups=1))
        assert gone(str(tmp_path / "serve.py"))
        staged = list(board.home.glob("staged/*/*"))
    assert [(row.outcome.status, row.outcome.reason) for row in rows] == [("ok", None)] * 4
    assert sorted(path.name for path in staged) == ["serve", "te_bandwidth", "tiny.gguf"]
    told = {}
    for row in rows:
        results = row.results
        assert results.latency.clock == "device" and results.setting.n_threads == 1
        assert (results.memory.memory_peak_bytes or 0) > 10 << 20
        assert (results.memory.memory_pss_bytes or 0) > 1 << 20
        assert (results.latency.load_ms or 0) > 0 and (results.latency.link_delay_ms or 0) > 0
        assert results.model.quantisation == "F16"
        told.setdefault(row.identity.workload, {})[row.identity.target] = (
            results.latency.prompt_tokens,
            results.latency.generated_tokens,
        )
        if row.identity.workload == "synthetic":
            stages = json.loads(results.latency.cold_start_stages or "{}")
            assert sum(stages.values()) == pytest.approx(results.latency.cold_start_ms, rel=0.01)
    assert {row.target.machine_kind for row in rows} == {"local", "linux"}
    # what was asked and computed does not depend on where
    assert told["synthetic"]["near"] == told["synthetic"]["far"] == (16, 8)
    assert told["talk"]["near"] == told["talk"]["far"]
