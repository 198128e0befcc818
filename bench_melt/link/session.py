"""The commands of a device, typed; the session on the other side is te_session.h."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from bench_melt.link.codes import (
    CLASS_UNKNOWN,
    PAYLOAD_BYTES,
    VERSION,
    Code,
    DType,
    Region,
    TickUnit,
)
from bench_melt.link.exchange import Exchange
from bench_melt.link.transport import SerialTransport
from tinyengine.errors import DeviceError, UserError

_INFO = struct.Struct("<32s6IBB")
_HYPER = struct.Struct("<fII")
_PLACE = struct.Struct("<HI")
_HELLO = struct.Struct("<BH")


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What runs on the device; sizes in bytes, marks per forward and per training step."""

    board: str
    model: str
    model_hash: str
    input_bytes: int
    output_bytes: int
    output_dtype: DType
    classes: int
    state_count: int
    forward_marks: int
    train_marks: int
    can_train: bool


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of the trainable state."""

    name: str
    bytes: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Hyper:
    """What may be changed while the firmware runs."""

    lr: float
    seed: int
    step: int


@dataclass(frozen=True, slots=True)
class TrainAnswer:
    """One step's loss, and the class its forward predicted (None: the device did not keep it)."""

    loss: float
    predicted: int | None


@dataclass(frozen=True, slots=True)
class Counters:
    """The device's own counter at each mark of the last forward or step; wraps at 2**32."""

    unit: TickUnit
    at_marks: tuple[int, ...]

    def between_marks(self) -> tuple[int, ...]:
        """Return the ticks of each layer: one fewer than there are marks."""
        pairs = zip(self.at_marks, self.at_marks[1:], strict=False)
        return tuple((after - before) % (1 << 32) for before, after in pairs)


