"""From a description to the class that reaches the machine."""

import importlib.util

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
        case "android":
            _need("adbutils", "android", description)
            from bench_melt.targets.android import AndroidMachine

            return AndroidMachine(description)
        case kind:
            raise UserError(f"machine '{description.name}': kind '{kind}' is not supported")


def _need(package: str, extra: str, description: Description) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"machine '{description.name}' needs the python package '{package}': "
            f"pip install 'tinyengine-mcu[{extra}]'"
        )
