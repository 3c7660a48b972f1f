"""The live terminal of `relay start`: runs a relay, reports what happens and stops it on Ctrl-C.

A slow or closed terminal never delays a webhook.
"""
