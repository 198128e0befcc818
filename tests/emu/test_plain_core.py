"""A core with neither FPU nor DSP instructions: said when compiling, and the same bits."""

import json
import sys
from pathlib import Path

import pytest

from codegen.cli import new_app, run
from codegen.commands import compile as command
from codegen.paths import boards_dir
from tests.bench_rig import bench_melt_json

CASES = Path(__file__).parents[1] / "cases.py"


@pytest.fixture
def cortex_m3(tmp_path: Path) -> Path:
    """The emulated M4's board with the M3 that QEMU has in the same place."""
    text = (boards_dir() / "qemu_mps2_an386.toml").read_text()
    for old, new in (
        ("qemu_mps2_an386", "plain_m3"),
        ('core = "cortex-m4"', 'core = "cortex-m3"'),
        ('["fpu", "dsp"]', "[]"),
        ("-mcpu=cortex-m4", "-mcpu=cortex-m3"),
        ('"-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"', '"-mfloat-abi=soft"'),
        ("mps2-an386", "mps2-an385"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "plain_m3.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("gradients", ["f32", "s16"])
def test_it_works_and_says_what_it_costs(
    cortex_m3: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gradients: str,
) -> None:
    out, app = tmp_path / "out", new_app("test")
    app.command("compile")(command.command)
    asked = [f"{CASES}:residual", "--board", str(cortex_m3), "--update", "full", "--json"]
    asked += ["--gradients", gradients, "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["tool", "compile", *asked])
    with pytest.raises(SystemExit) as end:
        run(app)
    shown = capsys.readouterr()
    assert end.value.code == 0 and json.loads(shown.out)["arena_bytes"] > 0
    warned = "warning: board 'plain_m3' has no floating-point unit: every multiply-add" in shown.err
    assert warned == (gradients == "f32")
    assert "note: board 'plain_m3' has no DSP instructions" in shown.err
    assert "takes the portable kernels" in shown.err
    names = {path.name for path in (out / "src/te").glob("*.c")}
    assert names and not any(name.endswith(("_dsp.c", "_mve.c")) for name in names)
    result = bench_melt_json("verify", out, "--boards", f"host,{cortex_m3}", "--steps", 4)
    assert result["equal"] and set(result["states"]) == {"simulator", "host", "plain_m3"}
