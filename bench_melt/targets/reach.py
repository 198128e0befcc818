"""From a description to the class that reaches the machine."""

from bench_melt.targets.description import Description
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Machine
from tinyengine.errors import UserError


def make_machine(description: Description) -> Machine:
    """Return the machine of a description, not reached yet: `probe` does that.

    Raises:
        UserError: a kind whose package is not installed.
    """
    match description.kind:
        case "local":
            return LocalMachine(description)
        case kind:
            raise UserError(f"machine '{description.name}': kind '{kind}' is not supported")
