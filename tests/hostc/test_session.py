import hashlib
import random
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_melt.link.codes import Code
from bench_melt.link.exchange import Exchange
from bench_melt.link.frame import Frame, encode_frame
from bench_melt.link.session import Session
from bench_melt.link.transport import SerialTransport
from bench_melt.targets.host import HostTarget
from tests.link_rig import build_fake, train_fake, train_written
from tests.proxy import LossyProxy
from tinyengine.errors import DeviceError


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fake(tmp_path_factory.mktemp("fake"), "host")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fake(tmp_path_factory.mktemp("checked"), "host", sanitize=True)


@pytest.fixture
def session(checked: Path) -> Iterator[Session]:
    with HostTarget(checked) as target, Session.open(target.start()) as opened:
        yield opened
        if target.failure_note():
            pytest.fail(target.failure_note())


def test_the_device_says_what_it_is(session: Session) -> None:
    info = session.info
    assert (info.model, info.classes, info.can_train) == ("fake", 3, True)
    assert info.model_hash == "fa4e" + "00" * 30
    assert [(t.name, t.bytes) for t in session.tensors()] == [
        ("head/weight", 96),
        ("head/bias", 12),
    ]


def test_state_goes_out_and_comes_back_and_its_hash_is_sha256(session: Session) -> None:
    weight, bias = random.Random(1).randbytes(96), random.Random(2).randbytes(12)
    session.write_state(0, weight)
    session.write_state(1, bias)
    assert (session.read_state(0), session.read_state(1)) == (weight, bias)
    assert session.state_hash() == hashlib.sha256(weight + bias).hexdigest()
    session.reset()
    assert session.state_hash() == hashlib.sha256(bytes(108)).hexdigest()


def test_a_step_learns_and_counts(session: Session) -> None:
    session.set_hyper(lr=0.25, seed=9)
    label = session.fill(1, 0)
    losses = [session.train(label).loss for _ in range(30)]
    assert losses[-1] < 0.01 < losses[0]
    assert session.evaluate() == label
    hyper = session.hyper()
    assert (hyper.lr, hyper.seed, hyper.step) == (0.25, 9, 30)
    assert struct.unpack("<3f", session.read_output())[label] > 0.9


