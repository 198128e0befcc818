"""Running graphs and plans in numpy: the bits that every device must equal."""
