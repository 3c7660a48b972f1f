"""The vault of a running relay: unlocks and locks it at runtime, and resumes what waits for it."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.actions.email import EmailAction
from relay.config.build import resolve_again
from relay.delivery.engine import Engine
from relay.errors import StoreError, log_level
from relay.model.secret import Secret
from relay.model.signals import VaultChanged
from relay.model.values import dataclass
from relay.pipeline.reverify import Reverifier, ReverifyResult
from relay.store import NOTHING_BLOCKED, BlockedWork
from relay.store.connection import STORE_PAUSE
from relay.tunnel.supervisor import Supervisor, choose_tunnel
from relay.vault import SecretNeed, UnlockThrottle, VaultState, describe_locked_effects, describe_missing_secrets

if TYPE_CHECKING:  # RunningRelay holds this session
    from relay.services.relay import RunningRelay

log = logging.getLogger(__name__)

UNLOCK_PATIENCE = 5.0  # seconds that unlocking waits for the re-verification
_REPORT_SECONDS = 120.0  # seconds that pages show the report
_PASSES = 10  # over waiting events, before new events are verified first


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultStatus:
    """The state of the vault: `state` is none, locked or unlocked.

    `effects` says what waits while it is locked, `missing` which secrets it lacks, `problem` why its file
    cannot be used; each is a sentence for people. `paused` is in seconds, `left` counts wrong passwords
    before a pause, `report` is what the latest check came to, for a while. `mail_blocked` says which credential mail
    waits for, "" for none.
    """

    state: str
    path: str
    names: tuple[str, ...]
    needs: tuple[SecretNeed, ...]
    effects: tuple[str, ...]
    missing: tuple[str, ...]
    problem: str
    paused: float
    left: int
    report: str
    mail_blocked: str


class VaultSession:
    """Unlocks and locks the vault, writes to it, and re-verifies events received while it was locked.

    Without `checks` earlier events are left alone: for commands that work without a running relay.
    """

    def __init__(
        self,
        relay: "RunningRelay",
        reverifier: Reverifier,
        *,
        email: EmailAction,
        engine: Engine,
        tunnel: Supervisor | None,
        checks: bool,
    ) -> None:
        self._relay = relay
        self._reverifier = reverifier
        self._engine = engine
        self._email = email
        self._tunnel = tunnel
        self._checks = checks
        self._opened = relay.config.tunnel
        self._vault = relay.config.vault
        self._attempts = UnlockThrottle(self._vault, relay.clock)
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[ReverifyResult]] = []
        self._report_until: tuple[float, str] = (0.0, "")
        self._update_blocked()

    @property
    def status(self) -> VaultStatus:
        """Return the status of the vault for display."""
        vault, needs = self._vault, self._relay.config.needs
        until, report = self._report_until
        problem = vault.problem
        return VaultStatus(
            state=vault.state.value,
            path=str(vault.path),
            names=vault.names,
            needs=needs,
            effects=describe_locked_effects(needs) if vault.state is VaultState.LOCKED else (),
            missing=() if problem else describe_missing_secrets(needs, vault.names),
            problem=problem,
            paused=self._attempts.paused,
            left=self._attempts.left,
            report=report if self._relay.clock.monotonic() < until else "",
            mail_blocked=smtp.blocked if (smtp := self._relay.config.smtp) else "",
        )

    async def unlock(self, password: Secret) -> ReverifyResult | None:
        """Unlock the vault, resume what waits for it, and return the re-verification; None while that is running.

        Raises as UnlockThrottle.unlock does.
        """
        async with self._turn:
            await self._attempts.unlock(password)
            self._apply_secrets()
        return await self._wait_for_report()

    async def lock(self) -> None:
        """Forget all secrets; an open tunnel stays open. Raises NotFoundError if there is no vault."""
        async with self._turn:
            if self._vault.state is VaultState.NONE:
                self._vault.content()  # which reports what is missing
            self._vault.lock()
            self._apply_secrets()
            self._relay.sources.configure(self._relay.config.sources)
            self._update_blocked()
            self._publish(f"the vault is locked. {' '.join(describe_locked_effects(self._relay.config.needs))}".strip())

    async def put(self, name: str, value: str) -> ReverifyResult | None:
        """Store a secret, and use it from now on. Raises as Vault.put does."""
        return await self._write(lambda: self._vault.put(name, value))

    async def remove(self, name: str) -> ReverifyResult | None:
        """Remove a secret. Raises as Vault.remove does."""
        return await self._write(lambda: self._vault.remove(name))

    async def run(self) -> None:
        """Re-verify waiting events, at the start and whenever the vault was unlocked or written to."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            try:
                checked = await self._reverify()
            except (StoreError, TimeoutError) as error:
                log.log(log_level(error), "events that wait for the vault wait for the store as well: %s", error)
                self._waiting = [*waiting, *self._waiting]
                await self._relay.clock.sleep(STORE_PAUSE)
                self._wake.set()
                continue
            self._report(checked)
            for future in waiting:
                if not future.done():
                    future.set_result(checked)

    async def _write(self, write: Callable[[], None]) -> ReverifyResult | None:
        async with self._turn:
            await asyncio.to_thread(write)
            self._apply_secrets()
        return await self._wait_for_report()

    def _apply_secrets(self) -> None:
        """Resolve all references again, and pass the secrets to mail, tunnel and targets."""
        relay = self._relay
        relay.config = config = resolve_again(relay.config)
        self._email.smtp = config.smtp
        if self._tunnel is not None and not config.tunnel.locked and config.tunnel != self._opened:
            self._opened = config.tunnel
            self._tunnel.replace(choose_tunnel(config.tunnel, relay.ingress_url))
        self._update_blocked()
        self._publish()

    async def _wait_for_report(self) -> ReverifyResult | None:
        future: asyncio.Future[ReverifyResult] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake.set()
        try:
            async with asyncio.timeout(UNLOCK_PATIENCE):
                return await future
        except TimeoutError:
            return None

    async def _reverify(self) -> ReverifyResult:
        """Re-verify waiting events before new events use the secrets, so that the order is kept."""
        relay, config = self._relay, self._relay.config
        total = ReverifyResult()
        if self._checks:
            known = {source.name: relay.trust_local_key(source) for source in config.sources}
            for _ in range(_PASSES):
                found = await self._reverifier.run(known.get)
                total += found
                if not found.events:
                    break
        if relay.config is not config:
            self._wake.set()  # it was locked or written to since
            return total
        relay.sources.configure(config.sources)
        self._update_blocked()
        if self._checks:
            # Events verified before that and stored only now.
            total += await self._reverifier.run(relay.sources.by_name.get)
        return total

    def _report(self, checked: ReverifyResult) -> None:
        if checked.events:
            self._report_until = (self._relay.clock.monotonic() + _REPORT_SECONDS, checked.words)
        if self._vault.state is VaultState.UNLOCKED or checked.events:
            self._publish(checked.words)

    def _update_blocked(self) -> None:
        held = find_blocked_targets(self._relay, self._email).targets & self._relay.targets.names
        smtp = self._relay.config.smtp
        self._relay.state.locked = dict.fromkeys(sorted(held), smtp.blocked if smtp else "")
        self._engine.ring()

    def _publish(self, detail: str = "") -> None:
        self._relay.bus.publish(VaultChanged(self._vault.state.value, detail))


def find_blocked_targets(relay: "RunningRelay", email: EmailAction) -> BlockedWork:
    """Return the deliveries that must not be tried because their secret is locked or missing."""
    locked = frozenset(source.name for source in relay.sources.configured if source.locked_secrets)
    if not locked and not email.waits:
        return NOTHING_BLOCKED
    return relay.targets.waits(mail=email.waits, sources=locked)
