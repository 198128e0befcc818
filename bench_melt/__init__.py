"""ELF or app -> device -> records -> report."""
