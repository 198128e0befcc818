"""One module per subcommand of `bench-melt`.

A module `name.py` here that defines `command(...)` becomes the subcommand `name`; nothing else
has to be edited (`codegen.cli.add_commands`).
"""
