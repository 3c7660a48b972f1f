"""What dashboard and API see of the vault, and may ask of it."""

from dataclasses import dataclass
from typing import Protocol

from relay.model.secret import Secret
from relay.recheck import Checked
from relay.vault import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the vault stands: `state` is none, locked or unlocked.

    `effects` says what waits while it is locked, `missing` which secrets it lacks, `problem` why its file
    cannot be used; each is a sentence for people. `paused` is in seconds, `left` counts wrong passwords
    before a pause, `told` is what the latest check came to, for a while. `mail_blocked` says which credential mail
    waits for, "" for none.
    """

    state: str
    path: str
    names: tuple[str, ...]
    needs: tuple[Need, ...]
    effects: tuple[str, ...]
    missing: tuple[str, ...]
    problem: str
    paused: float
    left: int
    told: str
    mail_blocked: str


class Custody(Protocol):
    """The vault of a running relay. What cannot be done raises a RelayError with a sentence."""

    @property
    def standing(self) -> Standing:
        """Return how it stands."""
        ...

    def secret(self, name: str) -> Secret | None:
        """Return a secret while the vault is open: for its last four characters, never to show."""
        ...

    async def unlock(self, password: Secret) -> Checked | None:
        """Open it, and return what was checked; None while that goes on."""
        ...

    async def lock(self) -> None:
        """Forget every secret."""
        ...

    async def put(self, name: str, value: str) -> Checked | None:
        """Keep a secret under a name."""
        ...

    async def remove(self, name: str) -> Checked | None:
        """Forget one secret."""
        ...
