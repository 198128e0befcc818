"""`tinyengine-codegen gradcheck MODEL`: are the gradients right?"""

from __future__ import annotations

from typing import Annotated

import typer

from codegen.cli import print_json
from tinyengine.compiled import prepare
from tinyengine.errors import SchemeError
from tinyengine.importers import load_model
from tinyengine.sim.gradcheck import gradcheck_random
from tinyengine.update.scheme import load_scheme, with_gradients


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    update: Annotated[
        str, typer.Option(help="scheme: none, head, bias, full, an example's name or a .toml")
    ],
    classes: Annotated[int | None, typer.Option(help="replace the classifier by a fresh head")] = (
        None
    ),
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="of the fresh head and the random sample")
    ] = 0,
    gradients: Annotated[
        str | None, typer.Option(help="format of gradients instead of the scheme's: f32, s16, s8")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="random samples to sum over")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Compare every trainable tensor's gradient with float64 automatic differentiation."""
    scheme = with_gradients(load_scheme(update), gradients)
    if not scheme.trains:
        raise SchemeError(f"update scheme '{scheme.name}' trains nothing: no gradient to check")
    prepared = prepare(load_model(model), scheme, classes, seed)
    report = gradcheck_random(prepared.gradients, seed, samples)
    if as_json:
        print_json(report.as_json())
        return
    width = max(len(t.name) for t in report.tensors)
    print(f"{'tensor':{width}}  {'cosine':>12}  {'norm ratio':>12}")
    for t in report.tensors:
        note = "  both zero" if t.both_zero else ""
        print(f"{t.name:{width}}  {t.cosine:12.9f}  {t.norm_ratio:12.9f}{note}")
    print(f"worst cosine {report.worst_cosine:.9f}, worst norm ratio {report.worst_norm_ratio:.9f}")
