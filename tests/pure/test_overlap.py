"""Outputs over inputs of another size: what operators promise, and what the planner makes of it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from tests.streams import chained
from tests.training import LR, random_samples
from tinyengine.errors import InternalError
from tinyengine.ir.tensor import DType, TensorType
from tinyengine.ops.depthwise import DepthwiseBwdInput
from tinyengine.ops.op import Signature
from tinyengine.ops.window import Window
from tinyengine.plan.arena import make_plan
from tinyengine.plan.check import check_plan
from tinyengine.plan.plan import Slot
from tinyengine.plan.scratch import Kernels
from tinyengine.plan.target import Target
from tinyengine.sim.run_plan import FlatMachine
from tinyengine.sim.train import Trainer

RNG = np.random.default_rng(3)


def random_window() -> Window:
    kernel, stride = (int(RNG.integers(1, 6)), 3), (int(RNG.integers(1, 4)), 1)
    pads = (int(RNG.integers(0, 4)), int(RNG.integers(0, 4)), 1, 1)
    return Window(kernel, stride, pads, (int(RNG.integers(1, 3)), 1))


def gradient(window: Window) -> tuple[DepthwiseBwdInput, Signature] | None:
    channels, many, h, w = 2, int(RNG.integers(1, 3)), int(RNG.integers(3, 12)), 4
    oh, ow = window.out_size((h, w))
    if oh < 1 or ow < 1:
        return None
    weight = TensorType((1, *window.kernel, channels * many), DType.I8)
    d = TensorType((1, oh, ow, channels * many), DType.F32)
    scale = TensorType((channels * many,), DType.F32)
    d_x = TensorType((1, h, w, channels), DType.F32)
    return DepthwiseBwdInput(window), Signature((d, weight, scale), (d_x,))


def overlapped(op: DepthwiseBwdInput, sig: Signature, lead: int) -> bool:
    """Whether pixels written in order over d, from `lead` bytes before it on, are all right."""
    d, weight, scale = (
        RNG.normal(0, 1, sig.ins[0].shape).astype(np.float32),
        RNG.integers(-128, 128, sig.ins[1].shape).astype(np.int8),
        RNG.uniform(0.5, 1, sig.ins[2].shape).astype(np.float32),
    )
    want = op.evaluate(sig, (d, weight, scale))[0]
    memory = np.full(max(lead + d.nbytes, want.nbytes), 0xA5, np.uint8)
    memory[lead : lead + d.nbytes] = d.reshape(-1).view(np.uint8)
    pixel = want.nbytes // (want.shape[1] * want.shape[2])
    for i in range(want.shape[1] * want.shape[2]):
        now = memory[lead : lead + d.nbytes].copy().view(np.float32).reshape(d.shape)
        made = op.evaluate(sig, (now, weight, scale))[0].reshape(-1, want.shape[3])[i]
        memory[i * pixel : (i + 1) * pixel] = made.view(np.uint8)
    return bool((memory[: want.nbytes].view(np.float32) == want.reshape(-1)).all())


def test_a_depthwise_input_gradient_over_its_output_gradient() -> None:
    tight = 0
    for _ in range(120):
        found = gradient(random_window())
        if found is None:
            continue
        op, sig = found
        lead = op.lead_bytes(sig)
        assert lead is not None and lead <= sig.outs[0].nbytes
        assert overlapped(op, sig, lead)
        row = sig.outs[0].nbytes // sig.outs[0].shape[1]
        tight += lead >= row and not overlapped(op, sig, lead - row)
    assert tight > 20  # a row less is wrong where no padding hides it


@pytest.mark.parametrize("gradients", ["f32", "s16", "s8"])
def test_the_checker_knows_how_far_the_output_must_lead(gradients: str) -> None:
    plan = chained(biases=9, gradients=gradients).train
    assert plan is not None
    over = 0
    for node in plan.graph.nodes:
        if node.op.lead_bytes(plan.graph.signature(node)) is None:
            continue
        d, d_x = plan.slots[node.inputs[0]], plan.slots[node.outputs[0]]
        if d_x.offset < d.end and d.offset < d_x.end:
            over += 1
            for offset in (d.offset, d_x.offset + 8):
                slots = {**plan.slots, node.outputs[0]: Slot(offset, d_x.nbytes)}
                with pytest.raises(InternalError):
                    check_plan(replace(plan, slots=MappingProxyType(slots)))
    assert over >= 2


@pytest.mark.parametrize("gradients", ["f32", "s16", "s8"])
def test_training_with_overlap_equals_the_simulator(gradients: str) -> None:
    plan = chained(biases=9, gradients=gradients).train
    assert plan is not None
    machine, trainer = FlatMachine(plan), Trainer(plan.graph, LR, seed=5)
    for step, (x, label) in enumerate(random_samples(plan.graph, 3)):
        scalars = (x, np.uint32(label), np.float32(LR), np.uint32(5), np.uint32(step))
        loss = machine.run(dict(zip(plan.graph.inputs, scalars, strict=True)))
        assert trainer.step(x, label) == float(loss[plan.graph.outputs[0]])
        assert all(np.array_equal(machine.state[n], a) for n, a in trainer.state().items())


def test_a_kernel_by_channels_works_in_place_or_apart() -> None:
    kernels = Kernels(by_channel=lambda op, sig, data: isinstance(op, DepthwiseBwdInput))
    made = chained(biases=9).train
    assert made is not None
    plan = make_plan(made.graph, target=Target(kernels))
    check_plan(plan, kernels)
    same, apart = 0, 0
    for node in plan.graph.nodes:
        if isinstance(node.op, DepthwiseBwdInput):
            d, d_x = plan.slots[node.inputs[0]], plan.slots[node.outputs[0]]
            same += d == d_x
            apart += d.end <= d_x.offset or d_x.end <= d.offset
            for offset in {d_x.offset - 8, d.offset + 8} if d == d_x else {max(d.end - 8, 0)}:
                slots = {**plan.slots, node.outputs[0]: Slot(offset, d_x.nbytes)}
                with pytest.raises(InternalError):
                    check_plan(replace(plan, slots=MappingProxyType(slots)), kernels)
    assert (same, apart) == (2, 1)  # all at stride 1 in place
