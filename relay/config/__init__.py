"""relay.toml and the command line become frozen values; every mistake is reported at once."""

from relay.config.build import Config, Overrides, Server, load

__all__ = ["Config", "Overrides", "Server", "load"]
