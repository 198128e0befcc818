"""`tinyengine-codegen doctor`: which tools and packages are here, and installing the rest."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from codegen.cli import print_json
from codegen.doctor import (
    Finding,
    examine_data,
    examine_packages,
    examine_tools,
    missing_packages,
)
from codegen.toolchain import how_to_install, install_packages
from tinyengine.errors import UserError


def command(
    install: Annotated[
        bool, typer.Option("--install", help="install missing tools by apt-get where permitted")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="with --install: for phones, boards, runners too")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Show which tools are here, which versions, and where each package was loaded from."""
    wanted = examine_tools(everything=everything)
    problem = _install(wanted, examine_data()) if install else None
    tools, data, packages = examine_tools(), examine_data(), examine_packages()
    if as_json:
        groups = {"tools": tools, "data": data, "packages": packages}
        print_json({name: [_row(item) for item in group] for name, group in groups.items()})
    else:
        for finding in (*tools, *data, *packages):
            version = finding.version or f"missing: needed for {finding.needed_for}"
            print(f"{finding.name:22}{version}  {finding.where}".rstrip())
    if problem is not None:
        raise UserError(problem)
    if missing := missing_packages(tools):
        print(f"note: {how_to_install(missing)}", file=sys.stderr)


def _install(tools: tuple[Finding, ...], data: tuple[Finding, ...]) -> str | None:
    """Install what is missing; return why the tools could not be, data is only noted."""
    problem = None
    if missing := missing_packages(tools):
        print(f"installing {', '.join(missing)} ...", file=sys.stderr)
        problem = install_packages(missing)
    if problem is None and (missing := missing_packages(data)):
        print(f"installing {', '.join(missing)} ...", file=sys.stderr)
        if reason := install_packages(missing):
            print(f"note: {reason}", file=sys.stderr)
    return problem


def _row(finding: Finding) -> dict[str, object]:
    row = asdict(finding)
    del row["apt_packages"]
    return row
