"""Every object of one relay, put together: who is handed what."""
