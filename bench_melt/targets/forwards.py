"""Forwarded ports of a phone: each goes with its block, or when the machine is stopped."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from bench_melt.targets.machine import TimeLimitError
from tinyengine.errors import DeviceError

Lost = Callable[[str, str], DeviceError | None]  # what was done, how it failed -> None: it is there


class Forwards:
    """Those of one machine."""

    def __init__(self) -> None:
        """There are none yet."""
        self._open = ExitStack()

    @contextmanager
    def keep(self, forward: AbstractContextManager[str], lost: Lost) -> Iterator[str]:
        """Have a forward while the block runs, unless all are closed before.

        Args:
            forward: Makes it and takes it away; gives its address.
            lost: Tells whether the phone is gone.

        Raises:
            DeviceError: also in place of what fails in the block because the phone is gone.
        """
        stack = ExitStack()
        address = stack.enter_context(forward)
        self._open.push(stack)
        try:
            yield address
        except TimeLimitError:
            raise
        except DeviceError as error:
            if (gone := lost("the use of a forward", str(error))) is not None:
                raise gone from error
            raise
        finally:
            stack.close()

    def close(self) -> None:
        """Take all of them away; harmless twice."""
        self._open.close()
