"""A suite file: targets x models x workloads x repetitions, in an order drawn from a seed."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from bench_melt.energy.metering import read_metering
from bench_melt.targets.description import MachineOverrides
from bench_melt.workloads.tables import WorkloadTable
from codegen.tables import Table, TextPath, nearest, read_table
from tinyengine.errors import UserError

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.@-]*$"
Name = Annotated[str, Field(pattern=_NAME)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Cooldown(Table):
    """When a machine may start the next repetition."""

    min_s: Seconds = 0.0  # wait at least so long
    below_c: float | None = Field(default=None, gt=0, lt=150)  # and until its hottest zone is below
    give_up_s: Seconds = 600.0  # a repetition that may not start by then fails
    poll_s: float = Field(default=1.0, gt=0, le=60)


class Settings(Table):
    """How the whole suite runs."""

    name: Name
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    repetitions: int = Field(default=3, ge=1, le=10_000)
    warmups: int = Field(default=2, ge=0, le=100)
    time_limit_s: float = Field(default=600.0, gt=0, le=86_400)
    cooldown: Cooldown = Cooldown()


class TargetTable(Table):
    """A machine of the suite: its description's name, and what differs on this desk."""

    name: Name
    machine: str  # name in boards/machines, or path of a .toml
    cores: str | tuple[int, ...] | None = None  # a group of its description ("big"), or numbers
    connection: MachineOverrides = MachineOverrides()
    meter: dict[str, Any] | None = None  # what `read_metering` takes; None: no energy

    @model_validator(mode="after")
    def _metering(self) -> Self:
        if self.meter is not None:
            try:
                read_metering(self.meter, f"meter of target '{self.name}'")
            except UserError as error:
                raise ValueError(str(error)) from error
        return self


class ModelTable(Table):
    """A model file of this computer."""

    name: Name
    path: TextPath | None = None  # relative to the suite file
    package: str | None = None  # a model that a Python package carries, instead of a path
    quantisation: str | None = None  # what the file must hold; a mismatch is an error

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.package is None):
            raise ValueError(f"model '{self.name}' needs either a path or a package")
        return self


class Suite(Table):
    """The file."""

    suite: Settings
    targets: tuple[TargetTable, ...] = Field(min_length=1)
    models: tuple[ModelTable, ...] = Field(min_length=1)
    workloads: tuple[WorkloadTable, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> Self:
        for what, tables in (
            ("target", self.targets),
            ("model", self.models),
            ("workload", self.workloads),
        ):
            names = [table.name for table in tables]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} name '{twice[0]}' is used twice")
        known = [model.name for model in self.models]
        for workload in self.workloads:
            for name in workload.models or ():
                if name not in known:
                    raise ValueError(
                        f"workload '{workload.name}' names model '{name}', which the suite has "
                        f"not{nearest(name, known)}"
                    )
        return self


@dataclass(frozen=True, slots=True)
class Cell:
    """One repetition that the sweep owes a row."""

    key: str
    position: int
    target: TargetTable
    model: ModelTable
    workload: WorkloadTable
    repetition: int
    seed: int


@dataclass(frozen=True, slots=True)
class LoadedSuite:
    """A suite with its text's hash, its folder, and its cells in running order."""

    tables: Suite
    folder: Path
    text: str
    sha256: str
    cells: Sequence[Cell]


def load_suite(path: Path) -> LoadedSuite:
    """Read a suite file and lay out its cells.

    Raises:
        UserError: it cannot be read or breaks the schema; unknown keys come with the nearest name.
    """
    tables = read_table(path, Suite, "suite file")
    text = path.read_text(encoding="utf-8")
    # the tables, not the text: a comment or a blank line does not make another suite
    canonical = json.dumps(tables.model_dump(mode="json"), sort_keys=True)
    return LoadedSuite(tables, path.parent, text, _hash(canonical), _cells(tables))


def _cells(suite: Suite) -> tuple[Cell, ...]:
    """Return every repetition, shuffled by the seed: drift of a machine meets all cells alike."""
    wanted = list(_wanted(suite))
    random.Random(suite.suite.seed).shuffle(wanted)
    return tuple(
        Cell(
            key=_key(target, model, workload, repetition, suite.suite.seed),
            position=position,
            target=target,
            model=model,
            workload=workload,
            repetition=repetition,
            # repetitions of all targets draw the same tokens
            seed=(suite.suite.seed + repetition) % (1 << 32),
        )
        for position, (target, model, workload, repetition) in enumerate(wanted)
    )


def _wanted(suite: Suite) -> Iterator[tuple[TargetTable, ModelTable, WorkloadTable, int]]:
    for target in suite.targets:
        for model in suite.models:
            for workload in suite.workloads:
                if workload.models is None or model.name in workload.models:
                    for repetition in range(suite.suite.repetitions):
                        yield target, model, workload, repetition


def _key(
    target: TargetTable, model: ModelTable, workload: WorkloadTable, repetition: int, seed: int
) -> str:
    parts = [target.name, model.name, workload.name, repetition, seed]
    return _hash(json.dumps(parts))[:16]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
