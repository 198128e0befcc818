"""Builds the QEMU plug-in that counts instructions, once per version, into the user's cache."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from codegen.paths import firmware_dir

_FLAGS = ("-shared", "-fPIC", "-O2", "-std=gnu99")
_BUILD_S = 60.0


def plugin_library(cache: Path | None = None) -> Path | None:
    """Return the built plug-in, building it if need be; None where it cannot be built.

    Args:
        cache: Folder for the result; by default `tinyengine` in the user's cache folder.
    """
    source = firmware_dir() / "tools" / "te_count_plugin.c"
    compiler = shutil.which("gcc") or shutil.which("cc")
    try:
        key = hashlib.sha256(" ".join(_FLAGS).encode() + source.read_bytes()).hexdigest()[:16]
        folder = cache or _cache_folder()
        library = folder / f"te_count_{key}.so"
        if library.is_file():
            return library
        if compiler is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        return library if _build(compiler, source, library) else None
    except OSError:
        return None  # no source, no space, no permission: then nobody counts


def _build(compiler: str, source: Path, library: Path) -> bool:
    """Compile beside the goal and rename: another process never sees half a library."""
    handle, name = tempfile.mkstemp(dir=library.parent, suffix=".tmp")
    os.close(handle)
    fresh = Path(name)
    try:
        argv = [compiler, *_FLAGS, str(source), "-o", name]
        done = subprocess.run(argv, capture_output=True, timeout=_BUILD_S, check=False)
        if done.returncode == 0:
            fresh.replace(library)
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        fresh.unlink(missing_ok=True)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tinyengine"
