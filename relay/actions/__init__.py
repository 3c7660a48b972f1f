"""What can be done with an event: forward it, mail it, call a handler with it; one class with `name` and `run` each.

An action gets a claimed delivery and returns how the attempt went. It decides no retry, writes nothing to the store,
and knows no other action. Whatever it dials, `egress` allows first.
"""
