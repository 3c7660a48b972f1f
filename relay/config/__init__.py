"""relay.toml and the command line become frozen values; every mistake is reported at once."""

DEFAULT_FILE = "relay.toml"
