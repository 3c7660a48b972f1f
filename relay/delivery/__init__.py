"""Deliveries: claim what is due, run its action, record the attempt, and schedule the next one."""
