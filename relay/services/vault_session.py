"""The vault of a running relay: opened and locked at runtime, and everything that waits for it woken."""

import asyncio
import logging
from collections.abc import Callable

from relay.actions.email import EmailAction
from relay.config.build import resolve_again
from relay.delivery.engine import Engine
from relay.errors import StoreError, log_level
from relay.model.secret import Secret
from relay.model.signals import VaultChanged
from relay.pipeline.reverify import Reverifier, ReverifyResult
from relay.services.context import RelayContext
from relay.services.state import VaultStatus
from relay.store import NOTHING_BLOCKED, BlockedWork
from relay.tunnel.supervisor import Supervisor, reopen
from relay.vault import UnlockThrottle, VaultState, describe_locked_effects, describe_missing_secrets

log = logging.getLogger(__name__)

UNLOCK_PATIENCE = 5.0  # seconds that whoever unlocked the vault waits to be told what was checked
_REPORT_SECONDS = 120.0  # seconds that pages go on telling it
_PASSES = 10  # over what came meanwhile, before new events are let past it
_STORE_PAUSE = 1.0


class VaultSession:
    """Opens and locks the vault, writes to it, and has checked what came while it was locked.

    Without `checks` earlier events are left alone: for commands that work without a running relay.
    """

    def __init__(
        self,
        ground: RelayContext,
        recheck: Reverifier,
        *,
        email: EmailAction,
        engine: Engine,
        tunnel: Supervisor | None,
        checks: bool,
    ) -> None:
        self._ground = ground
        self._recheck = recheck
        self._engine = engine
        self._email = email
        self._tunnel = tunnel
        self._checks = checks
        self._opened = ground.config.tunnel
        self._vault = ground.config.vault
        self._attempts = UnlockThrottle(self._vault, ground.clock)
        self._turn = asyncio.Lock()
        self._bell = asyncio.Event()
        self._asked: list[asyncio.Future[ReverifyResult]] = []
        self._told: tuple[float, str] = (0.0, "")
        self._update_blocked()

    @property
    def standing(self) -> VaultStatus:
        """Return how the vault stands, in words for people."""
        vault, wanted = self._vault, self._ground.config.needs
        until, told = self._told
        problem = vault.problem
        return VaultStatus(
            state=vault.state.value,
            path=str(vault.path),
            names=vault.names,
            needs=wanted,
            effects=describe_locked_effects(wanted) if vault.state is VaultState.LOCKED else (),
            missing=() if problem else describe_missing_secrets(wanted, vault.names),
            problem=problem,
            paused=self._attempts.paused,
            left=self._attempts.left,
            told=told if self._ground.clock.monotonic() < until else "",
            mail_blocked=smtp.blocked if (smtp := self._ground.config.smtp) else "",
        )

    def secret(self, name: str) -> Secret | None:
        """Return a secret while the vault is open, for its last four characters."""
        return self._vault.find(name)

    async def unlock(self, password: Secret) -> ReverifyResult | None:
        """Open the vault, wake what waits for it, and return what was checked; None while that goes on.

        Raises what Attempts.unlock does.
        """
        async with self._turn:
            await self._attempts.unlock(password)
            self._apply_secrets()
        return await self._outcome()

    async def lock(self) -> None:
        """Forget every secret of the vault; a tunnel that is open stays open."""
        async with self._turn:
            self._vault.lock()
            self._apply_secrets()
            self._ground.table.configure(self._ground.config.sources)
            self._update_blocked()
            self._say(f"the vault is locked. {' '.join(describe_locked_effects(self._ground.config.needs))}".strip())

    async def put(self, name: str, value: str) -> ReverifyResult | None:
        """Keep a secret, and use it from now on. Raises what Vault.put does."""
        return await self._write(lambda: self._vault.put(name, value))

    async def remove(self, name: str) -> ReverifyResult | None:
        """Forget a secret. Raises what Vault.remove does."""
        return await self._write(lambda: self._vault.remove(name))

    async def run(self) -> None:
        """Check what waits, at the start and whenever the vault was opened or written to."""
        self._bell.set()
        while True:
            await self._bell.wait()
            self._bell.clear()
            asked, self._asked = self._asked, []
            try:
                checked = await self._settled()
            except (StoreError, TimeoutError) as error:
                log.log(log_level(error), "events that wait for the vault wait for the store as well: %s", error)
                self._asked = [*asked, *self._asked]
                await self._ground.clock.sleep(_STORE_PAUSE)
                self._bell.set()
                continue
            self._report(checked)
            for waiting in asked:
                if not waiting.done():
                    waiting.set_result(checked)

    async def _write(self, write: Callable[[], None]) -> ReverifyResult | None:
        async with self._turn:
            await asyncio.to_thread(write)
            self._apply_secrets()
        return await self._outcome()

    def _apply_secrets(self) -> None:
        """Look every reference up anew, and hand what was found to whoever waits for it."""
        ground = self._ground
        ground.config = config = resolve_again(ground.config)
        self._email.use(config.smtp)
        if self._tunnel is not None and not config.tunnel.locked and config.tunnel != self._opened:
            self._opened = config.tunnel
            reopen(self._tunnel, config.tunnel, ground.ingress_url)
        self._update_blocked()
        self._say()

    async def _outcome(self) -> ReverifyResult | None:
        waiting: asyncio.Future[ReverifyResult] = asyncio.get_running_loop().create_future()
        self._asked.append(waiting)
        self._bell.set()
        try:
            async with asyncio.timeout(UNLOCK_PATIENCE):
                return await waiting
        except TimeoutError:
            return None

    async def _settled(self) -> ReverifyResult:
        """Check what waits, and only then take new events in with the secrets found: what came first goes first."""
        ground, config = self._ground, self._ground.config
        total = ReverifyResult()
        if self._checks:
            known = {source.name: ground.trusting(source) for source in config.sources}
            for _ in range(_PASSES):
                found = await self._recheck.run(known.get)
                total += found
                if not found.events:
                    break
        if ground.config is not config:
            self._bell.set()  # it was locked, or written to, meanwhile
            return total
        ground.table.configure(config.sources)
        self._update_blocked()
        if self._checks:
            # What was judged before that and stored only now.
            total += await self._recheck.run(ground.table.by_name.get)
        return total

    def _report(self, checked: ReverifyResult) -> None:
        if checked.events:
            self._told = (self._ground.clock.monotonic() + _REPORT_SECONDS, checked.words)
        if self._vault.state is VaultState.UNLOCKED or checked.events:
            self._say(checked.words)

    def _update_blocked(self) -> None:
        held = find_blocked_targets(self._ground, self._email).targets & self._ground.targets.names
        smtp = self._ground.config.smtp
        self._ground.live.locked = dict.fromkeys(sorted(held), smtp.blocked if smtp else "")
        self._engine.ring()

    def _say(self, detail: str = "") -> None:
        self._ground.bus.publish(VaultChanged(self._vault.state.value, detail))


def find_blocked_targets(ground: RelayContext, email: EmailAction) -> BlockedWork:
    """Return what must not be tried at this moment, because it needs a secret that is locked away or missing."""
    locked = frozenset(source.name for source in ground.table.configured if source.locked_secrets)
    if not locked and not email.waits:
        return NOTHING_BLOCKED
    return ground.targets.waits(mail=email.waits, sources=locked)
