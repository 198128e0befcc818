"""What a processor's fault report means in words."""

import struct
from dataclasses import dataclass

from bench_melt.link.codes import FaultKind
from tinyengine.errors import DeviceError

_LAYOUT = struct.Struct("<B8I")

# Armv7-M Architecture Reference Manual, B3.2.15: configurable fault status register
_CFSR_BITS = {
    0: "instruction fetch from a forbidden address",
    1: "access to a forbidden address",
    3: "forbidden address while returning from an exception",
    4: "forbidden address while saving registers: the stack has overflowed",
    5: "forbidden address while saving floating-point registers",
    8: "bus error on an instruction fetch",
    9: "bus error on a data access",
    10: "bus error, imprecise",
    11: "bus error while returning from an exception",
    12: "bus error while saving registers: the stack has overflowed",
    13: "bus error while saving floating-point registers",
    16: "undefined instruction",
    17: "invalid processor state",
    18: "invalid return from an exception",
    19: "no such coprocessor",
    24: "unaligned access",
    25: "division by zero",
}
_MMFAR_VALID = 1 << 7
_BFAR_VALID = 1 << 15


@dataclass(frozen=True, slots=True)
class Fault:
    """The registers at the fault; `address` is the one accessed, None where it is not known."""

    kind: FaultKind
    pc: int
    lr: int
    sp: int
    xpsr: int
    cfsr: int
    hfsr: int
    address: int | None


class DeviceFaultError(DeviceError):
    """The device's processor faulted; the firmware has stopped."""

    def __init__(self, fault: Fault) -> None:
        """Word the fault for a person."""
        super().__init__(describe_fault(fault))
        self.fault = fault


def parse_fault(payload: bytes) -> Fault:
    """Return the fault in the payload of a FAULT frame.

    Raises:
        DeviceError: the payload has another length.
    """
    if len(payload) != _LAYOUT.size:
        raise DeviceError(f"a fault report of {len(payload)} bytes; expected {_LAYOUT.size}")
    kind, pc, lr, sp, xpsr, cfsr, hfsr, mmfar, bfar = _LAYOUT.unpack(payload)
    address = mmfar if cfsr & _MMFAR_VALID else bfar if cfsr & _BFAR_VALID else None
    known = kind if kind in FaultKind._value2member_map_ else FaultKind.OTHER
    return Fault(FaultKind(known), pc, lr, sp, xpsr, cfsr, hfsr, address)


def describe_fault(fault: Fault) -> str:
    """Return one sentence with the cause, the place and the registers."""
    reasons = [text for bit, text in _CFSR_BITS.items() if fault.cfsr >> bit & 1]
    where = f" at 0x{fault.address:08x}" if fault.address is not None else ""
    return (
        f"the device stopped with a {fault.kind.name.lower()} fault: "
        f"{'; '.join(reasons) or 'cause not recorded'}{where} "
        f"(pc 0x{fault.pc:08x}, lr 0x{fault.lr:08x}, sp 0x{fault.sp:08x}, cfsr 0x{fault.cfsr:08x}, "
        f"hfsr 0x{fault.hfsr:08x}); look the pc up in the firmware's ELF, and restart the device"
    )
