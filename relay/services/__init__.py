"""One running relay as an object: its services, its use cases, its runtime state, health checks and statistics.

It speaks no HTTP; dashboard, API and command line call it.
"""
