"""relay.toml and the command line become frozen values; every mistake is reported at once.

`tables` and `source_tables` declare each key once, with its default and meaning. It opens no connection and starts
nothing; a value of a secret is read here and never shown.
"""

DEFAULT_FILE = "relay.toml"
