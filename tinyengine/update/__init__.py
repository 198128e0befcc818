"""Update schemes: which tensors learn, and how."""
