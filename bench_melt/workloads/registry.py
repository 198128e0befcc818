"""From a suite's workload table to what does the work."""

from bench_melt.workloads.tables import WorkloadTable
from bench_melt.workloads.workload import Workload
from tinyengine.errors import UserError


def make_workload(table: WorkloadTable) -> Workload:
    """Return the workload of a table.

    Raises:
        UserError: a package that it needs is not installed.
    """
    raise UserError(f"workload '{table.name}': kind '{table.kind}' is not supported")
