"""Webhooks in a user's own app: a module for each framework, on a common Receiver.

A module here reads the framework's request and writes its response. It verifies nothing itself, and importing it starts
no server and no web framework but its own.
"""
