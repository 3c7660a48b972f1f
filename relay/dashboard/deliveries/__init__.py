"""The page of deliveries, each with its attempts."""
