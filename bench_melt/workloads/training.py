"""Training on a device: evaluate, N steps at batch 1, evaluate again."""

import math
from dataclasses import dataclass

from bench_melt.data.dataset import Dataset, visiting_order
from bench_melt.device import Device
from bench_melt.progress import Bars
from bench_melt.workloads.counting import Profile, StepCounts, Tally, make_profile
from codegen.manifest import Manifest


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What to do: steps, test samples to evaluate on, and settings; lr None means as compiled."""

    steps: int
    eval_count: int
    seed: int
    lr: float | None = None
    profile: bool = False


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came of it; accuracies in [0, 1], None for what was not measured.

    instructions_per_step, instructions_forward: means over all that were counted, rounded.
    """

    accuracy_before: float | None
    accuracy_after: float | None
    loss_first: float | None
    loss_last: float | None
    instructions_per_step: int | None
    instructions_forward: int | None
    state_sha256: str
    profile: Profile | None


def train(
    device: Device, manifest: Manifest, data: Dataset, plan: TrainingPlan, shown: Bars
) -> TrainingResult:
    """Run the plan on a device that stands as compiled.

    Samples are visited in file order if the seed is 0, else in a seeded permutation; after the last
    one it starts again with the first.

    Raises:
        DeviceError: the device fails on the way.
    """
    forward, step = (
        Tally.of(layers, fed=manifest.input_fed)
        for layers in (manifest.forward_layers, manifest.train_layers)
    )
    counts = StepCounts(device, forward, step, plan.profile)
    device.session.set_hyper(lr=plan.lr, seed=plan.seed)
    counts.begin()
    before = _accuracy(device, data, plan.eval_count, shown, "test, before", counts)
    losses = _steps(device, data, plan, shown, counts)
    after = before
    if plan.steps:
        after = _accuracy(device, data, plan.eval_count, shown, "test, after", counts)
    if counts.forward.runs == 0 and device.counter is not None:
        # nothing was evaluated: one forward tells what one takes, and changes nothing
        device.session.write_input(data.x[0].tobytes())
        device.session.forward()
        counts.after_forward()
    profile = None
    if plan.profile and counts.unit is not None:
        profile = make_profile(counts.unit, manifest.train_layers, counts.step)
    return TrainingResult(
        accuracy_before=before,
        accuracy_after=after,
        loss_first=_finite(losses[0]) if losses else None,
        loss_last=_finite(losses[1]) if losses else None,
        instructions_per_step=counts.instructions(counts.step),
        instructions_forward=counts.instructions(counts.forward),
        state_sha256=device.session.state_hash(),
        profile=profile,
    )


def _steps(
    device: Device, data: Dataset, plan: TrainingPlan, shown: Bars, counts: StepCounts
) -> tuple[float, float] | None:
    """Take the steps; return the first loss and the last, None without steps."""
    if not plan.steps:
        return None
    order = visiting_order(len(data.y), plan.seed)
    meter = shown.phase("training", plan.steps)
    first = last = math.nan
    for step in range(plan.steps):
        index = int(order[step % len(order)])
        label = int(data.y[index])
        device.session.write_input(data.x[index].tobytes())
        answer = device.session.train(label)
        counts.after_step()
        first, last = (answer.loss if step == 0 else first), answer.loss
        right = None if answer.predicted is None else answer.predicted == label
        meter.step(loss=answer.loss, right=right)
    return first, last


def _accuracy(
    device: Device, data: Dataset, count: int, shown: Bars, label: str, counts: StepCounts
) -> float | None:
    """Return the share of the first `count` test samples that the device gets right."""
    if not count:
        return None
    meter = shown.phase(label, count)
    hits = 0
    for index in range(count):
        device.session.write_input(data.x_test[index].tobytes())
        right = device.session.evaluate() == int(data.y_test[index])
        counts.after_forward()
        hits += right
        meter.step(right=right)
    return hits / count


def _finite(loss: float) -> float | None:
    """A loss that is not finite is no number that JSON has."""
    return loss if math.isfinite(loss) else None
