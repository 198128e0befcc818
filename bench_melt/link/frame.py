"""Frames on the wire: a small header, a payload, a CRC-32, all of it byte-stuffed.

    00 | session u16 | sequence u8 | code u8 | body | CRC-32        (little endian)

COBS removes the zeros and one 0x00 ends the frame. The leading zero makes the first byte on the
wire always 0x01, which no text command starts with.
"""

import struct
import zlib
from dataclasses import dataclass

from cobs import cobs

_HEAD = struct.Struct("<BHBB")
_CRC = struct.Struct("<I")
_LONGEST_BYTES = 4096  # what has no delimiter by then is noise

OVERHEAD_BYTES = _HEAD.size + _CRC.size + 2  # of a short frame: header, CRC, stuffing, delimiter


@dataclass(frozen=True, slots=True)
class Frame:
    """One intact frame; an answer's body starts with its status byte."""

    session: int
    sequence: int
    code: int
    body: bytes


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes to send, the closing delimiter included."""
    plain = _HEAD.pack(0, frame.session, frame.sequence, frame.code) + frame.body
    return bytes(cobs.encode(plain + _CRC.pack(zlib.crc32(plain)))) + b"\0"


def decode_frame(stuffed: bytes) -> Frame | None:
    """Return the frame in the bytes between two delimiters, or None if they are damaged."""
    try:
        plain = bytes(cobs.decode(stuffed))
    except cobs.DecodeError:
        return None
    if len(plain) < _HEAD.size + _CRC.size or plain[0] != 0:
        return None
    head, crc = plain[: -_CRC.size], _CRC.unpack(plain[-_CRC.size :])[0]
    if zlib.crc32(head) != crc:
        return None
    _, session, sequence, code = _HEAD.unpack_from(head)
    return Frame(session, sequence, code, head[_HEAD.size :])


class FrameReader:
    """Cuts a byte stream at its delimiters; keeps what has no delimiter yet."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, received: bytes) -> list[Frame | None]:
        """Return the frames that `received` completes, None for each damaged one."""
        *whole, rest = (bytes(self._rest) + received).split(b"\0")
        self._rest = bytearray(rest[-_LONGEST_BYTES:])
        return [decode_frame(stuffed) for stuffed in whole if stuffed]
