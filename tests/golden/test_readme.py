"""The README's model, scheme and commands give what it prints; what a compiler made is left out."""

import re
import subprocess
import sys
from pathlib import Path

from tests.tidy.sources import ROOT

START = "from codegen.cli import main; main()"
# the digits of a ratio behind the sixth are those of one numpy's sums
TAIL = re.compile(r"(\d\.\d{6})\d{3}\b")


def block(text: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found.group(1)


def shorter(text: str) -> str:
    return TAIL.sub(r"\1", text.strip())


def test_the_commands_print_what_the_readme_shows(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "net.py").write_text(block(readme, "python"), encoding="utf-8")
    (tmp_path / "adapt.toml").write_text(block(readme, "toml"), encoding="utf-8")
    shown = [part for part in block(readme, "console").split("$ tinyengine-codegen ") if part]
    assert len(shown) == 3
    for part in shown:
        line, _, output = part.partition("\n")
        ran = subprocess.run(
            [sys.executable, "-c", START, *line.split()],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        assert shorter(ran.stdout) == shorter(output), f"tinyengine-codegen {line}"
