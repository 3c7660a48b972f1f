"""Catch up: what a provider sent while relay was away, fetched from the provider's own API.

One file for each API; `recovery` lists, leaves out what is here, and hands the rest to
the pipeline. It stores nothing by itself.
"""
