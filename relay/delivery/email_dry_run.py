"""E-mail dry run: the mails that routes or a template would have sent for stored events; none is sent."""

from collections.abc import Mapping
from dataclasses import replace

from relay.actions.email import EmailAction
from relay.actions.mail import EmailOptions
from relay.errors import MailError, NotFoundError
from relay.model.clock import Clock
from relay.model.delivery import Route
from relay.model.event import CapturedEvent, EventRow
from relay.model.mail import DryRunOutcome, DryRunPage, SimulatedMail
from relay.model.search import parse_query_strictly
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.pipeline.routing import explain_routes
from relay.store import Store

TIME_LIMIT = 10.0  # seconds after which a page ends early; the next page continues there


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunRequest:
    """The parameters of a dry run: matching events, with one template or by their routes (to one target)."""

    query: str
    template: str | None = None
    target: str | None = None
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailDryRun:
    """Renders and checks mails as the engine would, and sends none."""

    store: Store
    clock: Clock
    email: EmailAction
    routes: tuple[Route, ...]
    targets: Mapping[str, EmailOptions]

    async def list_mails(self, request: DryRunRequest) -> DryRunPage:
        """Return the mails that would have been sent for a page of events.

        Raises NotFoundError for an unknown template or target, UsageError for a query that cannot be read.
        """
        query = parse_query_strictly(request.query, self.clock.now())
        self._check(request)
        ends = self.clock.monotonic() + TIME_LIMIT
        page = await self.store.events.page(query, limit=request.limit, before=request.before)
        found: list[SimulatedMail] = []
        for looked_at, row in enumerate(page.rows):
            if looked_at and self.clock.monotonic() > ends:
                return DryRunPage(mails=tuple(found), events=looked_at, next_before=page.rows[looked_at - 1].id)
            found += await self._of(row, request)
        return DryRunPage(mails=tuple(found), events=len(page.rows), next_before=page.next_before)

    def _check(self, request: DryRunRequest) -> None:
        for name, known, noun in (
            (request.template, self.email.templates, "mail template"),
            (request.target, self.targets, "target that sends mail"),
        ):
            if name is not None and name not in known:
                there = ", ".join(sorted(known)) or "none yet"
                raise NotFoundError(f"no {noun} '{escape_unprintable(name, 80)}'", hint=f"there is: {there}")

    async def _of(self, row: EventRow, request: DryRunRequest) -> list[SimulatedMail]:
        by_hand = request.template is not None and request.target is None
        routes = {} if by_hand else self._find_mail_routes(row, request)
        if not by_hand and not routes:
            return []
        try:
            event = await self.store.events.get(row.id)
        except NotFoundError:
            return []  # deleted since then
        if by_hand:
            return [await self._mail(event, self.email.templates[request.template or ""], "")]
        return _drop_repeats([await self._routed_mail(event, *led) for led in routes.items()], self.email.templates)

    def _find_mail_routes(self, row: EventRow, request: DryRunRequest) -> dict[str, tuple[Route, ...]]:
        """Return the targets of the routes for this source and type, each with its routes."""
        found: dict[str, tuple[Route, ...]] = {}
        for route in self.routes:
            for name in dict.fromkeys(route.targets) if route.matches(row.source, row.types) else ():
                options = self.targets.get(name)
                if options and request.target in (None, name) and request.template in (None, options.name):
                    found[name] = (*found.get(name, ()), route)
        return found

    async def _routed_mail(self, event: CapturedEvent, target: str, routes: tuple[Route, ...]) -> SimulatedMail:
        options, matches = self.targets[target], explain_routes(event, routes)
        if any(match.matched for match in matches):
            return await self._mail(event, options, target)
        return SimulatedMail(
            event=event.row,
            template=options.name,
            target=target,
            outcome=DryRunOutcome.UNTAKEN,
            why="; ".join(dict.fromkeys(match.why for match in matches)),
        )

    async def _mail(self, event: CapturedEvent, options: EmailOptions, target: str) -> SimulatedMail:
        """Do everything the engine does for a mail except send it."""
        outcome, why, mail = DryRunOutcome.FAILED, "", None
        try:
            mail = await self.email.preview(event, options.name)
            outcome = DryRunOutcome.REFUSED
            self.email.check_allowed(mail)
            outcome = DryRunOutcome.SENT
            await self.email.check_not_sent(event.id, options)
            outcome = DryRunOutcome.SEND
        except MailError as error:
            why = error.message
        return SimulatedMail(
            event=event.row,
            template=options.name,
            target=target,
            outcome=outcome,
            why=why,
            recipients=mail.recipients if mail else (),
            subject=mail.subject if mail else "",
        )


def _drop_repeats(mails: list[SimulatedMail], templates: Mapping[str, EmailOptions]) -> list[SimulatedMail]:
    """Return the mails of one event; of two with the same template only the first is sent."""
    taken: dict[str, str] = {}
    kept: list[SimulatedMail] = []
    for mail in mails:
        if mail.outcome is DryRunOutcome.SEND and templates[mail.template].once:
            first = taken.setdefault(mail.template, mail.target)
            if first != mail.target:
                why = f"it goes out for this event already, to {first}"
                kept.append(replace(mail, outcome=DryRunOutcome.SENT, why=why))
                continue
        kept.append(mail)
    return kept
