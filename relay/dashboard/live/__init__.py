"""Live updates: one stream of server-sent events for each open page."""
