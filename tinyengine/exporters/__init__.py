"""Ways out: a trained graph as a file that other tools read."""