def test_a_nine_function_mix_gives_the_written_fake_input(session: Session) -> None:
    def mix(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D & 0xFFFFFFFF
        x ^= x >> 15
        x = x * 0x846CA68B & 0xFFFFFFFF
        return x ^ x >> 16

    key = mix(mix(5) + 11 & 0xFFFFFFFF)
    assert session.fill(5, 11) == mix(key ^ 0xA5A5A5A5) % 3
    expected = bytes(mix(key + i & 0xFFFFFFFF) >> 24 for i in range(session.info.input_bytes))
    assert session._read(0, session.info.input_bytes) == expected


def test_the_host_has_a_clock_at_each_mark(session: Session) -> None:
    session.train(0)
    counters = session.counters()
    assert counters is not None
    assert len(counters.at_marks) == session.info.train_marks == 3
    assert len(counters.between_marks()) == 2


@pytest.mark.parametrize(
    ("code", "payload", "reason"),
    [
        (Code.TRAIN, struct.pack("<I", 3), "out of range"),
        (Code.TRAIN, b"\0", "arguments"),
        (Code.TENSOR, struct.pack("<H", 2), "out of range"),
        (Code.READ, struct.pack("<HIH", 18, 0, 1), "arguments"),
        (Code.READ, struct.pack("<HIH", 1, 12, 1), "out of range"),
        (Code.READ, struct.pack("<HIH", 1, 0xFFFFFFFF, 2), "out of range"),
        (Code.READ, struct.pack("<HIH", 0, 0, 513), "arguments"),
        (Code.READ, struct.pack("<HIH", 3, 2, 4), "arguments"),
        (Code.READ, struct.pack("<HIH", 4, 500, 4), "out of range"),
        (Code.WRITE, struct.pack("<HI", 1, 12) + b"x", "out of range"),
        (Code.WRITE, struct.pack("<HI", 4, 0) + b"x", "arguments"),
        (Code.WRITE, b"", "arguments"),
        (Code.SET, b"\3\0\0\0\0", "arguments"),
    ],
)
def test_bad_requests_are_refused(
    session: Session, code: Code, payload: bytes, reason: str
) -> None:
    with pytest.raises(DeviceError, match=reason):
        session.exchange.ask(code, payload)
    assert session.hyper().step == 0  # the session goes on


def test_an_unknown_command_is_refused(session: Session) -> None:
    with pytest.raises(DeviceError, match="does not know this command"):
        session.exchange.ask(_unknown())


def _unknown() -> Code:
    code = int.__new__(Code, 0x60)
    code._name_, code._value_ = "FUTURE", 0x60
    return code


def test_a_repeated_request_is_executed_once(session: Session) -> None:
    """Whole requests doubled on purpose: the step count is what tells."""
    plain = session.exchange.transport.write
    session.exchange.transport.write = lambda data: plain(data + data + data)  # type: ignore
    for _ in range(50):
        session.train(1)
    assert session.hyper().step == 50


def test_a_new_host_takes_over_and_the_old_one_is_told(checked: Path) -> None:
    with HostTarget(checked) as target:
        transport = SerialTransport(target.start())
        old = Session(Exchange(transport, session=5))
        old.train(0)
        new = Session(Exchange(transport, session=6))
        assert new.hyper().step == 1
        with pytest.raises(DeviceError, match="another program has opened a session"):
            old.train(0)
        assert new.hyper().step == 1
        transport.close()


def test_text_before_a_frame_does_no_harm(session: Session) -> None:
    session.exchange.transport.write(b"name%profile%\r\nth-info%\0\0\0")
    assert session.hyper().step == 0


def test_a_frame_longer_than_the_buffer_is_refused(session: Session) -> None:
    session.exchange.transport.write(encode_frame(Frame(1, 1, Code.WRITE, bytes(5000))))
    session.exchange.transport.write(b"\1" + b"\xff" * 9000 + b"\0")
    assert session.hyper().step == 0


@pytest.mark.parametrize("seed", range(4))
def test_fuzzed_bytes_never_break_the_device(checked: Path, seed: int) -> None:
    """Noise, and intact frames of noise, under the address and undefined-behaviour sanitizers."""
    chance = random.Random(seed)
    with HostTarget(checked) as target, Session.open(target.start()) as opened:
        write = opened.exchange.transport.write
        ours = opened.exchange._session
        for turn in range(400):
            if turn % 2:
                write(chance.randbytes(chance.randrange(1, 700)))
            body = chance.randbytes(chance.choice([0, 2, 4, 5, 6, 8, 9, 40, 520]))
            frame = Frame(ours, turn % 256, chance.randrange(1, 14), body)
            write(b"\0" + encode_frame(frame))
            opened.exchange.transport.read(0.0)
        after = Session(Exchange(opened.exchange.transport))
        after.reset()
        assert len(train_fake(after, 3)) == 3
        assert target.failure_note() == ""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_training_through_a_bad_cable_gives_the_same_state(program: Path, seed: int) -> None:
    with HostTarget(program) as target, Session.open(target.start()) as opened:
        clean = train_fake(opened, 40)
    with (
        HostTarget(program) as target,
        LossyProxy(target.start(), drop=0.01, double=0.01, flip=0.01, seed=seed) as proxy,
        Session.open(proxy.url, patience_s=60.0) as opened,
    ):
        assert train_fake(opened, 40) == clean
        assert opened.hyper().step == 40
        assert opened.exchange.repeats > 20
        assert proxy.damaged_bytes > 100


def test_samples_through_a_bad_cable_arrive_whole(program: Path) -> None:
    with HostTarget(program) as target, Session.open(target.start()) as opened:
        clean = train_written(opened, 1)
    with (
        HostTarget(program) as target,
        LossyProxy(target.start(), drop=0.01, double=0.01, flip=0.01, seed=4) as proxy,
        Session.open(proxy.url, patience_s=60.0) as opened,
    ):
        assert train_written(opened, 1) == clean


def test_the_process_ends_with_its_link_and_with_its_parent(program: Path) -> None:
    with HostTarget(program) as target:
        Session.open(target.start()).close()
        deadline = time.monotonic() + 5
        while not target.failure_note() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "exit code 0" in target.failure_note()
    idle = HostTarget(program)
    port = int(idle.start().rpartition(":")[2])
    idle.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_program_that_does_not_listen_is_reported_with_its_words(tmp_path: Path) -> None:
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho 'no such device' >&2\nexit 7\n")
    script.chmod(0o755)
    with pytest.raises(DeviceError, match=r"port N.*exit code 7.*no such device"):
        HostTarget(script).start()


def test_a_device_that_dies_is_told_at_once(program: Path) -> None:
    target = HostTarget(program)
    with Session.open(target.start()) as opened:
        target.stop()
        with pytest.raises(DeviceError, match="closed the link|broke while sending"):
            opened.train(0)
            opened.train(0)
