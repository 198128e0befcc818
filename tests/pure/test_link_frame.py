import hypothesis.strategies as st
from hypothesis import given, settings

from bench_melt.link.frame import Frame, FrameReader, decode_frame, encode_frame

frames = st.builds(
    Frame,
    session=st.integers(0, 65535),
    sequence=st.integers(0, 255),
    code=st.integers(0, 255),
    body=st.binary(max_size=600),
)


@given(frames)
def test_a_frame_survives_and_starts_with_one(frame: Frame) -> None:
    wire = encode_frame(frame)
    assert wire[0] == 1  # what tells frames from text commands
    assert wire.endswith(b"\0")
    assert b"\0" not in wire[:-1]
    assert decode_frame(wire[:-1]) == frame


@given(st.lists(frames, max_size=5), st.lists(st.integers(1, 50), min_size=1))
def test_a_stream_cut_anywhere_gives_the_same_frames(sent: list[Frame], cuts: list[int]) -> None:
    wire = b"".join(encode_frame(frame) for frame in sent)
    reader, got, at, turn = FrameReader(), [], 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        got += reader.feed(wire[at : at + size])
        at += size
        turn += 1
    assert got == sent


@given(frames, st.data())
def test_a_changed_byte_never_passes(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode_frame(frame))
    at = data.draw(st.integers(0, len(wire) - 2))
    wire[at] ^= data.draw(st.integers(1, 255))
    assert all(got is None for got in FrameReader().feed(bytes(wire)))


@given(frames, st.data())
def test_a_lost_or_doubled_byte_never_gives_another_frame(
    frame: Frame, data: st.DataObject
) -> None:
    wire = encode_frame(frame)
    at = data.draw(st.integers(0, len(wire) - 1))
    times = data.draw(st.sampled_from([0, 2]))
    damaged = wire[:at] + wire[at : at + 1] * times + wire[at + 1 :]
    assert all(got in (None, frame) for got in FrameReader().feed(damaged + b"\0"))


@settings(max_examples=300)
@given(st.binary(max_size=3000))
def test_garbage_gives_no_frame_and_no_error(noise: bytes) -> None:
    reader = FrameReader()
    assert all(frame is None for frame in reader.feed(noise))


def test_a_flood_without_delimiters_does_not_grow_the_reader() -> None:
    reader = FrameReader()
    for _ in range(100):
        assert reader.feed(b"\xff" * 10_000) == []
    reader.feed(b"\0")
    frame = Frame(1, 2, 3, b"x")
    assert reader.feed(encode_frame(frame)) == [frame]
