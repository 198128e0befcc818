"""What a call of each variant's kernels spends before the first output: for the planner, which
weighs it against the memory of longer line buffers.

Instructions, counted under QEMU on layers of 16 to 120 channels and put as so much per channel
(parameters fetched, weights laid out) and per byte of input (laid out anew); within a fifth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from codegen.board import Board
from codegen.kernels import Variant, kernels_for, variant_for
from tinyengine.ops.conv2d import Conv2d
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.op import Op, Signature
from tinyengine.plan.target import Setup, Target, no_setup


def target_for(board: Board) -> Target:
    """Return what the planner must know of a board and its core's kernels."""
    variant = variant_for(board.features)
    return Target(kernels_for(variant), setup_for(variant), board.ram_usable_bytes)


def setup_for(variant: Variant) -> Setup:
    """Return what tells the instructions that a call of a kernel begins with."""

    def setup(op: Op, sig: Signature) -> int:
        return _SETUPS.get((variant, type(op)), no_setup)(op, sig)

    return setup


def _depthwise_dsp(op: Op, sig: Signature) -> int:
    """Pairs of weights and a frame for the assembly per channel; input lines spread to 16 bits."""
    taps = _taps(op)
    return (80 + 3 * taps) * sig.outs[0].shape[3] + 4 * sig.ins[0].nbytes


def _depthwise_mve(op: Op, sig: Signature) -> int:
    """Weights gathered per channel; the band's inputs gathered into a plane."""
    return (100 + 4 * _taps(op)) * sig.outs[0].shape[3] + sig.ins[0].nbytes


def _conv2d_mve(op: Op, sig: Signature) -> int:
    """Per channel: its parameters, its weights into registers and their sum."""
    weights = _taps(op) * sig.ins[0].shape[3]
    return (130 + weights // 8) * sig.outs[0].shape[3]


def _taps(op: Op) -> int:
    assert isinstance(op, Conv2d | DepthwiseConv2d)
    return math.prod(op.window.kernel)


_SETUPS: Mapping[tuple[Variant, type[Op]], Setup] = MappingProxyType(
    {
        ("dsp", DepthwiseConv2d): _depthwise_dsp,
        ("mve", DepthwiseConv2d): _depthwise_mve,
        ("mve", Conv2d): _conv2d_mve,
    }
)
