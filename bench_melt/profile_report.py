"""A profile of a device goes into the report of the folder that the device runs."""

from contextlib import suppress
from pathlib import Path

from bench_melt.state import write_whole
from bench_melt.workloads.counting import INSTRUCTIONS, Profile
from codegen.board import Board
from codegen.compile_model import REPORT
from codegen.report_profile import ProfileSection, with_profile
from codegen.toolchain import find_tool, find_toolchain
from tinyengine.errors import UserError


def add_profile(directory: Path, board: Board, profile: Profile, steps: int) -> Path | None:
    """Add the profile to the folder's report.html, in place of an older one of this board.

    Returns:
        The report's path; None where the folder has none.
    """
    path = directory / REPORT
    if not path.is_file():
        return None
    rows = [(row.layer, row.phases) for row in profile.rows]
    section = ProfileSection(board.name, profile.unit, steps, rows, _conditions(board, profile))
    page = with_profile(path.read_text(encoding="utf-8"), section)
    write_whole(path, page.encode("utf-8"))
    return path


def _conditions(board: Board, profile: Profile) -> str:
    parts = [f"Flags {' '.join(board.build.cflags)}"]
    with suppress(UserError):  # a firmware that was built elsewhere
        parts.append(find_toolchain(board.build.toolchain).gcc.version)
    emulator = find_tool("qemu-system-arm") if board.run.kind == "qemu" else None
    if emulator is not None:
        parts.append(emulator.version)
    exact = " (exact, not cycles)" if profile.unit == INSTRUCTIONS else ""
    return "; ".join(parts) + exact
