"""The providers as data: how each signs, names and retries its webhooks; and the signature doctor.

Nothing here reads a file (samples, message codes and local keys apart), opens a connection or knows a running relay.
"""
