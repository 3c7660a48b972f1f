"""Catch up: fetches the events that a provider sent while relay was not running from its API.

One file for each API; `recovery` lists events, skips stored ones, and passes the rest to
the pipeline. It stores nothing by itself.
"""
