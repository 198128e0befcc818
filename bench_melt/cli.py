"""`bench-melt`: the command line; exit codes are those of `codegen.cli.run`."""

from typing import NoReturn

from codegen.cli import start


def main() -> NoReturn:
    """Entry point of `bench-melt`."""
    start(
        "Builds, starts, drives and measures what 'tinyengine-codegen compile' made.",
        "bench_melt.commands",
    )
