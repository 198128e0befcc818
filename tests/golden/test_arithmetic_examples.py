"""The examples of docs/arithmetic.md give what the page says."""

import doctest
import re

from tests.tidy.sources import ROOT

PAGE = ROOT / "docs" / "arithmetic.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_every_example() -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    source = "\n".join(blocks)
    examples = doctest.DocTestParser().get_doctest(source, {}, PAGE.name, str(PAGE), 0)
    assert len(blocks) >= 10
    assert len(examples.examples) >= 40
    told: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(examples, out=told.append)
    assert results.failed == 0, "".join(told)
