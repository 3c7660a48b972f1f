"""The live terminal of `relay start`: it runs a relay, reports what happens and stops it on Ctrl-C.

A terminal that is slow or gone delays no webhook.
"""