class Session:
    """A device that answers. Use as a context manager, or close() it."""

    def __init__(self, exchange: Exchange) -> None:
        """Greet the device and learn what it runs.

        Raises:
            DeviceError: it is silent, or speaks another version of the protocol.
        """
        self.exchange = exchange
        answer = exchange.ask(Code.HELLO)
        if len(answer) < 1 or answer[0] != VERSION or len(answer) != _HELLO.size:
            raise DeviceError(
                f"the device at '{exchange.transport.name}' speaks protocol version "
                f"{answer[0] if answer else 'none'}, this tool speaks {VERSION}; "
                "build and flash the firmware again"
            )
        self._payload_bytes = min(_HELLO.unpack(answer)[1], PAYLOAD_BYTES)
        self.info = self._read_info()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        baud: int | None = None,
        patience_s: float = 10.0,
        compute_patience_s: float = 600.0,
    ) -> "Session":
        """Open a session over a pyserial URL (`socket://127.0.0.1:PORT`, `/dev/ttyACM0`, ...).

        Raises:
            DeviceError: no device there, or it is silent for `patience_s`.
        """
        transport = SerialTransport(url, baud)
        try:
            return cls(
                Exchange(transport, patience_s=patience_s, compute_patience_s=compute_patience_s)
            )
        except BaseException:
            transport.close()
            raise

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port; the device keeps its state until the next session."""
        self.exchange.transport.close()

    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return the tensors of the state, in hash order."""
        return tuple(self._tensor(index) for index in range(self.info.state_count))

    def _tensor(self, index: int) -> TensorInfo:
        answer = self.exchange.ask(Code.TENSOR, struct.pack("<H", index))
        size, dtype = struct.unpack_from("<IB", answer)
        return TensorInfo(_name(answer, 5)[0], size, DType(dtype))

    def write_input(self, data: bytes) -> None:
        """Put one sample where the next forward or step reads it (it overwrites it).

        Raises:
            UserError: `data` is not `info.input_bytes` long.
        """
        if len(data) != self.info.input_bytes:
            raise UserError(
                f"the sample has {len(data)} bytes, the model's input {self.info.input_bytes}"
            )
        self._write(Region.INPUT, data)

    def read_output(self) -> bytes:
        """Return the output of the last forward."""
        return self._read(Region.OUTPUT, self.info.output_bytes)

    def write_state(self, index: int, data: bytes) -> None:
        """Overwrite state tensor `index`."""
        self._write(Region.STATE + index, data)

    def read_state(self, index: int) -> bytes:
        """Return the bytes of state tensor `index`."""
        return self._read(Region.STATE + index, self._tensor(index).bytes)

    def forward(self) -> None:
        """Run the model on the input that was written."""
        self.exchange.ask(Code.FORWARD)

    def evaluate(self) -> int:
        """Run the model on the input, return the class it predicts."""
        return int(struct.unpack("<I", self.exchange.ask(Code.EVALUATE))[0])

    def train(self, label: int) -> TrainAnswer:
        """Take one training step on the input that was written."""
        loss, predicted = struct.unpack("<fI", self.exchange.ask(Code.TRAIN, _u32(label)))
        return TrainAnswer(loss, None if predicted == CLASS_UNKNOWN else predicted)

    def set_hyper(
        self, *, lr: float | None = None, seed: int | None = None, step: int | None = None
    ) -> None:
        """Change what is given."""
        if lr is not None:
            self.exchange.ask(Code.SET, b"\0" + struct.pack("<f", lr))
        if seed is not None:
            self.exchange.ask(Code.SET, b"\1" + _u32(seed))
        if step is not None:
            self.exchange.ask(Code.SET, b"\2" + _u32(step))

    def hyper(self) -> Hyper:
        """Return learning rate, seed and step count as the device has them."""
        return Hyper(*_HYPER.unpack(self._read(Region.HYPER, _HYPER.size)))

    def fill(self, seed: int, index: int) -> int:
        """Let the device make fake sample `index` of `seed` in its input; return its label."""
        answer = self.exchange.ask(Code.FILL, _u32(seed) + _u32(index))
        return int(struct.unpack("<I", answer)[0])

    def state_hash(self) -> str:
        """Return the SHA-256 (hexadecimal) of all state tensors, made on the device."""
        return self.exchange.ask(Code.HASH).hex()

    def counters(self) -> Counters | None:
        """Return the device's own per-layer counters, None where it has none."""
        unit, count = struct.unpack("<BI", self.exchange.ask(Code.COUNTERS))
        if unit == TickUnit.NONE or count == 0:
            return None
        ticks = struct.unpack(f"<{count}I", self._read(Region.COUNTERS, 4 * count))
        return Counters(TickUnit(unit), ticks)

    def reset(self) -> None:
        """Put weights and hyper back to as-compiled."""
        self.exchange.ask(Code.RESET)

    def _read_info(self) -> DeviceInfo:
        # the region's end is known only from its names: the length bytes stand before them
        head = self._read(Region.INFO, _INFO.size + 1)
        board_end = _INFO.size + 1 + head[_INFO.size]
        more = self._read(Region.INFO, board_end + 1)
        raw = self._read(Region.INFO, board_end + 1 + more[board_end])
        digest, input_bytes, output_bytes, classes, count, forward, train, dtype, trains = (
            _INFO.unpack_from(raw)
        )
        board, at = _name(raw, _INFO.size)
        return DeviceInfo(
            board=board,
            model=_name(raw, at)[0],
            model_hash=digest.hex(),
            input_bytes=input_bytes,
            output_bytes=output_bytes,
            output_dtype=DType(dtype),
            classes=classes,
            state_count=count,
            forward_marks=forward,
            train_marks=train,
            can_train=bool(trains),
        )

    def _write(self, region: int, data: bytes) -> None:
        def put(offset: int, count: int) -> None:
            part = data[offset : offset + count]
            self.exchange.ask(Code.WRITE, _PLACE.pack(region, offset) + part)

        self._in_chunks(len(data), self._payload_bytes - _PLACE.size, put)

    def _read(self, region: int, total: int) -> bytes:
        parts: list[bytes] = []

        def get(offset: int, count: int) -> None:
            request = _PLACE.pack(region, offset) + struct.pack("<H", count)
            parts.append(self.exchange.ask(Code.READ, request))

        self._in_chunks(total, self._payload_bytes, get)
        return b"".join(parts)

    def _in_chunks(self, total: int, largest: int, move: Callable[[int, int], None]) -> None:
        """Move `total` bytes in pieces of the size that suits the link at that moment.

        Pieces stay multiples of four, as the counters' region wants them.
        """
        offset = 0
        while offset < total:
            count = min(total - offset, self.exchange.pace.chunk_bytes(largest) // 4 * 4)
            move(offset, count)
            offset += count


def _name(data: bytes, at: int) -> tuple[str, int]:
    """Return the text behind the length byte at `at`, and where it ends."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", errors="replace"), end


def _u32(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFFFFFF)
