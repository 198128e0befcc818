"""From a description to the class that reaches the machine."""

import importlib.util

from bench_melt.targets.description import Description
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Machine
from tinyengine.errors import UserError


def make_machine(description: Description) -> Machine:
    """Return the machine of a description, not reached yet: `probe` does that.

    Raises:
        UserError: a kind whose package is not installed, or a description that lacks something.
    """
    match description.kind:
        case "local":
            return LocalMachine(description)
        case "android":
            _need(description, "adbutils", "android")
            from bench_melt.targets.android import AndroidMachine

            return AndroidMachine(description)
        case "linux":
            _need(description, "asyncssh", "ssh")
            from bench_melt.targets.linux import LinuxMachine

            return LinuxMachine(description)
        case "ios":
            _need(description, "pymobiledevice3", "ios")
            from bench_melt.targets.ios import IosMachine

            return IosMachine(description)


def _need(description: Description, module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UserError(
            f"machine '{description.name}' of kind '{description.kind}' needs the python package "
            f"'{module}': pip install 'tinyengine-mcu[{extra}]'"
        )
