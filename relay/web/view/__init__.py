"""What a page shows, worked out from the nouns: pure functions that give frozen values to the templates."""
