"""The nets whose instructions and bytes are gated; docs/benchmarks.json is their record."""

from __future__ import annotations

from pathlib import Path

from bench_melt.demo.flow import files
from bench_melt.workloads.gates import Subject
from tests.cases import CASES

M4, M7, M55 = "qemu_mps2_an386", "qemu_mps2_an500", "qemu_mps3_an547"
KERNEL_BOARD = M7  # of which single layers are gated too
KERNEL_GRADIENTS = ("f32", "s16")
_SMALL = ("conv", "depthwise", "residual", "squeeze_excite", "pools", "dense")


def own_subjects() -> list[Subject]:
    """What every clone can measure: small nets and the demo's."""
    model, scheme, _ = files()
    small = [case for case in CASES if case.name in _SMALL]
    return [
        *(Subject(case.name, case.graph(), "full", (M4, M7, M55)) for case in small),
        *(
            Subject(case.name, case.graph(), "full", (M4, M7, M55), gradients=format_)
            for case in small
            for format_ in ("s16", "s8")
            if case.name == "residual"
        ),
        Subject("demo", str(model), str(scheme), (M7, M55)),
    ]


def shared_subjects(shared: Path) -> list[Subject]:
    """Real nets of others, from ../shared: figures of them are kept, files are not."""
    models = shared / "data" / "models"
    rest = ("74kb", "99kb", "124kb", "148kb")
    schemes = {"49kb": (M4, M7, M55), **dict.fromkeys(rest, (M7,))}
    mcunet, resnet = str(models / "mcunet-5fps.json"), str(models / "ic_resnet8_int8.tflite")
    return [
        *(
            Subject("mcunet-5fps", mcunet, f"mcunet-5fps-{size}", boards, 10, format_, shared=True)
            for size, boards in schemes.items()
            for format_ in ("f32", "s16")
        ),
        Subject(
            "mcunet-5fps", mcunet, "mcunet-5fps-49kb", (M7, M55), 10, "s16", shared=True, fed=True
        ),
        Subject("resnet8", resnet, "none", (M4, M7, M55), shared=True),
    ]
