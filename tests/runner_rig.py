"""Source packages made for tests: shaped as the real one, with a small project inside."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "fixtures" / "runner_project"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOP = "llama_cpp_python-0.0.1"


def project_files() -> dict[str, bytes]:
    """Return archive member -> content of a package that carries the small project."""
    files = {f"{TOP}/vendor/llama.cpp/{p.name}": p.read_bytes() for p in PROJECT.iterdir()}
    files[f"{TOP}/.git/modules/vendor/llama.cpp/HEAD"] = f"{COMMIT}\n".encode()
    files[f"{TOP}/vendor/llama.cpp/.git"] = b"gitdir: ../../.git/modules/vendor/llama.cpp\n"
    files[f"{TOP}/setup.py"] = b"raise SystemExit('this must not run')\n"
    return files


def archive_of(path: Path, files: Mapping[str, bytes], link: tuple[str, str] | None = None) -> Path:
    """Write a .tar.gz; `link` adds a symbolic link (name, where to)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if link is not None:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)
    return path


def own_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the user's cache be a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
