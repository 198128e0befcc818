"""Compares what we measure with what llama-bench measures: same build, model, threads, machine.

python docs/compare_llama_bench.py [--turns 12] [--folder RUNNERS] [--model FILE.gguf] [--json]

Every turn runs llama-bench on the prompt (pp), our `llm` workload with a llama-server, and
llama-bench on generation at the same depth (tg), each as a suite would run it; the next turn in the
opposite order. What is compared are the ratios of neighbours, so that a machine which is busy with
other things slows both. `bench-melt runner build --target host` makes the programs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from bench_melt.models import ModelFile, load_model_file  # noqa: E402
from bench_melt.packaged import packaged_model  # noqa: E402
from bench_melt.record import Results  # noqa: E402
from bench_melt.runners.build import runners_folder  # noqa: E402
from bench_melt.stats import summarise  # noqa: E402
from bench_melt.targets.description import load_machine  # noqa: E402
from bench_melt.targets.local import LocalMachine  # noqa: E402
from bench_melt.targets.machine import Deadline  # noqa: E402
from bench_melt.workloads.llama_bench import LlamaBenchWorkload  # noqa: E402
from bench_melt.workloads.llm.workload import LlmWorkload  # noqa: E402
from bench_melt.workloads.tables import LlamaBenchTable, LlmTable  # noqa: E402
from bench_melt.workloads.workload import Bench, EventLog, Workload  # noqa: E402

TURN_S = 600.0


@dataclass(frozen=True)
class Turn:
    """Tokens per second of one turn."""

    pp_ours: float
    pp_theirs: float
    tg_ours: float
    tg_theirs: float
    harness_cpu_share: float  # of our process while the server worked


def bench_for(machine: LocalMachine, model: ModelFile, cores: tuple[int, ...], seed: int) -> Bench:
    """Return what one repetition works with."""
    return Bench(
        machine=machine,
        description=load_machine("local"),
        info=machine.probe(),
        model=model,
        folder=ROOT,
        cores=cores,
        warmups=1,
        seed=seed,
        deadline=Deadline(TURN_S),
        events=EventLog(),
    )


def workloads(given: argparse.Namespace) -> tuple[Workload, Workload, Workload]:
    """Return llama-bench on the prompt, ours, and llama-bench on generation."""
    theirs = {
        "kind": "llama-bench",
        "program": given.folder / "llama-bench",
        "threads": given.threads,
    }
    pp = {"n_prompt": given.n_prompt, "n_gen": 0}
    tg = {"n_prompt": 0, "n_gen": given.n_gen, "n_depth": given.n_prompt}
    ours = LlmTable.model_validate(
        {
            "kind": "llm",
            "name": "ours",
            "n_prompt": given.n_prompt,
            "n_gen": given.n_gen,
            "runner": {
                "kind": "llama-server",
                "program": given.folder / "llama-server",
                "threads": given.threads,
            },
        }
    )
    tables = [LlamaBenchTable.model_validate({**theirs, "name": "x", **size}) for size in (pp, tg)]
    return LlamaBenchWorkload(tables[0]), LlmWorkload(ours), LlamaBenchWorkload(tables[1])


def measure(
    given: argparse.Namespace, model: ModelFile, say: Callable[[str], object]
) -> list[Turn]:
    """Return every turn's figures."""
    order = workloads(given)
    for workload in order:
        workload.check(model, ROOT)
    turns = []
    with LocalMachine(load_machine("local")) as machine:
        for at in range(given.turns):
            ran = order if at % 2 == 0 else order[::-1]
            found = [w.run(bench_for(machine, model, given.cores, at)) for w in ran]
            turns.append(turn_of(found if at % 2 == 0 else found[::-1]))
            say(f"turn {at + 1} of {given.turns}: {turns[-1]}")
    return turns


def turn_of(found: Sequence[Results]) -> Turn:
    """Return a turn's figures from its three results."""
    pp, ours, tg = found
    return Turn(
        pp_ours=ours.latency.prefill_tokens_per_s or 0.0,
        pp_theirs=pp.latency.prefill_tokens_per_s or 0.0,
        tg_ours=ours.latency.decode_tokens_per_s or 0.0,
        tg_theirs=tg.latency.decode_tokens_per_s or 0.0,
        harness_cpu_share=ours.memory.harness_cpu_share or 0.0,
    )


def summary_of(turns: Sequence[Turn]) -> dict[str, object]:
    """Return medians of both, and the median of the ratios with its interval and extremes."""
    summary: dict[str, object] = {"turns": len(turns)}
    for name in ("pp", "tg"):
        ours = [getattr(turn, f"{name}_ours") for turn in turns]
        theirs = [getattr(turn, f"{name}_theirs") for turn in turns]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        ratio = summarise(ratios)
        summary[name] = {
            "ours_tokens_per_s": summarise(ours).median,
            "llama_bench_tokens_per_s": summarise(theirs).median,
            "ratio": ratio.median,
            "ratio_low": ratio.low,
            "ratio_high": ratio.high,
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    summary["harness_cpu_share"] = summarise([turn.harness_cpu_share for turn in turns]).median
    return summary


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--folder", type=Path, default=runners_folder() / "host")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--n-prompt", type=int, default=128)
    parser.add_argument("--n-gen", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cores", type=lambda text: tuple(map(int, text.split(","))), default=())
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def told(summary: dict[str, object], given: argparse.Namespace, model: ModelFile) -> str:
    """Return the summary as lines."""
    names = {"pp": f"pp{given.n_prompt}", "tg": f"tg{given.n_gen} @ d{given.n_prompt}"}
    lines = [
        f"{model.path.name}, {given.threads} thread, {summary['turns']} turns, tokens per second"
    ]
    for name, label in names.items():
        row = summary[name]
        assert isinstance(row, dict)
        lines.append(
            f"{label:14}ours {row['ours_tokens_per_s']:.2f}, llama-bench "
            f"{row['llama_bench_tokens_per_s']:.2f}; ratio {row['ratio']:.4f} "
            f"({row['ratio_low']:.4f} to {row['ratio_high']:.4f}; single turns "
            f"{row['ratio_min']:.3f} to {row['ratio_max']:.3f})"
        )
    share = summary["harness_cpu_share"]
    assert isinstance(share, float)
    lines.append(f"harness       {100 * share:.2f} % of one core")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    given = arguments()
    given.folder = given.folder.resolve()
    model = load_model_file(given.model or packaged_model("smollm2-135m"), None)
    turns = measure(given, model, lambda line: sys.stderr.write(f"{line}\n"))
    summary = summary_of(turns)
    whole = {**summary, "raw": [asdict(turn) for turn in turns]}
    sys.stdout.write(f"{json.dumps(whole)}\n" if given.json else told(summary, given, model))


if __name__ == "__main__":
    main()
