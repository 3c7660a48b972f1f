"""The page of events: the list, one event with its tabs, and what can be done with it."""
