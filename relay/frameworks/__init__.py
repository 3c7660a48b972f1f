"""Webhooks in a user's own app; one file for each framework, one Receiver below them all."""
