"""The actions on an event: forward it, mail it, call a handler with it; each is a class with `name` and `run`.

An action gets a claimed delivery and returns how the attempt went. It decides no retry, writes nothing to the store,
and knows no other action. Every connection is checked by `egress` first.
"""
