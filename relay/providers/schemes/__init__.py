"""Signature schemes: verify and sign side by side, no I/O, built from a handful of parameters."""
