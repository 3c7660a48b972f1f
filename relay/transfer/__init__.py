"""Export and import: events as text that other tools read, and back again."""
