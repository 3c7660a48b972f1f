"""The page that shows the configuration as relay uses it."""
