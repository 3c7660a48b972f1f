"""Lets `python -m relay` do what the command `relay` does."""

from relay.cli import main

if __name__ == "__main__":
    main()
