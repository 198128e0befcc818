"""Nothing in the repository depends on one machine: no absolute paths, no package registries."""

import re

from tests.tidy.sources import place, tracked

# written in pieces, or this file would find itself
_FOLDERS = "|".join(("home", "root", "work", "opt", "tmp", "usr", "Users", "mnt"))
ABSOLUTE = re.compile(rf"(?<![\w.~)}}*$/-])/(?:{_FOLDERS})/\w")
REGISTRY = re.compile("|".join(("pypi" r"\.org", "python" r"hosted\.org", "--index-url")))
SHEBANG = re.compile(r"^#!/usr/bin/env ")


def offends(line: str) -> bool:
    return bool(not SHEBANG.match(line) and (ABSOLUTE.search(line) or REGISTRY.search(line)))


def test_no_absolute_path_or_registry_host() -> None:
    found = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a model or a picture
        found += [place(path, number) for number, line in enumerate(lines, 1) if offends(line)]
    assert not found


def test_the_check_sees_what_it_should() -> None:
    assert offends("open('/" + "home/me/x')") and offends("pip install --index" + "-url x")
    assert not offends("build/tmp/x and https://example.com/work/x")
