"""The command `relay`: one file per command, imported when it is called."""


def main() -> None:
    """Run the command line."""
