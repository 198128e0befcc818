"""`tinyengine-codegen inspect MODEL`: what is in a model, as an update scheme sees it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from codegen.cli import print_json
from codegen.layers import LayerRow, layer_rows
from tinyengine.importers import load_model
from tinyengine.ir.graph import Graph
from tinyengine.ir.verify import Stage, verify
from tinyengine.passes.fold import fold


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a .tflite, MCUNet .json or file.py:function")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Show layers, quantisation and sizes of a model."""
    graph = load_model(model)
    verify(graph, Stage.IMPORT)
    folded = fold(graph)
    rows = layer_rows(folded)
    if as_json:
        print_json(_facts(folded, rows))
    else:
        _print_table(folded, rows)


def _facts(graph: Graph, rows: list[LayerRow]) -> dict[str, Any]:
    return {
        "model": graph.name,
        "source": graph.meta.get("source"),
        "input": _border(graph, graph.inputs[0], "input_dtype"),
        "output": _border(graph, graph.outputs[0], "output_dtype"),
        "layers": [asdict(row) for row in rows],
        "totals": {
            "layers": len(rows),
            "macs": sum(row.macs for row in rows),
            "parameters": sum(row.parameters for row in rows),
            "constant_bytes": sum(
                v.type.nbytes for v in graph.values.values() if v.data is not None
            ),
        },
    }


def _border(graph: Graph, name: str, key: str) -> dict[str, Any]:
    type_ = graph.type(name)
    quant = type_.quant
    return {
        "name": name,
        "shape": list(type_.shape),
        "dtype": graph.meta.get(key, type_.dtype.value),
        "device_dtype": type_.dtype.value,
        "scale": quant.per_tensor_scale if quant else None,
        "zero_point": quant.zero_point if quant else None,
    }


def _print_table(graph: Graph, rows: list[LayerRow]) -> None:
    facts = _facts(graph, rows)
    for side in ("input", "output"):
        b = facts[side]
        shape = "x".join(map(str, b["shape"]))
        quant = f"scale {b['scale']} zero point {b['zero_point']}"
        print(f"{side:7}{b['name']} {shape} {b['dtype']} {quant}")
    width = max((len(row.name) for row in rows), default=5)
    print(f"{'layer':{width}}  {'operator':18}{'output':>16}{'MACs':>12}{'parameters':>12}  learns")
    for row in rows:
        shape = "x".join(map(str, row.output_shape))
        learns = "can learn" if row.trainable else row.reason
        print(
            f"{row.name:{width}}  {row.op:18}{shape:>16}{row.macs:>12,}{row.parameters:>12,}"
            f"  {learns}"
        )
    totals = facts["totals"]
    print(
        f"{totals['layers']} layers, {totals['macs']:,} MACs, {totals['parameters']:,} parameters,"
        f" {totals['constant_bytes']:,} B of constants"
    )
