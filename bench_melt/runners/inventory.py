"""Which runners and packaged models can be used here without another step."""

import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_melt.packaged import PACKAGES, find_model
from bench_melt.runners.build import MANIFEST, runners_folder
from bench_melt.runners.compilers import PROCESSORS


@dataclass(frozen=True, slots=True)
class Item:
    """One runner or model. note: where it is, or how to get it."""

    name: str
    ready: bool
    note: str


def built_runners() -> Sequence[Mapping[str, Any]]:
    """Return the manifests of what `runner build` made in the user's cache, with `folder`."""
    return [found for name in PROCESSORS if (found := _manifest(name)) is not None]


def runner_items() -> Iterator[Item]:
    """Yield the embedded runner and one line per target of `runner build`."""
    try:
        version = importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        yield Item("embedded", False, "pip install 'tinyengine-mcu[llm]'")
    else:
        yield Item("embedded", True, f"xllamacpp {version}")
    for name in PROCESSORS:
        manifest = _manifest(name)
        if manifest is None:
            yield Item(f"llama.cpp {name}", False, f"bench-melt runner build --target {name}")
        else:
            commit = (manifest["llama_cpp_commit"] or "unknown")[:9]
            yield Item(f"llama.cpp {name}", True, f"commit {commit} in {manifest['folder']}")


def model_items() -> Iterator[Item]:
    """Yield the models that Python packages carry."""
    for name, package in PACKAGES.items():
        path = find_model(name)
        note = f"fetched when first used: {package.requirement}" if path is None else str(path)
        yield Item(name, path is not None, note)


def _manifest(target: str) -> Mapping[str, Any] | None:
    folder = runners_folder() / target
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = [program["name"] for program in found["programs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all((folder / name).is_file() for name in names) and "llama_cpp_commit" in found
    return {**found, "folder": str(folder)} if whole else None
