"""Broken .tflite files: each compiles or is refused with one message. Nothing else happens.

The full figure: `TE_FUZZ_COUNT=10000 python -m pytest tests/pure/test_fuzz_tflite.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNT = int(os.environ.get("TE_FUZZ_COUNT", "1000"))


def test_broken_files_are_refused_with_one_message_or_compile() -> None:
    """In a process of its own with 1 GB of address space, at most 10 s a file."""
    models = ROOT.parent / "shared" / "data" / "models"
    real = ["--real", str(models)] if models.is_dir() else []
    command = [sys.executable, "-m", "tests.fuzz_tflite", "--count", str(COUNT), "--seed", "7"]
    # A BLAS thread reserves address space for itself.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *real],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600 + COUNT // 10,  # each file has its own limit
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    assert figures["refused"] + figures["compiled"] == COUNT
    assert figures["compiled"] > COUNT // 100, "nearly all files are broken too early"
    assert figures["slowest_s"] < 10 and figures["memory_bytes_peak"] < 1 << 30
