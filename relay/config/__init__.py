"""Reads relay.toml and command-line options into frozen values; all mistakes are reported at once.

`tables` and `source_tables` declare each key once, with its default and meaning. It opens no connection and starts
nothing; values of secrets are read here and never shown.
"""

DEFAULT_FILE = "relay.toml"
