"""A machine and a workload without hardware, for tests of the sweep itself."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from bench_melt.models import ModelFile
from bench_melt.record import Latency, ModelFacts, Results, Row, Setting
from bench_melt.runner import Rig
from bench_melt.suite import Cell, LoadedSuite, load_suite
from bench_melt.targets.description import Description
from bench_melt.targets.machine import MachineInfo, Output, Process, State
from bench_melt.workloads.workload import Bench

SUITE = """
[suite]
name = "small"
seed = 7
repetitions = 3
warmups = 1
time_limit_s = 2.0

[[targets]]
name = "a"
machine = "local"

[[targets]]
name = "b"
machine = "local"

[[models]]
name = "m"
path = "m.gguf"

[[workloads]]
kind = "llm"
name = "chat"
n_prompt = 8

[[workloads]]
kind = "llm"
name = "long"
n_prompt = 64
"""


def suite_at(folder: Path, text: str = SUITE) -> LoadedSuite:
    """Write a suite file and load it."""
    path = folder / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path)


@dataclass
class StillMachine:
    """Reaches nothing, runs nothing; its temperature follows a list."""

    name: str = "still"
    shares_files: bool = True
    temperatures_c: list[float] = field(default_factory=list)
    probe_error: Exception | None = None
    stops: int = 0

    def probe(self) -> MachineInfo:
        if self.probe_error is not None:
            raise self.probe_error
        return MachineInfo(os_build="none", soc="none")

    def deploy(self, source: Path) -> str:
        return str(source)

    def start(
        self,
        argv: Sequence[str],
        *,
        cores: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> Process:
        raise NotImplementedError

    def run(self, argv: Sequence[str], *, timeout_s: float = 20.0) -> Output:
        raise NotImplementedError

    def tunnel(self, port: int) -> AbstractContextManager[str]:
        return nullcontext(f"127.0.0.1:{port}")

    def state(self) -> State:
        if not self.temperatures_c:
            return State()
        value = self.temperatures_c.pop(0) if len(self.temperatures_c) > 1 else None
        return State({"cpu": self.temperatures_c[0] if value is None else value})

    def collect(self, path: str, goal: Path) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self.stops += 1

    def __enter__(self) -> "StillMachine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@dataclass
class Scripted:
    """A workload that does what the test says."""

    act: Callable[[Bench], None] = lambda bench: None
    runs: int = 0

    def check(self, model: ModelFile, folder: Path) -> None:
        """Everything fits."""

    def run(self, bench: Bench) -> Results:
        self.runs += 1
        self.act(bench)
        return Results(latency=Latency(ttft_ms=float(bench.seed)))


class Quiet:
    """Watches without a word."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def begin(self, cell: Cell, done: int, total: int) -> None:
        """Nothing to say."""

    def end(self, row: Row) -> None:
        self.rows.append(row)


def rig_for(
    suite: LoadedSuite,
    workload: Scripted,
    open_machine: Callable[[Description], StillMachine] = lambda description: StillMachine(),
) -> Rig:
    """Return a rig for `suite` in which every workload is `workload`."""
    model = ModelFile(Path("m.gguf"), "gguf", ModelFacts(model_filename="m.gguf"))
    return Rig(
        descriptions={
            t.name: Description(name=t.name, summary="", kind="local", tested="only in tests")
            for t in suite.tables.targets
        },
        open_machine=open_machine,
        models={t.name: model for t in suite.tables.models},
        workloads={t.name: workload for t in suite.tables.workloads},
        energy={},
        setting=Setting(git_revision="r", tool_versions="{}"),
    )
