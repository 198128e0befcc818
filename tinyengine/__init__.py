"""Think: an int8 model and an update scheme in, a checked plan of a training step out."""
