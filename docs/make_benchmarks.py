"""Measures what docs/benchmarks.json records, and writes docs/benchmarks.md from it.

python docs/make_benchmarks.py           counts and bytes on emulated boards (a few minutes)
python docs/make_benchmarks.py --host    also steps per second of this computer, with PyTorch
python docs/make_benchmarks.py --page    print the page of the stored record; nothing is measured
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from bench_melt.workloads.gates import Subject, toolchain_of, weigh  # noqa: E402
from bench_melt.workloads.kernel_bench import KernelRow, measure_kernels  # noqa: E402
from bench_melt.workloads.kernel_layers import LAYERS  # noqa: E402
from codegen.board import load_board  # noqa: E402
from codegen.compile_model import compile_model  # noqa: E402
from tests.gated import KERNEL_GRADIENTS, M4, M7, M55, own_subjects, shared_subjects  # noqa: E402

RECORD, PAGE = ROOT / "docs" / "benchmarks.json", ROOT / "docs" / "benchmarks.md"
BOARDS = {M4: "M4", M7: "M7", M55: "M55"}
MCUNET = "mcunet-5fps, mcunet-5fps-{} {}, {}"
# what, figure of the published engine, goal (at most), row of the record, figure in it
GOALS = (
    ("instructions per training step, M7", 106_371_200, 53_200_000, ("49kb", M7),
     "instructions_per_step"),
    ("instructions forward, M7", 65_035_920, 40_000_000, ("49kb", M7), "instructions_forward"),
    ("instructions per training step, M55", None, 18_000_000, ("49kb", M55),
     "instructions_per_step"),
    ("RAM, static and stack, M7", 255_056, 114_688, ("49kb", M7), "ram_bytes"),
    ("flash, all in, M7", 656_856, 716_800, ("49kb", M7), "flash_bytes"),
    ("RAM with scheme 99kb, M7", None, 163_840, ("99kb", M7), "ram_bytes"),
    ("RAM with scheme 148kb, M7", None, 212_992, ("148kb", M7), "ram_bytes"),
)  # fmt: skip

Record = dict[str, Any]


def measured(old: Record) -> Record:
    """Every gated figure; what needs ../shared keeps its old figures where that is absent."""
    shared = ROOT.parent / "shared"
    here = (shared / "data").is_dir()
    figures = {} if here else {k: v for k, v in old.get("figures", {}).items() if v["shared"]}
    with tempfile.TemporaryDirectory(prefix="te-gates-") as folder:
        scratch = Path(folder) / "dir"
        for subject in [*own_subjects(), *(shared_subjects(shared) if here else ())]:
            figures.update(_weighed(subject, scratch))
        kernels = {
            board: [_short(row) for row in measure_kernels(
                LAYERS, load_board(board), KERNEL_GRADIENTS, scratch, lambda: None).rows]
            for board in BOARDS
        }  # fmt: skip
    return {
        "toolchain": toolchain_of(load_board(M7)),
        "cflags": {board: " ".join(load_board(board).build.cflags) for board in BOARDS},
        "figures": dict(sorted(figures.items())),
        "kernels": kernels,
        "host": old.get("host"),
    }


def _weighed(subject: Subject, scratch: Path) -> Iterator[tuple[str, Record]]:
    for board in subject.boards:
        counts = weigh(subject, load_board(board), scratch)
        sys.stderr.write(f"{subject.key(board)}\n")
        yield subject.key(board), {**asdict(counts), "shared": subject.shared}


def _short(row: KernelRow) -> Record:
    kernels = [name.removeprefix("te_") for name in row.kernels]
    wanted = ("layer", "work", "gradients", "op", "macs", "outputs", "instructions", "others")
    return {**{name: getattr(row, name) for name in wanted}, "kernels": kernels}


def host_speed() -> Record | None:
    """Steps per second beside PyTorch, and how long compiling takes; None without ../shared."""
    shared = ROOT.parent / "shared"
    if not (shared / "data").is_dir():
        return None
    subject = shared_subjects(shared)[0]
    with tempfile.TemporaryDirectory(prefix="te-host-") as folder:
        out = Path(folder) / "dir"
        start = time.perf_counter()
        compile_model(subject.model, load_board(M7), subject.scheme, out, subject.classes)
        seconds = time.perf_counter() - start
        program = "from bench_melt.cli import main; main()"
        argv = [sys.executable, "-c", program, "speed", str(out), "--rounds", "9", "--json"]
        done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    return {**json.loads(done.stdout), "compile_s": round(seconds, 2)}


def page(record: Record) -> Iterator[str]:
    """The lines of docs/benchmarks.md."""
    yield "# Benchmarks\n"
    yield _wrapped(
        "Made by `make benchmarks` (`python docs/make_benchmarks.py`), which also writes the "
        "record [benchmarks.json](benchmarks.json). Instructions are counted by a QEMU plug-in "
        "between the marks that the generated code sets around every node. They are exact and "
        "repeat; they are not cycles, and nothing here is a time but the last section. RAM is "
        "static data and worst-case stack of the linked firmware, flash all that it loads: "
        "code, constants, initial values."
    )
    yield _wrapped(
        "Gate: `tests/emu/test_gates.py` fails when a count or a byte is more than 1 % above "
        "the record. Another compiler gives other counts, so the versions below are part of the "
        "record: with another gcc there is nothing to compare, and the gate skips with that "
        "reason. Whoever makes something smaller writes the record again and commits it."
    )
    for name, version in record["toolchain"].items():
        yield f"- {name}: {version}"
    for board, flags in record["cflags"].items():
        yield f"- `{board}`: `{flags}`"
    yield "\n## MCUNet-5FPS, 10 classes, float32 head\n"
    yield from _goals(record)
    yield "\n## Nets\n"
    yield from _nets(record)
    yield "\n## Kernels\n"
    yield from _kernels(record)
    yield "\n## This computer\n"
    yield from _host(record["host"])


def _goals(record: Record) -> Iterator[str]:
    yield _wrapped(
        "The published engine is that of arXiv 2206.15472 with its shipped example, scheme "
        "`49kb`, at -Ofast, counted alike. The input alone is 49,152 B."
    )
    yield "| figure | published engine | goal, at most | now, s16 gradients | now, f32 gradients |"
    yield "|---|---:|---:|---:|---:|"
    for what, published, goal, (size, board), name in GOALS:
        rows = [record["figures"].get(MCUNET.format(size, f, board)) for f in ("s16", "f32")]
        now = " | ".join(_number(row[name]) if row else "not measured" for row in rows)
        yield f"| {what} | {_number(published)} | {goal:,} | {now} |"


def _nets(record: Record) -> Iterator[str]:
    yield _wrapped(
        "Net, update scheme, gradients, board. Steps are means over three fake samples; the RAM"
        " limit of the boards is lifted for counting. resnet8 is `ic_resnet8_int8.tflite` of "
        "MLPerf Tiny. The small nets stand in `tests/cases.py`."
    )
    yield "| net | step | forward | per MAC, forward | RAM | flash | arena |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for key, row in record["figures"].items():
        per_mac = row["instructions_forward"] / row["macs_forward"]
        cells = (
            *(key.replace("qemu_", ""), _number(row["instructions_per_step"])),
            *(_number(row["instructions_forward"]), f"{per_mac:.2f}", _number(row["ram_bytes"])),
            *(_number(row["flash_bytes"]), _number(row["arena_bytes"])),
        )
        yield f"| {' | '.join(cells)} |"


def _kernels(record: Record) -> Iterator[str]:
    yield _wrapped(
        "Instructions per multiply-accumulate of single layers (`bench-melt kernels --board "
        "B`), taps in the padding counted like the others. In brackets what others take: "
        "CMSIS-NN at -O3 for forward kernels, the published engine for float32 gradients."
    )
    yield "| layer | work | " + " | ".join(BOARDS.values()) + " |"
    yield "|---|---|" + "---:|" * len(BOARDS)
    columns = {board: _by_work(rows) for board, rows in record["kernels"].items()}
    for layer, work in columns[M7]:
        cells = [_per_mac(columns[board].get((layer, work))) for board in BOARDS]
        yield f"| {layer} | {work} | {' | '.join(cells)} |"

    yield ""
    yield _wrapped("Kernels that do not sum products: instructions per element written or changed.")
    yield "| kernel | measured on | " + " | ".join(BOARDS.values()) + " |"
    yield "|---|---|" + "---:|" * len(BOARDS)
    others = {board: _by_kernel(rows) for board, rows in record["kernels"].items()}
    for kernel, row in others[M7].items():
        cells = [
            f"{same['instructions'] / same['outputs']:.1f}" if same else "does not fit"
            for same in (others[board].get(kernel) for board in BOARDS)
        ]
        yield f"| `te_{kernel}` | {row['layer']} | {' | '.join(cells)} |"


def _by_kernel(rows: list[Record]) -> dict[str, Record]:
    """The first row of every kernel that has no sums of products; sums over a map's pixels too."""
    found: dict[str, Record] = {}
    for row in rows:
        if not _multiplies(row):
            found.setdefault(re.sub("_(dsp|mve)$", "", row["kernels"][0]), row)
    return found


