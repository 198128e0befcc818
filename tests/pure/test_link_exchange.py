import random
import struct

import pytest

from bench_melt.link.codes import Code, Status
from bench_melt.link.exchange import Exchange
from bench_melt.link.fault import DeviceFaultError
from bench_melt.link.frame import Frame, FrameReader, encode_frame
from bench_melt.link.session import Session
from bench_melt.link.transport import SerialTransport
from tinyengine.errors import DeviceError, UserError


class FakeDevice:
    """A transport whose other side is a function of each intact request; time is simulated."""

    name = "fake"
    seconds_per_byte = 40e-6

    def __init__(self, answer=lambda request: [], noise=lambda: b"") -> None:
        self.now_s = 0.0
        self.requests: list[Frame] = []
        self._answer = answer
        self._noise = noise
        self._reader = FrameReader()
        self._waiting = b""

    def clock(self) -> float:
        return self.now_s

    def write(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            if frame is not None:
                self.requests.append(frame)
                self._waiting += b"".join(encode_frame(f) for f in self._answer(frame))

    def read(self, timeout_s: float) -> bytes:
        data, self._waiting = self._waiting + self._noise(), b""
        self.now_s += 0.0001 if data else timeout_s
        return data

    def tail(self) -> str:
        return "'hello?'"

    def close(self) -> None:
        pass


def reply(request: Frame, payload: bytes, status: int = Status.OK) -> Frame:
    return Frame(request.session, request.sequence, request.code | 0x80, bytes([status]) + payload)


def exchange(device: FakeDevice) -> Exchange:
    return Exchange(device, patience_s=5.0, session=77, clock=device.clock)


def test_silence_names_what_was_awaited_and_the_last_bytes() -> None:
    with pytest.raises(DeviceError, match=r"silent: no answer to HELLO in .* 'hello\?'"):
        exchange(FakeDevice()).ask(Code.HELLO)


def test_a_lost_answer_is_asked_for_again_with_the_same_sequence_number() -> None:
    device = FakeDevice()
    device._answer = lambda r: [reply(r, b"ok")] if len(device.requests) > 2 else []
    assert exchange(device).ask(Code.READ) == b"ok"
    assert [r.sequence for r in device.requests] == [0, 0, 0]


def test_stale_answers_of_this_and_other_sessions_are_ignored() -> None:
    device = FakeDevice()

    def answer(r: Frame) -> list[Frame]:
        old = Frame(r.session, (r.sequence - 1) % 256, r.code | 0x80, b"\0old")
        other = Frame(r.session ^ 1, r.sequence, r.code | 0x80, b"\0other")
        return [old, other, reply(r, b"new")]

    device._answer = answer
    link = exchange(device)
    assert [link.ask(Code.READ) for _ in range(300)] == [b"new"] * 300


def test_a_refusal_says_why() -> None:
    device = FakeDevice(lambda r: [reply(r, b"", Status.RANGE)])
    with pytest.raises(DeviceError, match="refuses TRAIN with status 3: .*label.*out of range"):
        exchange(device).ask(Code.TRAIN)


def test_a_restarted_device_is_told_as_such() -> None:
    device = FakeDevice(lambda r: [reply(r, b"", Status.SESSION)])
    with pytest.raises(DeviceError, match="it restarted"):
        exchange(device).ask(Code.READ)


def test_a_fault_names_cause_and_address() -> None:
    registers = struct.pack("<B8I", 2, 0x1234, 0x55, 0x2003FF00, 0, 0x82, 0, 0x20040000, 0)
    device = FakeDevice(lambda r: [Frame(0, 0, 0xFF, bytes([20]) + registers)])
    with pytest.raises(DeviceFaultError) as caught:
        exchange(device).ask(Code.TRAIN)
    message = str(caught.value)
    assert "memory fault: access to a forbidden address at 0x20040000" in message
    assert "pc 0x00001234" in message
    assert caught.value.fault.address == 0x20040000


@pytest.mark.parametrize("seed", range(20))
def test_noise_never_passes_for_an_answer(seed: int) -> None:
    chance = random.Random(seed)
    device = FakeDevice(noise=lambda: chance.randbytes(chance.randrange(60)))
    with pytest.raises(DeviceError, match="silent"):
        exchange(device).ask(Code.READ)


@pytest.mark.parametrize("seed", range(20))
def test_intact_frames_with_random_content_give_only_device_errors(seed: int) -> None:
    chance = random.Random(seed)

    def answer(r: Frame) -> list[Frame]:
        return [reply(r, chance.randbytes(chance.randrange(40)))]

    with pytest.raises(DeviceError):
        Session(exchange(FakeDevice(answer)))


def test_another_protocol_version_is_refused() -> None:
    device = FakeDevice(lambda r: [reply(r, b"\x09\0\2")])
    with pytest.raises(DeviceError, match="version 9, this tool speaks 1"):
        Session(exchange(device))


def info_device(model_hash: bytes) -> FakeDevice:
    info = struct.pack("<32s6IBB", model_hash, 8, 3, 3, 0, 2, 3, 0, 1) + b"\x01b\x05model"

    def answer(r: Frame) -> list[Frame]:
        if r.code == Code.HELLO:
            return [reply(r, struct.pack("<BH", 1, 512))]
        _, offset, count = struct.unpack("<HIH", r.body)
        return [reply(r, info[offset : offset + count])]

    return FakeDevice(answer)


def test_the_device_says_what_it_runs() -> None:
    info = Session(exchange(info_device(b"\xaa" * 32))).info
    assert (info.board, info.model, info.model_hash) == ("b", "model", "aa" * 32)


def test_a_sample_of_the_wrong_size_is_refused() -> None:
    session = Session(exchange(info_device(bytes(32))))
    with pytest.raises(UserError, match="9 bytes, the model's input 8"):
        session.write_input(bytes(9))


def test_no_device_says_where_it_looked() -> None:
    with pytest.raises(DeviceError, match="no device at '/dev/no-such-port'"):
        SerialTransport("/dev/no-such-port")
