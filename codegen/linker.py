"""The linker script of a Cortex-M board, rendered from its TOML."""

import jinja2

from codegen.board import Board
from codegen.paths import templates_dir
from tinyengine.errors import InternalError


def render_linker_script(board: Board) -> str:
    """Return the GNU ld script that places a firmware in the board's flash and RAM.

    It defines `__stack_top`, `__ram_limit`, `__data_load`, `__data_start`, `__data_end`,
    `__bss_start`, `__bss_end` and `__vectors`; section `.vectors` comes first in flash.
    """
    if board.memory is None:
        raise InternalError(f"board '{board.name}' has no memory to place a firmware in")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    template = environment.get_template("cortex_m.ld.j2")
    return template.render(board=board, memory=board.memory)
