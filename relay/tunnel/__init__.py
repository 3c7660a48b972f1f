"""The room tunnel/: how the public side is reached from outside."""
