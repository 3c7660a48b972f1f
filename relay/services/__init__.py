"""The running relay: what its parts share, and what people and programs may ask of it.

It speaks no HTTP; dashboard, API and command line call it.
"""
