"""The page of deliveries, and how their attempts are shown."""
