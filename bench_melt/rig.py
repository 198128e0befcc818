"""What a suite names, made real before the sweep begins: a mistake shows before any work."""

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench_melt.energy.during import MeteredWork
from bench_melt.energy.metering import check_metering, placed, read_metering
from bench_melt.models import ModelFile, load_model_file
from bench_melt.packaged import packaged_model
from bench_melt.record import Setting
from bench_melt.runner import Rig
from bench_melt.suite import Cell, LoadedSuite, ModelTable
from bench_melt.targets.description import Description, load_machine
from bench_melt.targets.reach import make_machine
from bench_melt.workloads.registry import make_workload
from tinyengine.errors import UserError

_PACKAGES = ("tinyengine-mcu", "numpy", "xllamacpp", "ai-edge-litert", "tflite-runtime")


def make_rig(suite: LoadedSuite) -> Rig:
    """Load descriptions and models, make workloads, check that they fit.

    Raises:
        UserError: whatever of it is missing, wrong, or does not fit.
    """
    tables = suite.tables
    descriptions = {
        t.name: load_machine(t.machine, suite.folder)
        .with_connection(t.connection)
        .with_files_in(suite.folder)
        for t in tables.targets
    }
    for target in tables.targets:
        descriptions[target.name].core_numbers(target.cores)
        make_machine(descriptions[target.name])  # refuses what lacks a package, an address, a key
    for cell in suite.cells:
        _require_runner(cell, descriptions[cell.target.name])
    models = {t.name: _model(t, suite.folder) for t in tables.models}
    workloads = {t.name: make_workload(t) for t in tables.workloads}
    for model, workload in {(c.model.name, c.workload.name) for c in suite.cells}:
        workloads[workload].check(models[model], suite.folder)
    return Rig(
        descriptions=descriptions,
        open_machine=make_machine,
        models=models,
        workloads=workloads,
        energy=_energy(suite, descriptions),
        setting=Setting(git_revision=_revision(), tool_versions=_versions()),
    )


def _require_runner(cell: Cell, description: Description) -> None:
    """Refuse what only this computer can run on another one.

    Raises:
        UserError: the embedded runner on a phone or a board.
    """
    table = cell.workload
    if description.kind != "local" and table.kind == "llm" and table.runner.kind == "embedded":
        raise UserError(
            f"workload '{table.name}': the embedded runner serves on this computer only, not on "
            f"target '{cell.target.name}' ('{description.name}'); give it a runner of kind "
            "'llama-server' with a program for its processor ('bench-melt runner build')"
        )


def _energy(
    suite: LoadedSuite, descriptions: Mapping[str, Description]
) -> Mapping[str, MeteredWork]:
    """Return what measures energy at the targets that have a meter, once it was seen to work."""
    found = {}
    for target in suite.tables.targets:
        if target.meter is not None:
            where = f"meter of target '{target.name}'"
            metering = placed(read_metering(target.meter, where), suite.folder)
            local = descriptions[target.name].kind == "local"
            check_metering(metering, on_this_computer=local)
            found[target.name] = MeteredWork(metering)
    return found


def _model(table: ModelTable, folder: Path) -> ModelFile:
    path = folder / table.path if table.path is not None else packaged_model(str(table.package))
    return load_model_file(path, table.quantisation)


def _revision() -> str | None:
    """Return the revision of this checkout, with a + when files differ; None outside of one."""
    argv = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty=+",
        "--abbrev=12",
    ]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _versions() -> str:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return json.dumps(found, sort_keys=True)
