"""A model behind a server on a machine: started, waited for, reached through a tunnel, ended."""

import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench_melt.targets.machine import Process, TimeLimitError, Usage
from bench_melt.workloads.llm.client import Client
from bench_melt.workloads.tables import LlmRunner
from bench_melt.workloads.workload import Bench, resolve
from tinyengine.errors import DeviceError

_POLL_S = 0.005
_RUNNING_S = 60.0  # a server that runs already, and may be loading its model
_END_S = 0.5  # how much later than its connection a process may be seen to end
_KILLED = (-9, 137)  # as subprocess tells SIGKILL, and as a shell does
_PORTS = (20_000, 32_000)  # of the target: below what Linux hands out itself (32768 and up)
_EMBEDDED_STAGES = ("process", "import", "load")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready.

    process: None where we did not start it. load_ms: from its start until it was ready; None
    likewise. stages: (name, ms), consecutive, summing to load_ms. started_s: host clock.
    """

    client: Client
    process: Process | None
    load_ms: float | None
    stages: tuple[tuple[str, float], ...]
    started_s: float

    def usage(self) -> Usage:
        """Return its process's memory and processor time, as far as the machine tells."""
        return self.process.usage() if self.process is not None else Usage()


@contextmanager
def serve(bench: Bench, runner: LlmRunner, *, parallel: int = 1) -> Iterator[Server]:
    """Have a ready server while the block runs.

    Args:
        bench: Machine, model and deadline.
        runner: Who serves.
        parallel: Requests that it must be able to work on at a time.

    Raises:
        DeviceError: it does not start or does not become ready; its last words are quoted.
    """
    if runner.kind == "url":
        started_s = time.perf_counter()
        client = _client(bench, runner, str(runner.url))
        _wait_ready(bench, client, None)
        yield Server(client, None, None, (), started_s)
        return
    port = runner.port or secrets.choice(range(*_PORTS))
    with bench.deadline.paused():  # a large model takes its time to the machine, once
        program = _program(bench, runner)  # first: where it is an app, the model goes into that
        model = bench.machine.deploy(bench.model.path)
    argv = _argv(runner, program, model, port, parallel)
    with ExitStack() as stack:
        started_s = time.perf_counter()
        process = bench.machine.start(argv, cores=bench.cores)
        stack.callback(process.kill)
        clock = _Stages(started_s)
        if runner.kind == "embedded":
            for stage in _EMBEDDED_STAGES:
                process.wait_line(f"stage {stage}", bench.deadline)
                clock.end(stage)
            address = process.wait_line("listening ", bench.deadline).partition(" ")[2]
        else:
            address = stack.enter_context(bench.machine.tunnel(port))
        client = _client(bench, runner, address)
        _wait_ready(bench, client, process)
        clock.end("ready")
        bench.events.add("load", started_s, clock.last_s)
        with _explained(process):
            yield Server(
                client, process, (clock.last_s - started_s) * 1000, tuple(clock.stages), started_s
            )


@contextmanager
def _explained(process: Process) -> Iterator[None]:
    """Add to a failure that the server is gone, if it is: the connection breaks a little before."""
    try:
        yield
    except TimeLimitError:
        raise
    except DeviceError as error:
        code = None
        with suppress(DeviceError):  # the machine is gone as well: its tunnel says so
            end_s = time.monotonic() + _END_S
            while (code := process.poll()) is None and time.monotonic() < end_s:
                time.sleep(_POLL_S)
        if code is None:
            raise
        killed = " (killed: out of memory?)" if code in _KILLED else ""
        raise DeviceError(
            f"the server ended with exit code {code}{killed}; it said: {process.tail()}; {error}"
        ) from error


class _Stages:
    """Consecutive stages: each begins where the one before ended."""

    def __init__(self, start_s: float) -> None:
        self.last_s = start_s
        self.stages: list[tuple[str, float]] = []

    def end(self, name: str) -> None:
        now_s = time.perf_counter()
        self.stages.append((name, (now_s - self.last_s) * 1000))
        self.last_s = now_s


def _client(bench: Bench, runner: LlmRunner, address: str) -> Client:
    return Client(address, bench.deadline, path=runner.path, model=runner.api_model)


def _program(bench: Bench, runner: LlmRunner) -> Sequence[str]:
    """Have the runner on the machine; return the words that call it."""
    if runner.kind != "embedded":
        return [bench.machine.deploy(resolve(Path(str(runner.program)), bench.folder))]
    if not bench.machine.shares_files:
        raise DeviceError(
            f"the embedded runner serves on this computer only, not on '{bench.machine.name}'; "
            "use kind = 'llama-server' with a program for its processor "
            "('bench-melt runner build')"
        )
    return [sys.executable, "-m", "bench_melt.runners.embedded"]


def _argv(
    runner: LlmRunner, program: Sequence[str], model: str, port: int, parallel: int
) -> Sequence[str]:
    sizes = {
        "threads": runner.threads,
        # llama.cpp shares the context between the slots
        "context": runner.context * parallel,
        "batch": runner.batch,
        "ubatch": runner.ubatch,
        "parallel": parallel,
        "gpu-layers": runner.gpu_layers,
    }
    if runner.kind == "embedded":
        options = [word for name, n in sizes.items() for word in (f"--{name}", str(n))]
        return [*program, model, *options]
    if runner.kind == "server":
        filled = {"model": model, "port": str(port), "threads": str(runner.threads)}
        return [*program, *(_filled(argument, filled) for argument in runner.args)]
    options = [word for name, n in sizes.items() for word in (_LLAMA_SERVER[name], str(n))]
    fixed = ["--host", "127.0.0.1", "--port", str(port), "--no-warmup"]
    return [*program, "--model", model, *fixed, *options, *runner.args]


_LLAMA_SERVER = {
    "threads": "--threads",
    "context": "--ctx-size",
    "batch": "--batch-size",
    "ubatch": "--ubatch-size",
    "parallel": "--parallel",
    "gpu-layers": "--n-gpu-layers",
}


def _filled(argument: str, values: dict[str, str]) -> str:
    # not str.format: an argument may hold braces of its own, JSON for instance
    for name, value in values.items():
        argument = argument.replace(f"{{{name}}}", value)
    return argument


def _wait_ready(bench: Bench, client: Client, process: Process | None) -> None:
    begun_s = time.monotonic()
    while not client.is_ready():
        if process is None and time.monotonic() - begun_s > _RUNNING_S:
            raise DeviceError(
                f"the server at {client.base} was not ready within {_RUNNING_S:g} s; start it "
                "before the suite, or correct the runner's 'url'"
            )
        if process is not None and (code := process.poll()) is not None:
            raise DeviceError(
                f"the server ended with exit code {code} before it was ready; it said: "
                f"{process.tail()}"
            )
        said = f"; it said: {process.tail()}" if process is not None else ""
        bench.deadline.remaining_s(f"waiting for the server at {client.base} to be ready{said}")
        time.sleep(_POLL_S)
