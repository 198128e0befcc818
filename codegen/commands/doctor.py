"""`tinyengine-codegen doctor`: which tools and packages are here, and installing the rest."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from codegen.cli import print_json
from codegen.doctor import Finding, examine_packages, examine_tools, missing_packages
from codegen.toolchain import how_to_install, install_packages


def command(
    install: Annotated[
        bool, typer.Option("--install", help="install missing tools by apt-get where permitted")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Show which tools are here, which versions, and where each package was loaded from."""
    tools = examine_tools()
    missing = missing_packages(tools)
    problem = None
    if install and missing:
        print(f"installing {', '.join(missing)} ...", file=sys.stderr)
        problem = install_packages(missing)
        tools = examine_tools()
    packages = examine_packages()
    if as_json:
        print_json({"tools": [_row(f) for f in tools], "packages": [_row(f) for f in packages]})
    else:
        for finding in (*tools, *packages):
            version = finding.version or f"missing: needed for {finding.needed_for}"
            print(f"{finding.name:20}{version}  {finding.where}".rstrip())
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(1)
    if still := missing_packages(tools):
        print(f"note: {how_to_install(still)}", file=sys.stderr)


def _row(finding: Finding) -> dict[str, object]:
    row = asdict(finding)
    del row["apt_packages"]
    return row
