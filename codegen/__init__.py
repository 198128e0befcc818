"""Plan -> C -> ELF: emits the C of a plan, builds it for a board and reads its true sizes."""
