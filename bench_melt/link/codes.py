"""The numbers that both sides of the wire agree on; docs/wire.md and te_frame.h are the others."""

from enum import IntEnum

VERSION = 1
PAYLOAD_BYTES = 512  # largest payload of a request, and of an answer after its status
ANSWER_BIT = 0x80
CLASS_UNKNOWN = 0xFFFFFFFF


class Code(IntEnum):
    """What a request asks; its answer carries the same code with ANSWER_BIT set."""

    HELLO = 0x01
    TENSOR = 0x02
    WRITE = 0x03
    READ = 0x04
    FORWARD = 0x05
    TRAIN = 0x06
    EVALUATE = 0x07
    SET = 0x08
    FILL = 0x09
    HASH = 0x0A
    COUNTERS = 0x0B
    RESET = 0x0C
    NAK = 0xFE
    FAULT = 0xFF


# commands whose duration depends on the model, not on the link
COMPUTING = frozenset({Code.FORWARD, Code.TRAIN, Code.EVALUATE, Code.FILL, Code.HASH, Code.RESET})


class Status(IntEnum):
    """How a command ended on the device."""

    OK = 0
    ARGUMENT = 1
    STATE = 2
    RANGE = 3
    UNKNOWN_COMMAND = 16
    SESSION = 17
    SEQUENCE = 18
    NAK = 19
    FAULT = 20


MEANING = {
    Status.ARGUMENT: "it does not understand the arguments",
    Status.STATE: "the model cannot do that (was it compiled for inference only? is it fed, and "
    "rows of its input are missing or out of turn?)",
    Status.RANGE: "an index, an offset or a label is out of range",
    Status.UNKNOWN_COMMAND: "its firmware does not know this command; build and flash it again",
    Status.SESSION: "it restarted, or another program has opened a session with it",
    Status.SEQUENCE: "the sequence numbers of host and device have parted",
}


class Region(IntEnum):
    """Memory that READ and WRITE name; STATE + i is state tensor i."""

    INPUT = 0
    OUTPUT = 1
    HYPER = 2
    COUNTERS = 3
    INFO = 4
    STATE = 16


class DType(IntEnum):
    """Element type of a tensor, as `te_dtype` numbers it."""

    I8 = 0
    I16 = 1
    I32 = 2
    F32 = 3
    U8 = 4
    U32 = 5
    B1 = 6


class TickUnit(IntEnum):
    """What the device's own counters count."""

    NONE = 0
    CYCLES = 1
    NANOSECONDS = 2


class FaultKind(IntEnum):
    """Which exception stopped the processor."""

    HARD = 1
    MEMORY = 2
    BUS = 3
    USAGE = 4
    OTHER = 5
