"""What a workload gets, on this computer, for tests."""

from pathlib import Path

from bench_melt.models import ModelFile
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Deadline, MachineInfo
from bench_melt.workloads.workload import Bench, EventLog


def local_bench(
    machine: LocalMachine, model: ModelFile, folder: Path, warmups: int = 0, seed: int = 3
) -> Bench:
    """A repetition's bench; nothing pinned, two minutes at most."""
    return Bench(
        machine=machine,
        description=load_machine("local"),
        info=MachineInfo(),
        model=model,
        folder=folder,
        cores=(),
        warmups=warmups,
        seed=seed,
        deadline=Deadline(120),
        events=EventLog(),
    )
