"""The nouns of relay: frozen values, standard library only, no I/O."""
