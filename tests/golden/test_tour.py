"""docs/tour.md is what docs/make_tour.py prints: the page cannot drift from the code."""

import difflib
import subprocess
import sys

from tests.tidy.sources import ROOT


def test_the_tour_is_what_the_code_does() -> None:
    script = ROOT / "docs" / "make_tour.py"
    page = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    stored = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    changed = difflib.unified_diff(stored.splitlines(), page.splitlines(), "stored", "now", n=1)
    told = "\n".join(changed)
    assert not told, f"{told}\nif that is meant: python docs/make_tour.py > docs/tour.md"
