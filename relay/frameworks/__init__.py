"""Webhooks in a user's own app; one file for each framework, one Receiver below them all.

A file here reads the framework's request and writes its response. It verifies nothing itself, and importing it starts
no server and no web framework but its own.
"""
