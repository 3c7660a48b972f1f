"""The command `relay`: a module per command, imported when it is called."""

import gc
import importlib
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # Imports create many objects and free none; collecting them repeatedly takes a tenth of the
    # start-up time. Long-running commands switch the collector on again when they are ready.
    gc.disable()
    try:
        code = importlib.import_module("relay.cli.program").run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    # At exit Python collects cycles once more, among all imported objects: up to a fifth of a command's time.
    gc.freeze()
    sys.exit(code)
