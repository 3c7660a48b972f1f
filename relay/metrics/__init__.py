"""What relay counts of itself: by the minute for people, in total for Prometheus."""
