"""Prints docs/tour.md: one small net carried through every stage, as the code does it.

python docs/make_tour.py > docs/tour.md
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import re
import string
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from codegen.board import load_board  # noqa: E402
from codegen.emit import emit  # noqa: E402
from tinyengine.compiled import Compiled, compile_graph, prepare  # noqa: E402
from tinyengine.importers.net import Net, Tensor  # noqa: E402
from tinyengine.ir import text  # noqa: E402
from tinyengine.ir.attributes import format_op  # noqa: E402
from tinyengine.ir.graph import Graph, Node  # noqa: E402
from tinyengine.ops.window import Window  # noqa: E402
from tinyengine.plan.lifetime import last_uses  # noqa: E402
from tinyengine.plan.plan import ALIGN_BYTES, Plan  # noqa: E402
from tinyengine.sim.gradcheck import gradcheck_random  # noqa: E402
from tinyengine.sim.train import Trainer  # noqa: E402
from tinyengine.update.scheme import parse_scheme  # noqa: E402

LETTERS = string.ascii_uppercase + string.ascii_lowercase
SCHEME = """\
[update]
biases = 2              # the last two before the head: `stem` and `point`
head = "float32"
rounding = "nearest"
[update.weights]
"point" = 0.5           # half of its input channels
"""


def net(t: Net) -> Tensor:  # noqa: D103
    x = t.input((6, 6, 2), scale=1 / 64, real=True)
    x = t.conv(x, 4, kernel=3, stride=2, activation="relu", name="stem")
    y = t.conv(x, 4, kernel=1, name="point")
    x = t.add(y, x, name="join")
    return t.dense(t.mean(x, name="pool"), 3, name="classifier")


SAID = {
    "fold": "The float32 border goes: the host quantises (decisions/0007). Padding before a "
    "convolution and transposes that move nothing would go here too.",
    "head": "The scheme wants a float32 head, so the int8 classifier is dequantised. `--classes N` "
    "would put a fresh one here.",
    "backward": "The loss, and the gradient of every trainable tensor, as if all of them learnt. "
    "`stem` is read twice, by `point` and by `join`: their gradients are added (`grad_add`). "
    "`inside` keeps one bit per clamped output (decisions/0003).",
    "prune": "What the scheme does not train becomes constant, and what only that needed goes. Two "
    "of the four input channels of `point` learn: its weight is cut into a trainable and a frozen "
    "half, and its input is gathered to match (decisions/0004).",
    "update": "Each gradient becomes the next value of its tensor. `lr`, `seed` and `step` are "
    "inputs: they may change while the board runs.",
    "fuse": "The weight gradient and its update become one node that works row by row "
    "(decisions/0008).",
    "simplify": "Nodes that only rename go.",
}


def short(graph: Graph, node: Node) -> str:
    """A node in one line: no scales, no attributes that the shapes already tell."""
    outs = ", ".join(f"%{n} {text.format_type(graph.type(n)).split(' ')[0]}" for n in node.outputs)
    ins = ", ".join(f"%{n}" for n in node.inputs)
    attributes = re.sub(r"window\{.*?\}", "", format_op(node.op)[1])
    kept = re.findall(r"(?:channels|rounding|start|order)=(?:\(.+?\)|'\w+')", attributes)
    window = getattr(node.op, "window", None)
    if isinstance(window, Window) and window.kernel != (1, 1):
        kept.append(f"kernel={window.kernel}, stride={window.stride}, padding={window.padding}")
    return f"{outs} = {node.op.kind}({ins})" + (f" {{{', '.join(kept)}}}" if kept else "")


def summary(graph: Graph) -> list[str]:
    """Inputs, what changes, nodes, outputs and pairs of a graph, one line each."""
    lines = [
        f"input %{n} {graph.type(n).dtype.value}{list(graph.type(n).shape)}" for n in graph.inputs
    ]
    lines += [
        f"{v.role.value} %{v.name} {v.type.dtype.value}{list(v.type.shape)}"
        for v in graph.values.values()
        if v.data is not None and keeps(v.name)
    ]
    lines += [short(graph, node) for node in graph.nodes]
    lines += [f"output %{n}" for n in graph.outputs]
    lines += [f"gradient %{a} <- %{b}" for a, b in graph.gradients]
    return lines + [f"update %{a} <- %{b}" for a, b in graph.updates]


def keeps(name: str) -> bool:
    """Whether a constant is worth showing: weights and biases are."""
    return name.endswith(("/weight", "/bias", ".frozen"))


def changes(before: Graph, after: Graph) -> list[str]:
    """Lines that a pass took (-) and gave (+), with what stays between them left out."""
    told: list[str] = []
    for line in difflib.ndiff(summary(before), summary(after)):
        if line[0] in "+-":
            told.append(line)
        elif line[0] == " " and told and told[-1] != "  ...":
            told.append("  ...")
    return told[:-1] if told and told[-1] == "  ..." else told


def fenced(lines: list[str] | str, language: str = "text") -> str:
    """A block of code."""
    body = lines if isinstance(lines, str) else "\n".join(lines)
    return f"```{language}\n{body.rstrip()}\n```\n"


def wrapped(words: str) -> str:
    """A paragraph, wrapped."""
    return textwrap.fill(words, 100, break_on_hyphens=False, break_long_words=False) + "\n"


def memory(plan: Plan) -> list[str]:
    """One row a step, one column for 8 bytes of arena: who lives there while the step runs."""
    graph, last = plan.graph, last_uses(plan.graph)
    first = dict.fromkeys(plan.graph.inputs, 0)
    for step, node in enumerate(graph.nodes):
        first.update(dict.fromkeys(node.outputs, step))
    letters = dict(zip(plan.slots, LETTERS, strict=False))
    rows = []
    for step, node in enumerate(graph.nodes):
        cells = ["."] * (plan.arena_bytes // ALIGN_BYTES)
        alive = [n for n in plan.slots if first[n] <= step <= last[n]]
        for name in sorted(alive, key=lambda n: first[n]):
            slot = plan.slots[name]
            for cell in range(slot.offset // ALIGN_BYTES, -(-slot.end // ALIGN_BYTES)):
                cells[cell] = letters[name]
        scratch = plan.scratch[step]
        if scratch is not None:
            for cell in range(scratch.offset // ALIGN_BYTES, -(-scratch.end // ALIGN_BYTES)):
                cells[cell] = "#"
        rows.append(f"{step:3} {''.join(cells)}  {node.op.kind} '{node.layer}'")
    return rows


def slots(plan: Plan) -> list[str]:
    """Letter, bytes from .. to, size and name of every value in the arena."""
    return [
        f"{letter} {slot.offset:4} .. {slot.end:<4} {slot.nbytes:4} B  {name}"
        for letter, (name, slot) in zip(LETTERS, plan.slots.items(), strict=False)
    ]


def c_step(compiled: Compiled) -> str:
    """The generated training step from the loss on."""
    files = emit(compiled, load_board("host"))
    source = files[f"src/{compiled.name}.c"]
    match = re.search(r"^static void run_train\(.*?^\}$", source, re.DOTALL | re.MULTILINE)
    assert match is not None
    head, loss, rest = match.group(0).partition("    /* loss: ")
    opening = head.splitlines()[0]
    return f"{opening}\n{{\n    ...\n{loss}{rest}"


def training(plan: Plan) -> list[str]:
    """A few steps on two samples, with the loss and what has moved."""
    graph = plan.graph
    start = {v.name: np.array(v.require_data()) for v in graph.state()}
    trainer = Trainer(graph, lr=0.1, seed=1)
    rng = np.random.default_rng(1)
    shape = graph.type(graph.inputs[0]).shape
    samples = [(rng.integers(-128, 128, shape).astype(np.int8), label) for label in (0, 2)]
    lines = []
    for step in range(12):
        loss = trainer.step(*samples[step % 2])
        lines.append(f"step {step:2}  label {samples[step % 2][1]}  loss {loss:.6f}")
    lines.append("")
    for name, array in trainer.state().items():
        moved = int((array != start[name]).sum())
        lines.append(f"{name:20} {moved:2} of {array.size:2} values have moved")
    return [*lines, "", f"state hash {trainer.hash()}"]


def stages() -> tuple[list[tuple[str, Graph]], Compiled]:
    """(stage, graph) after every pass, and the plans."""
    made: list[tuple[str, Graph]] = []
    tracer = Net("tour", seed=1)
    graph = tracer.graph(net(tracer))
    compiled = compile_graph(
        graph, parse_scheme("tour", SCHEME), dump=lambda stage, g: made.append((stage, g))
    )
    # the schedule has a section of its own
    return [(stage, g) for stage, g in made if not stage.startswith("schedule")], compiled


def gradients() -> list[str]:
    """What `tinyengine-codegen gradcheck` finds."""
    tracer = Net("tour", seed=1)
    prepared = prepare(tracer.graph(net(tracer)), parse_scheme("tour", SCHEME))
    report = gradcheck_random(prepared.gradients, seed=1)
    lines = [f"{'tensor':20} {'cosine':>10} {'norm ratio':>10}"]
    lines += [f"{t.name:20} {t.cosine:10.6f} {t.norm_ratio:10.6f}" for t in report.tensors]
    return lines


def page() -> Iterator[str]:
    """The sections of the page."""
    made, compiled = stages()
    plan = compiled.train
    assert plan is not None
    yield "# Tour\n"
    yield wrapped(
        "One small net, carried through every stage. This page is printed by `docs/make_tour.py` "
        "and a test compares it, so it is what the code does. For a model of your own, "
        "`tinyengine-codegen compile MODEL ... --dump-dir FOLDER` writes the graph after every "
        "pass in full."
    )
    yield "## The model and the scheme\n"
    yield fenced(inspect.getsource(net).replace("  # noqa: D103", ""), "python")
    yield fenced(SCHEME, "toml")
    yield "## import\n"
    yield wrapped(
        "The graph as `ir/text.py` prints it (constants' data left out). Weights that nobody gave "
        "are made from a seed, scales are measured on samples. `q(scale,zero point)` is the "
        "quantisation."
    )
    yield fenced(text.write(made[0][1], data=False))
    yield wrapped(
        "From here on only what a pass takes (-) and gives (+), and without quantisation. "
        "`ir/verify.py` checks its rules on every one of these graphs."
    )
    for (_, before), (stage, after) in itertools.pairwise(made):
        yield f"## {stage}\n"
        yield wrapped(SAID[stage])
        yield fenced(changes(before, after) or ["nothing changes"], "diff")
    yield from planned(compiled, plan)


def planned(compiled: Compiled, plan: Plan) -> Iterator[str]:
    """The sections behind the last pass."""
    yield "## schedule and plan\n"
    yield wrapped(
        "Updates run as soon as their gradient exists, but not before the last reader of the old "
        "value. Then every value gets a place in one arena. Each row below is a step, each column "
        f"{ALIGN_BYTES} bytes, each letter a value that is alive (a value written in place shows "
        "over the one it replaces; # is scratch)."
    )
    yield fenced(memory(plan))
    yield fenced(slots(plan))
    yield wrapped(
        f"The arena of a training step has {plan.arena_bytes} B; no placement of this schedule "
        f"needs fewer than {plan.lower_bound_bytes} B. What learns has "
        f"{compiled.trainable_bytes} B of its own."
    )
    yield "## C\n"
    yield wrapped(
        "One call per node, on fixed places of the arena; what learns is `s_...` in RAM, what is "
        "frozen is `c_...` in flash. Instructions are counted between calls of `te_mark`. The "
        "training step from the loss on, from `src/tour.c`:"
    )
    yield fenced(c_step(compiled), "c")
    yield "## Training\n"
    yield wrapped(
        "The training graph in the simulator, learning rate 0.1, two samples in turn. A board "
        "gives the same bits."
    )
    yield fenced(training(plan))
    yield "## gradcheck\n"
    yield wrapped(
        "Every gradient of the pruned graph against float64 automatic differentiation of the "
        "dequantised network (decisions/0006), on one random sample:"
    )
    yield fenced(gradients())


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()))
