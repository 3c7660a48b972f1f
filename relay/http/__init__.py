"""Shared by dashboard and API: the guard (token, Host, Origin), responses, event streams and listening sockets.

It knows no page and no resource.
"""
