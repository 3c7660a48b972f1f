"""Secrets at rest under a password: one file, its names visible, its values not.

It encrypts, decrypts and throttles guesses. Who may unlock a running relay is decided in `relay.services`.
"""

from relay.vault.needs import SecretNeed, describe_locked_effects, describe_missing_secrets, find_needs
from relay.vault.storage import Vault, VaultState
from relay.vault.unlocking import UnlockThrottle

__all__ = [
    "SecretNeed",
    "UnlockThrottle",
    "Vault",
    "VaultState",
    "describe_locked_effects",
    "describe_missing_secrets",
    "find_needs",
]
