"""Where the files that travel with the package are: `firmware/`, `boards/` and the templates.

In a checkout (and an editable install of it) they stand at the top of the repository; a wheel
carries the first two under `codegen/_data`.
"""

from pathlib import Path

from tinyengine.errors import InternalError

_PACKAGE = Path(__file__).resolve().parent


def data_root() -> Path:
    """Return the folder that holds `firmware/` and `boards/`.

    Raises:
        InternalError: the installation carries neither.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        if (root / "boards").is_dir() and (root / "firmware").is_dir():
            return root
    raise InternalError(
        f"the installed package at '{_PACKAGE}' has no 'firmware' and 'boards' folders; "
        "install it again"
    )


def firmware_dir() -> Path:
    """Return the folder of the C sources: `include/`, `kernels/`, `runtime/`, `port/`."""
    return data_root() / "firmware"


def boards_dir() -> Path:
    """Return the folder of the board descriptions, one TOML each."""
    return data_root() / "boards"


def templates_dir() -> Path:
    """Return the folder of the jinja2 templates."""
    return _PACKAGE / "templates"
