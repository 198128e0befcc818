"""What a suite may say of a workload: one table per kind."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from codegen.tables import Table, TextPath

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]*$")]
Milliseconds = Annotated[float, Field(gt=0, le=600_000)]


class LlmRunner(Table):
    """Who serves the model. All speak the OpenAI-compatible streaming API."""

    kind: Literal["embedded", "llama-server", "server", "url"] = "embedded"
    program: TextPath | None = None  # llama-server, server: the binary, for the target's processor
    args: tuple[str, ...] = ()  # server: its arguments, with {model}, {port}, {threads} filled in
    url: str | None = Field(default=None, pattern=r"^https?://")  # of a server that runs already
    port: int = Field(default=0, ge=0, lt=65_536)  # on the target; 0: any
    path: str = "/v1"  # of the API
    api_model: str | None = None  # name that requests give, where the server insists on one
    threads: int = Field(default=1, ge=1, le=256)
    context: int = Field(default=2048, ge=64, le=1 << 20)  # tokens
    batch: int = Field(default=512, ge=1, le=1 << 16)
    ubatch: int = Field(default=512, ge=1, le=1 << 16)
    gpu_layers: int = Field(default=0, ge=0, le=10_000)

    @model_validator(mode="after")
    def _program(self) -> Self:
        if self.kind in ("llama-server", "server") and self.program is None:
            raise ValueError(f"runner kind '{self.kind}' needs a program")
        if (self.kind == "url") != (self.url is not None):
            raise ValueError("url belongs to runner kind = 'url', and to it alone")
        return self


class Goodput(Table):
    """The highest rate at which `share` of the requests meet both limits."""

    ttft_ms: Milliseconds
    tpot_ms: Milliseconds
    share: float = Field(default=0.9, gt=0, le=1)
    requests: int = Field(default=60, ge=5, le=10_000)  # per rate that is tried
    arrivals: Literal["uniform", "poisson"] = "uniform"
    parallel: int = Field(default=4, ge=1, le=256)  # requests that the server may work on at a time
    rate_max_per_s: float = Field(default=16.0, gt=0, le=10_000)
    precision: float = Field(default=0.02, gt=0, lt=1)  # relative width at which bisection ends


class LlmTable(Table):
    """Requests to a language model's server."""

    kind: Literal["llm"]
    name: Name
    models: tuple[str, ...] | None = None  # None: every model of the suite
    runner: LlmRunner = LlmRunner()
    prompts: str | None = None  # a length class that ships ("short", ...) or a prompt file
    n_prompt: int | None = Field(default=None, ge=1, le=1 << 20)  # synthetic, instead of prompts
    n_gen: int = Field(default=64, ge=1, le=1 << 16)
    n_depth: int = Field(default=0, ge=0, le=1 << 20)  # tokens in the context before the prompt
    requests: int = Field(default=1, ge=1, le=10_000)  # measured conversations per repetition
    temperature: float = Field(default=0.0, ge=0, le=5)
    cold_start: bool = False  # time the stages from nothing to the first token
    sustained: int | None = Field(default=None, ge=2, le=10_000)  # prompts in a row
    goodput: Goodput | None = None
    quality: bool = False  # perplexity and multiple choice on the text that ships

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.prompts is None) == (self.n_prompt is None):
            raise ValueError(f"workload '{self.name}' needs either prompts or n_prompt")
        return self


class LlamaBenchTable(Table):
    """llama-bench itself, its jsonl read."""

    kind: Literal["llama-bench"]
    name: Name
    models: tuple[str, ...] | None = None
    program: TextPath  # llama-bench for the target's processor
    n_prompt: int = Field(default=512, ge=0, le=1 << 20)
    n_gen: int = Field(default=128, ge=0, le=1 << 20)
    n_depth: int = Field(default=0, ge=0, le=1 << 20)
    threads: int = Field(default=1, ge=1, le=256)
    args: tuple[str, ...] = ()


class TfliteTable(Table):
    """Inferences of a .tflite model."""

    kind: Literal["tflite"]
    name: Name
    models: tuple[str, ...] | None = None
    # the interpreter of this Python, or TensorFlow's benchmark_model binary on the target
    engine: Literal["interpreter", "benchmark_model"] = "interpreter"
    program: TextPath | None = None
    args: tuple[str, ...] = ()  # more for benchmark_model: --use_gpu=true
    inferences: int = Field(default=50, ge=1, le=1_000_000)
    threads: int = Field(default=1, ge=1, le=256)

    @model_validator(mode="after")
    def _program(self) -> Self:
        if (self.engine == "benchmark_model") != (self.program is not None):
            raise ValueError("program belongs to engine = 'benchmark_model', and to it alone")
        if self.args and self.program is None:
            raise ValueError("args are benchmark_model's: they need engine = 'benchmark_model'")
        return self


WorkloadTable = Annotated[LlmTable | LlamaBenchTable | TfliteTable, Field(discriminator="kind")]
