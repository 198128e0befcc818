"""One flat row per repetition: what was asked, under which conditions, what came out.

A row is made of groups, each filled by whoever knows it; flattened, every field is one column of
the database and of every report. `None` is "not measured", never zero. Units end the names.
Columns that llama-bench has too carry its names (`n_prompt`, `avg_ts`, ...), so that scripts
written for its output read ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

Status = Literal["ok", "failed"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Which repetition of what this row is. (run_id, cell_key) is unique in a database."""

    run_id: str
    cell_key: str  # hash of target, model, workload, repetition and seed
    position: int  # place in the sweep's shuffled order, from 0
    suite: str
    target: str
    model: str
    workload: str
    workload_kind: str
    repetition: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. reason: None when ok, else one line that says what went wrong."""

    status: Status
    reason: str | None
    started_at: str  # UTC, ISO 8601
    duration_s: float


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """The machine, as it described itself."""

    machine: str | None = None  # name of its description
    machine_kind: str | None = None
    os_build: str | None = None
    soc: str | None = None
    cpu_info: str | None = None
    gpu_info: str | None = None
    memory_bytes: int | None = None
    cores: str | None = None  # those the process was pinned to, "4,5,6"; None: all


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model's file."""

    model_filename: str | None = None
    model_sha256: str | None = None
    model_type: str | None = None
    model_size: int | None = None  # bytes of its tensors, as llama-bench counts
    model_n_params: int | None = None
    quantisation: str | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What ran the model, and how it was set."""

    git_revision: str | None = None  # of this tool
    tool_versions: str | None = None  # JSON object: package -> version
    runner: str | None = None
    build_commit: str | None = None  # of the runner
    build_number: int | None = None
    backends: str | None = None
    n_threads: int | None = None
    n_batch: int | None = None
    n_ubatch: int | None = None
    n_gpu_layers: int | None = None
    type_k: str | None = None
    type_v: str | None = None
    flash_attn: str | None = None
    n_ctx: int | None = None
    n_prompt: int | None = None
    n_gen: int | None = None
    n_depth: int | None = None
    prompts: str | None = None  # length class or file of the conversations
    temperature: float | None = None
    warmups: int | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """The machine's state around the run."""

    governor: str | None = None
    power_mode: str | None = None
    cpu_hz_before: int | None = None  # fastest core's present clock
    cpu_hz_after: int | None = None
    temperature_c_before: float | None = None  # hottest watched zone
    temperature_c_after: float | None = None
    thermal_status: str | None = None
    memory_available_bytes: int | None = None
    battery_percent_before: float | None = None
    battery_percent_after: float | None = None
    battery_mah_used: float | None = None
    charging: bool | None = None
    cooldown_s: float | None = None  # how long the harness waited before it started


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of one repetition. Several requests: medians, percentiles over all of their tokens."""

    load_ms: float | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    itl_ms_p50: float | None = None  # inter-token latency
    itl_ms_p90: float | None = None
    itl_ms_p99: float | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    prompt_tokens: int | None = None  # as the runner counted them
    generated_tokens: int | None = None
    clock: str | None = None  # "device" or "host": where tokens were time-stamped
    link_delay_ms: float | None = None  # round trip of the tunnel when the clock is the host's
    cold_start_ms: float | None = None
    cold_start_stages: str | None = None  # JSON object: stage -> ms; they sum to cold_start_ms
    latency_ms_p50: float | None = None  # of one inference, for models that are not LLMs
    latency_ms_p90: float | None = None
    latency_ms_p99: float | None = None
    goodput_requests_per_s: float | None = None
    test_time: str | None = None
    avg_ns: int | None = None
    stddev_ns: int | None = None
    avg_ts: float | None = None
    stddev_ts: float | None = None


@dataclass(frozen=True, slots=True)
class Sustained:
    """Throughput over many prompts in a row."""

    sustained_prompts: int | None = None
    sustained_tokens_per_s: str | None = None  # JSON list, one figure per prompt
    throttled_at_prompt: int | None = None  # first prompt after which it stays slower
    throttled_share: float | None = None  # its speed after that over its speed before


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory and processor time of the runner's process."""

    memory_peak_bytes: int | None = None  # highest resident set
    memory_pss_bytes: int | None = None  # highest proportional set
    cpu_s: float | None = None
    harness_cpu_share: float | None = None  # processor time of the harness over the wall time
    memory_bandwidth_bytes_per_s: float | None = None  # measured on this machine
    memory_bandwidth_share: float | None = None  # what decoding reads, over that


@dataclass(frozen=True, slots=True)
class Energy:
    """What a meter says; all None without one. Prefill and decode apart."""

    meter: str | None = None
    meter_rate_hz: float | None = None
    samples_file: str | None = None  # raw samples, beside the database
    energy_prefill_j: float | None = None
    energy_decode_j: float | None = None
    energy_load_j: float | None = None
    j_per_token_prefill: float | None = None  # above idle when idle_w is there
    j_per_token_decode: float | None = None
    j_per_inference: float | None = None
    idle_w: float | None = None
    clock_offset_s: float | None = None
    clock_drift_ppm: float | None = None
    meter_warnings: str | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """How well the model answers."""

    perplexity: float | None = None
    perplexity_tokens: int | None = None
    choice_accuracy: float | None = None  # multiple choice, 0 to 1
    choice_questions: int | None = None
    quality_text: str | None = None  # name and hash of the text


@dataclass(frozen=True, slots=True)
class Results:
    """What a workload measured: it fills what it knows."""

    model: ModelFacts = ModelFacts()
    setting: Setting = Setting()
    latency: Latency = Latency()
    sustained: Sustained = Sustained()
    memory: MemoryUse = MemoryUse()
    energy: Energy = Energy()
    quality: Quality = Quality()
    details: Mapping[str, Any] = field(default_factory=dict)  # JSON: token times and the like


@dataclass(frozen=True, slots=True)
class Row:
    """One repetition."""

    identity: Identity
    outcome: Outcome
    target: TargetFacts = TargetFacts()
    conditions: Conditions = Conditions()
    results: Results = field(default_factory=Results)

    def flat(self) -> dict[str, Any]:
        """Return column -> value, all columns, in COLUMNS' order; `details` as it is."""
        groups = (
            self.identity,
            self.outcome,
            self.target,
            self.conditions,
            *(getattr(self.results, name) for name in _RESULT_GROUPS),
        )
        found = {f.name: getattr(group, f.name) for group in groups for f in fields(group)}
        return {**found, "details": dict(self.results.details)}


_RESULT_GROUPS = tuple(f.name for f in fields(Results) if f.name != "details")


def _columns() -> dict[str, type]:
    """Return column -> Python type for every scalar column.

    A name in two groups would lose one of the two values: that is refused here.
    """
    hints = get_type_hints(Results)
    groups = (Identity, Outcome, TargetFacts, Conditions, *(hints[n] for n in _RESULT_GROUPS))
    found: dict[str, type] = {}
    for group in groups:
        for name, hint in get_type_hints(group).items():
            options = [o for o in get_args(hint) if o is not type(None)] or [hint]
            kind = options[0] if isinstance(options[0], type) else str
            if name in found:
                raise AssertionError(f"column '{name}' stands in two groups of a row")
            found[name] = kind
    return found


COLUMNS: Mapping[str, type] = _columns()
IDENTITY_COLUMNS = tuple(f.name for f in fields(Identity))
OUTCOME_COLUMNS = tuple(f.name for f in fields(Outcome))
