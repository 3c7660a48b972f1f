"""Catch up: what a provider sent while relay was away, fetched from the provider's own API."""
