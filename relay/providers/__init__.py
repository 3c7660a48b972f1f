"""The room providers/: who sends, as data."""
