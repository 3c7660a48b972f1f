"""What can be done with an event: forward, email, handler; independent of each other."""
