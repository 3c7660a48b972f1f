"""Secrets at rest under a password: one file, its names visible, its values not."""

from relay.vault.attempts import Attempts
from relay.vault.needs import Need, effects, lacking
from relay.vault.vault import Vault, VaultState

__all__ = ["Attempts", "Need", "Vault", "VaultState", "effects", "lacking"]
