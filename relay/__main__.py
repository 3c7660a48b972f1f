"""Makes `python -m relay` equivalent to the command `relay`."""

from relay.cli import main

if __name__ == "__main__":
    main()
