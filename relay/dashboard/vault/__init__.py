"""The page of the vault: unlock it, lock it, change its secrets."""
