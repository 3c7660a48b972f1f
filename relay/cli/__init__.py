"""The command `relay`: one file per command, imported when it is called."""

import gc
import importlib
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # Imports make much and throw nothing away; looking through it again and again is a tenth of the
    # start. What runs for longer switches the collector on again when it is ready.
    gc.disable()
    try:
        code = importlib.import_module("relay.cli.program").run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    # Python looks for cycles once more at its end, through all that was imported: up to a fifth of a command's time.
    gc.freeze()
    sys.exit(code)
