"""The command `relay`: one file per command, imported when it is called."""

import importlib
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = importlib.import_module("relay.cli.program").run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
