"""The values of relay: captures, events, sources, targets, deliveries, messages, searches; without I/O.

It imports the standard library alone. A value that carries a rule has it as a method; what needs a store, a clock or a
connection is one layer up.
"""
