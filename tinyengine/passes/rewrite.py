"""What passes share: renaming, and finding whether a value has one reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tinyengine.ir.graph import Builder, Graph, Node


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The node reading `names[x]` where it read x."""
    return replace(node, inputs=tuple(names.get(n, n) for n in node.inputs))


def with_nodes(graph: Graph, nodes: list[Node], base: Builder | None = None) -> Graph:
    """The graph with other nodes; values of `base` (else of the graph) that are used are kept."""
    builder = base or Builder(graph.name, graph)
    builder.nodes = nodes
    return builder.build()
