"""A TCP proxy that drops, doubles and flips bytes, as a bad cable would; seeded."""

import contextlib
import random
import socket
import threading
from types import TracebackType


class LossyProxy:
    """Forwards one connection to `url` (socket://HOST:PORT) and damages both directions."""

    def __init__(self, url: str, *, drop: float, double: float, flip: float, seed: int) -> None:
        host, _, port = url.removeprefix("socket://").rpartition(":")
        self._target = (host, int(port))
        self._rates = (drop, double, flip)
        self._seed = seed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self.damaged_bytes = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "LossyProxy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _serve(self) -> None:
        try:
            near, _ = self._listener.accept()
            far = socket.create_connection(self._target)
        except OSError:
            return
        self._sockets += [near, far]
        for number, (source, sink) in enumerate([(near, far), (far, near)]):
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            chance = random.Random(self._seed * 2 + number)
            threading.Thread(target=self._pump, args=(source, sink, chance), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, chance: random.Random) -> None:
        try:
            while data := source.recv(4096):
                sink.sendall(self._damage(data, chance))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _damage(self, data: bytes, chance: random.Random) -> bytes:
        drop, double, flip = self._rates
        out = bytearray()
        for byte in data:
            dice = chance.random()
            self.damaged_bytes += dice < drop + double + flip
            if dice < drop:
                continue
            if dice < drop + double:
                out += bytes([byte, byte])
            elif dice < drop + double + flip:
                out.append(byte ^ 1 << chance.randrange(8))
            else:
                out.append(byte)
        return bytes(out)
