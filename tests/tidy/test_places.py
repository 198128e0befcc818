"""Nothing in the repository depends on one machine: no absolute paths, no package registries."""

import re

from tests.tidy.sources import place, tracked

_FOLDERS = "home|root|work|opt|tmp|usr|Users|mnt"
ABSOLUTE = re.compile(rf"(?<![\w.~)}}*$/-])/(?:{_FOLDERS})/\w")
# the brackets keep this file from finding itself
REGISTRY = re.compile(r"[p]ypi\.org|python[h]osted\.org|-[-]index-url")
SHEBANG = re.compile(r"^#!/(usr)/bin/env ")


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
    assert not found, "\n".join(found)


def test_the_check_sees_what_it_should() -> None:
    assert offends(f"open('/{'home'}/me/x')") and offends(f"pip install --{'index'}-url x")
    assert not offends("build/tmp/x and https://example.com/work/x")
