"""Data sets: found by name, read from files, checked, and converted to what the model takes."""

from bench_melt.data.dataset import Dataset, Samples
from bench_melt.data.load import load_dataset

__all__ = ["Dataset", "Samples", "load_dataset"]
