"""Deliveries: claim what is due, run its action, record the attempt, and schedule the next one.

The engine, retries, the circuit breaker, replays and the lab. It answers no sender, and each attempt is recorded
together with the state that follows from it.
"""
