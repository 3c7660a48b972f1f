"""The Events page: the list, an event with its tabs, and its actions."""
