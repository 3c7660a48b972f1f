"""The page of outgoing messages and of mail dry runs."""
