"""From a capture to a stored event: limits, verify, classify, validate, route, store, and the response to the sender.

Nothing is sent from here; what leaves is a delivery that the engine picks up.
"""
