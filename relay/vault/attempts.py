"""Guessing made slow: every wrong password takes its time, and after three of them nothing is listened to."""

import asyncio

from relay.clock import Clock
from relay.errors import VaultPausedError, WrongPasswordError
from relay.model.secret import Secret
from relay.vault.vault import Vault

TRIES = 3
WRONG = 0.5  # seconds that a wrong password takes at least, however fast its key is derived
PAUSE = 30.0  # seconds after three wrong ones; twice as long after three more
LONGEST_PAUSE = 600.0


class Attempts:
    """The only way to open a vault while relay runs: one password at a time."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._turn = asyncio.Lock()
        self._wrong = 0
        self._until = 0.0

    @property
    def left(self) -> int:
        """Return how many wrong passwords there may be before a pause."""
        return TRIES - self._wrong % TRIES

    @property
    def paused(self) -> float:
        """Return the seconds until the next password is listened to; 0 when it is at once."""
        return max(0.0, self._until - self._clock.monotonic())

    async def unlock(self, password: Secret) -> None:
        """Open the vault. Raises as Vault.unlock does, and VaultPausedError during a pause."""
        async with self._turn:
            if self.paused:
                raise VaultPausedError(
                    "there were three wrong passwords",
                    hint=f"try again in {self.paused:.0f} s",
                    seconds=self.paused,
                )
            began = self._clock.monotonic()
            try:
                await asyncio.to_thread(self._vault.unlock, password)
            except WrongPasswordError as error:
                await self._clock.sleep(max(0.0, began + WRONG - self._clock.monotonic()))
                raise WrongPasswordError(error.sentence, hint=self._count()) from None
            self._wrong = 0

    def _count(self) -> str:
        self._wrong += 1
        if self.left < TRIES:
            return f"{self.left} {'try is' if self.left == 1 else 'tries are'} left"
        pause = min(PAUSE * 2 ** (self._wrong // TRIES - 1), LONGEST_PAUSE)
        self._until = self._clock.monotonic() + pause
        return f"the next try is in {pause:.0f} s"