def _multiplies(row: Record) -> bool:
    """Whether it sums products; one product per output is no sum."""
    return bool(row["macs"]) and row["op"] != "mul"


def _by_work(rows: list[Record]) -> dict[tuple[str, str], Record]:
    """Kernels that multiply, by layer and work; a gradient fused with its update says so."""
    found = {}
    for row in rows:
        if _multiplies(row):
            fused = " and update" if row["op"] == "row_step" else ""
            format_ = f", {row['gradients']}" if row["gradients"] else ""
            found[row["layer"], row["work"].replace("_", " ") + fused + format_] = row
    return found


def _per_mac(row: Record | None) -> str:
    if row is None:
        return "does not fit"
    others = f" ({row['others']:.2f})" if row["others"] is not None else ""
    return f"{row['instructions'] / row['macs']:.2f}{others}"


def _host(host: Record | None) -> Iterator[str]:
    if host is None:
        yield "Not measured."
        return
    yield _wrapped(
        "MCUNet-5FPS, scheme `49kb`: the same sparse step at batch 1 in the simulator, the "
        "generated C as a shared library (`codegen/engine.py`) and PyTorch (CPU, eager, "
        "float32), which takes turns with them in one process, one thread each (`bench-melt "
        f"speed`). Medians of {host['rounds']} turns. Times: not gated, and another computer's "
        "differ."
    )
    for name in ("simulator", "engine", "torch"):
        speed = host[f"{name}_steps_per_s"]
        yield f"- {name}: {'not measured' if speed is None else f'{speed:.1f}'} steps per second"
    for name in ("simulator", "torch"):
        ratio = host[f"engine_over_{name}"]
        if ratio is not None:
            yield f"- engine / {name}: {ratio:.2f}"
    yield f"- model to C (`compile`): {host['compile_s']:.1f} s"
    yield f"- {host['gcc']}, PyTorch {host['torch']}, Python {host['python']}, {host['machine']}"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def _json(record: Record) -> str:
    """JSON with one net or kernel per line, so that a change shows as one."""
    flat = json.dumps(record, indent=1)
    return re.sub(r"\{[^{}]*\}", _one_line, flat) + "\n"


def _one_line(found: re.Match[str]) -> str:
    return json.dumps(json.loads(found[0]))


def _text(record: Record) -> str:
    return "\n".join(page(record)) + "\n"


def main(arguments: list[str]) -> None:
    """Do what the module's first lines say."""
    old = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    if "--page" in arguments:
        sys.stdout.write(_text(old))
        return
    record = measured(old)
    if "--host" in arguments:
        record["host"] = host_speed() or old.get("host")
    RECORD.write_text(_json(record), encoding="utf-8")
    PAGE.write_text(_text(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
