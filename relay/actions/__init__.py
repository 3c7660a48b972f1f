"""The room actions/: what can be done with an event; independent of each other."""
