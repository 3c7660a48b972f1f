"""Signature schemes: verify and sign without I/O, built from a few parameters."""
