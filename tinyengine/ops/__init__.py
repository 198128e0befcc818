"""One file per operator: types, integer meaning, gradient, cost."""
