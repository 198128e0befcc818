"""From a suite's workload table to what does the work."""

from bench_melt.workloads.llama_bench import LlamaBenchWorkload
from bench_melt.workloads.tables import WorkloadTable
from bench_melt.workloads.workload import Workload
from tinyengine.errors import UserError


def make_workload(table: WorkloadTable) -> Workload:
    """Return the workload of a table.

    Raises:
        UserError: a package that it needs is not installed.
    """
    match table.kind:
        case "llm":
            from bench_melt.workloads.llm.workload import LlmWorkload

            return LlmWorkload(table)
        case "tflite":
            from bench_melt.workloads.tflite import TfliteWorkload

            return TfliteWorkload(table)
        case "llama-bench":
            return LlamaBenchWorkload(table)
        case kind:
            raise UserError(f"workload '{table.name}': kind '{kind}' is not supported")
