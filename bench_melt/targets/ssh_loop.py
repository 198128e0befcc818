"""One event loop in a thread, so that the rest of the harness may stay synchronous."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tinyengine.errors import DeviceError

_Result = TypeVar("_Result")
_JOIN_S = 5.0


class LoopThread:
    """Runs coroutines of other threads, until closed."""

    def __init__(self, name: str) -> None:
        """Start it; `name` is the machine's, for messages."""
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"ssh {name}")
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, _Result], timeout_s: float | None = None) -> _Result:
        """Run `work` to its end and return what it returns.

        Raises:
            DeviceError: the loop was closed before or meanwhile.
            TimeoutError: it takes longer than `timeout_s`.
        """
        with self._lock:
            if self._closed:
                work.close()
                raise DeviceError(f"machine '{self._name}' was stopped")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.CancelledError as error:
            raise DeviceError(f"machine '{self._name}' was stopped meanwhile") from error
        except TimeoutError:
            future.cancel()
            raise

    def soon(self, act: Callable[[], None]) -> None:
        """Have the loop's thread do something; nothing happens once closed."""
        with self._lock:
            if not self._closed:
                self._loop.call_soon_threadsafe(act)

    def close(self) -> None:
        """Cancel what still runs and end the thread; harmless twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            gathered = asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(gathered)
        finally:
            self._loop.close()
