"""The graph: values, nodes, their text form, and the rules that hold of them."""
