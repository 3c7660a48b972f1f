"""Tunnels: how the public port is reached from outside.

ngrok, a command, a fixed address or none, under one supervisor. It forwards to the public port only, downloads nothing
unasked, and capture does not depend on it.
"""
