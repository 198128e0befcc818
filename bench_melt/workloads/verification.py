"""The same training steps in the simulator and on boards, states compared after every one."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bench_melt.data.fake import fake_sample
from bench_melt.device import Device
from bench_melt.progress import Bars
from bench_melt.state import read_state
from codegen.manifest import Manifest
from tinyengine.errors import DeviceError
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType
from tinyengine.sim.train import Trainer

SIMULATOR = "simulator"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first element that differs, in state order, after `step` steps (0: as compiled).

    tensor, index and the two values are None if the hashes differ over equal tensors.
    """

    step: int
    board: str
    tensor: str | None
    index: tuple[int, ...] | None
    simulator: float | int | str | None
    device: float | int | str | None

    def describe(self) -> str:
        """Return one sentence for a person."""
        if self.tensor is None or self.index is None:
            return f"board '{self.board}' reports another hash of equal tensors, step {self.step}"
        at = ", ".join(map(str, self.index))
        return (
            f"board '{self.board}' parts from the simulator at step {self.step}: '{self.tensor}'"
            f"[{at}] is {self.device}, the simulator has {self.simulator}"
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """State hashes (hexadecimal) of the simulator and each board, after the last step taken."""

    states: Mapping[str, str]
    first_difference: Difference | None

    @property
    def equal(self) -> bool:
        """True when no state differed after any step."""
        return self.first_difference is None


@dataclass(frozen=True, slots=True)
class Steps:
    """What every participant does: so many steps on the fake samples of `seed`."""

    count: int
    seed: int
    lr: float


def verify(
    devices: Sequence[Device], manifest: Manifest, graph: Graph, steps: Steps, shown: Bars
) -> Verification:
    """Train side by side, stop at the first difference.

    devices: stand as compiled. graph: the training graph that their code was made from.

    Raises:
        DeviceError: a device fails on the way.
    """
    trainer = Trainer(graph, steps.lr, steps.seed)
    for device in devices:
        device.session.set_hyper(lr=steps.lr, seed=steps.seed)
    meter = shown.phase("verifying", steps.count)
    found = _compare(devices, manifest, trainer, 0)
    # links and emulators wait for one another far less than they compute: one thread each
    with ThreadPoolExecutor(max_workers=len(devices)) as pool:
        for step in range(steps.count):
            if not found.equal:
                break
            running = [
                pool.submit(_device_step, device, manifest, steps.seed, step) for device in devices
            ]
            x, label = _sample(manifest, steps.seed, step)
            meter.step(loss=trainer.step(x, label))
            for future in running:
                future.result()
            found = _compare(devices, manifest, trainer, step + 1)
    return found


def _sample(manifest: Manifest, seed: int, step: int) -> tuple[Array, int]:
    """Return input and label of a step, as the device makes them."""
    border = manifest.input
    dtype = DType(border.device_dtype).numpy.newbyteorder("<")
    count = math.prod(border.shape) * dtype.itemsize
    data, label = fake_sample(seed, step, count, manifest.classes)
    return data.view(dtype).reshape(border.shape), label


def _device_step(device: Device, manifest: Manifest, seed: int, step: int) -> None:
    label = device.session.fill(seed, step)
    expected = fake_sample(seed, step, 0, manifest.classes)[1]
    if label != expected:
        raise DeviceError(
            f"board '{device.board.name}' makes label {label} of fake sample {step}, expected "
            f"{expected}; build and flash it again"
        )
    device.session.train(label)


def _compare(
    devices: Sequence[Device], manifest: Manifest, trainer: Trainer, step: int
) -> Verification:
    states = {SIMULATOR: trainer.hash()}
    difference = None
    for device in devices:
        name = device.board.name
        states[name] = device.session.state_hash()
        if difference is None and states[name] != states[SIMULATOR]:
            theirs = read_state(device.session, manifest)
            difference = find_difference(step, name, trainer.state(), theirs)
    return Verification(states, difference)


def find_difference(
    step: int, board: str, ours: Mapping[str, Array], theirs: Mapping[str, Array]
) -> Difference:
    """Return the first element of the first tensor whose bits differ."""
    for name, mine in ours.items():
        other = theirs.get(name)
        if other is None or other.shape != mine.shape:
            return Difference(step, board, name, (), f"shape {mine.shape}", _shape(other))
        differs = np.flatnonzero(_bits(mine) != _bits(other))
        if len(differs):
            index = tuple(int(i) for i in np.unravel_index(differs[0], mine.shape))
            values = _number(mine[index]), _number(other[index])
            return Difference(step, board, name, index, *values)
    return Difference(step, board, None, None, None, None)


def _shape(array: Array | None) -> str:
    return "absent" if array is None else f"shape {array.shape}"


def _bits(array: Array) -> Array:
    """Flat, with floats as their bits: a NaN equals itself, 0 and -0 differ."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint32) if flat.dtype.kind == "f" else flat


def _number(value: np.generic) -> float | int | str:
    number = value.item()
    if isinstance(number, float) and not math.isfinite(number):
        return str(number)
    return number  # type: ignore[no-any-return]
