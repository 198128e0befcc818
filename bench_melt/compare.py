"""Two runs side by side: better, worse or no difference, per cell and metric."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench_melt.stats import Summary, difference, holm, smallest_p, summarise
from bench_melt.store import Run, Store, open_store
from codegen.tables import nearest
from tinyengine.errors import UserError

Verdict = Literal["better", "worse", "no difference", "too few"]
Group = tuple[str, str, str]  # target, model, workload
Rows = Sequence[Mapping[str, Any]]

# metric -> whether more is better; the columns that a comparison looks at
METRICS: Mapping[str, bool] = {
    "prefill_tokens_per_s": True,
    "decode_tokens_per_s": True,
    "avg_ts": True,
    "goodput_requests_per_s": True,
    "ttft_ms": False,
    "tpot_ms": False,
    "itl_ms_p99": False,
    "load_ms": False,
    "cold_start_ms": False,
    "latency_ms_p50": False,
    "latency_ms_p90": False,
    "memory_peak_bytes": False,
    "j_per_token_prefill": False,
    "j_per_token_decode": False,
    "j_per_inference": False,
    "perplexity": False,
    "choice_accuracy": True,
}
_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one cell in both runs. p is Holm-corrected over all lines of the table."""

    target: str
    model: str
    workload: str
    metric: str
    a: Summary
    b: Summary
    change: float | None
    effect: float
    p: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Lost:
    """A cell that A measured and of which every repetition failed in B."""

    target: str
    model: str
    workload: str
    failed: int
    reason: str  # of the last


# a difference in one of these explains a difference in speed: it is said beside the verdicts
CONDITIONS = (
    *("model_sha256", "quantisation", "runner", "build_commit", "n_threads", "cores", "n_batch"),
    *("n_ubatch", "n_gpu_layers", "n_ctx", "os_build", "cpu_info", "governor", "power_mode"),
    *("charging", "warmups", "git_revision", "tool_versions"),
)


def find_rows(name: str, url: str) -> Rows:
    """Return the rows that a name on the command line means.

    Args:
        name: A database file (its newest run), or a run's id, or the start of one, in `url`.
        url: The database of run ids.

    Raises:
        UserError: nothing or more than one run matches.
    """
    if "://" in name or Path(name).is_file():
        with open_store(name, create=False) as store:
            runs = store.runs()
            if not runs:
                raise UserError(f"database '{name}' holds no run")
            return store.rows(runs[-1].run_id)
    if "/" in name or name.endswith((".sqlite", ".db")):
        raise UserError(f"there is no database file '{name}'")
    with _named(name, url) as store:
        return store.rows(_run(name, store).run_id)


@contextmanager
def _named(name: str, url: str) -> Iterator[Store]:
    """Open the database of run ids; where that fails, say that the name was taken for one."""
    with ExitStack() as stack:
        try:
            store = stack.enter_context(open_store(url, create=False))
        except UserError as error:
            raise UserError(
                f"'{name}' is no file, so it is taken for a run's id; {error}"
            ) from error
        yield store


def _run(name: str, store: Store) -> Run:
    runs = store.runs()
    found = [run for run in runs if run.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    names = [run.run_id for run in runs]
    if found:
        raise UserError(f"'{name}' may be run {' or '.join(run.run_id for run in found)}: say more")
    raise UserError(f"there is no run '{name}'{nearest(name, names)}; runs: {', '.join(names)}")


def compare(a: Rows, b: Rows, metrics: Sequence[str], *, required: bool = True) -> list[Comparison]:
    """Compare every cell and metric that both have, in the order of the first.

    The test is a two-sided Mann-Whitney test at 5 %, Holm-corrected over all lines. Repetitions too
    few to reach that level at all are called so, not "no difference".

    Raises:
        UserError: the runs share no cell, or nothing measured in both, and it is `required`.
    """
    first, second = _samples(a, metrics), _samples(b, metrics)
    shared = [key for key in first if key in second]
    if not shared and required:
        raise UserError(
            "the two runs have no target, model, workload and metric in common: "
            f"{_groups(first)} against {_groups(second)}"
        )
    differences = [difference(first[key], second[key]) for key in shared]
    corrected = holm([found.p for found in differences])
    return [
        Comparison(
            *group,
            metric,
            summarise(first[group, metric]),
            summarise(second[group, metric]),
            found.change,
            found.effect,
            p,
            _verdict(first[group, metric], second[group, metric], metric, found.effect, p),
        )
        for (group, metric), found, p in zip(shared, differences, corrected, strict=True)
    ]


def lost_cells(a: Rows, b: Rows) -> list[Lost]:
    """Return cells that have a good row in A, and in B only failed ones."""
    measured = {_group(row) for row in a if row["status"] == "ok"}
    failures: dict[Group, list[str]] = defaultdict(list)
    for row in b:
        if _group(row) in measured and row["status"] != "ok":
            failures[_group(row)].append(str(row["reason"]))
    for row in b:
        if row["status"] == "ok":
            failures.pop(_group(row), None)
    return [Lost(*group, len(reasons), reasons[-1]) for group, reasons in failures.items()]


def changed_conditions(a: Rows, b: Rows) -> dict[str, tuple[str, str]]:
    """Return the conditions that differ between the two: column -> its values in A and in B.

    Only of cells that both have; "null" is not recorded.
    """
    shared = {_group(row) for row in a} & {_group(row) for row in b}

    def values(rows: Rows, column: str) -> str:
        held = {row[column] for row in rows if _group(row) in shared and row["status"] == "ok"}
        return ", ".join(sorted("null" if value is None else str(value) for value in held))

    found = {column: (values(a, column), values(b, column)) for column in CONDITIONS}
    return {column: pair for column, pair in found.items() if pair[0] != pair[1]}


def regressions(lines: Sequence[Comparison], limit: float) -> list[Comparison]:
    """Return the lines that are worse by more than `limit` (a share, 0.05 for 5 %)."""
    return [
        line
        for line in lines
        if line.verdict == "worse" and line.change is not None and abs(line.change) > limit
    ]


def _verdict(
    a: Sequence[float], b: Sequence[float], metric: str, effect: float, p: float
) -> Verdict:
    if p < _LEVEL:
        return "better" if (effect > 0) == METRICS[metric] else "worse"
    return "too few" if smallest_p(len(a), len(b)) >= _LEVEL else "no difference"


def _samples(rows: Rows, metrics: Sequence[str]) -> dict[tuple[Group, str], list[float]]:
    found: dict[tuple[Group, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["status"] != "ok":
            continue
        group = _group(row)
        for metric in metrics:
            if row[metric] is not None:
                found[group, metric].append(float(row[metric]))
    return dict(found)


def _group(row: Mapping[str, Any]) -> Group:
    return row["target"], row["model"], row["workload"]


def _groups(samples: Mapping[tuple[Group, str], object]) -> str:
    names = sorted({" ".join(group) for group, _ in samples})
    return ", ".join(names[:4]) or "nothing measured"
