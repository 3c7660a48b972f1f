"""Who sends, as data: how each provider signs, names and repeats its webhooks, and why a signature failed.

Nothing here reads a file (samples, message codes and local keys apart), opens a connection or knows a running relay.
"""
