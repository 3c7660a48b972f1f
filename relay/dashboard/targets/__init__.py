"""The page of targets, and what can be done about one that is down."""
