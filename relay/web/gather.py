"""What pages ask of the store, turned into what they show."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from relay.model.delivery import Delivery
from relay.model.event import EventRow
from relay.model.message import Message
from relay.model.search import Query, parse
from relay.model.text import printable
from relay.store.events import Counts, Page
from relay.web.banners import banners
from relay.web.contexts.events import MessageLine
from relay.web.keys import Desk, desk
from relay.web.senders import event_mark, provider
from relay.web.view import lists, shell
from relay.web.view.deliveries import address
from relay.web.view.lists import Foot, Listed, SavedView
from relay.web.view.messages import chip
from relay.web.view.rows import Row, row
from relay.web.view.words import day, moment, plural

COUNTED = 10_000  # matches counted before the count line says "or more"


async def frame(request: web.Request, title: str, nav: str) -> shell.Shell:
    """Return what stands around a page."""
    here = desk(request)
    theme = request.cookies.get("relay_theme", "")
    return shell.Shell(
        title=printable(title, 120),
        nav=nav,
        theme=theme if theme in shell.THEMES else "",
        boot=here.setup.boot,
        address=here.setup.dashboard_url.partition("://")[2],
        tunnel=shell.tunnel(here.live.tunnel, here.setup.ingress_url),
        counts=await nav_counts(here),
        banners=await banners(here),
        vault=await vault(here),
        here=request.path_qs,
        # Going back makes htmx swap the whole body: the scripts must not run a second time then.
        scripts="HX-Request" not in request.headers,
        keys=here.live.preferences.keys,
        density=here.live.preferences.density,
        announcements=here.live.preferences.announcements,
    )


async def vault(here: Desk) -> shell.Vault:
    """Return how the vault is shown, with how many events wait for it."""
    now = here.custody.standing
    count = await here.store.unchecked.count() if now.effects else 0
    waiting = (
        (f"{plural(count, 'event')} {'waits' if count == 1 else 'wait'} to be checked.",) if count else ()
    )
    return shell.vault(now.state, " ".join((*now.effects, *waiting)), now.problem, needed=bool(now.needs))


async def nav_counts(here: Desk) -> dict[str, shell.Count]:
    """Return the numbers of the navigation."""
    counts = await here.store.events.counts()
    messages = await here.store.messages.count()
    queued = f"{counts.queued:,}" if counts.queued else ""
    return {
        "events": shell.Count(text=f"{counts.events:,}"),
        "deliveries": shell.Count(text=queued, warn=bool(here.live.down or here.live.gone)),
        "messages": shell.Count(text=f"{messages:,}" if messages else ""),
    }


def query_of(request: web.Request) -> Query:
    """Return the search of an address; several `q` are one, as the form sends its tokens."""
    text = " ".join(part.strip() for part in request.query.getall("q", []) if part.strip())
    return parse(text, desk(request).clock.now(), lenient=True)


def current_url(request: web.Request) -> tuple[str, str]:
    """Return the path and the search of the page an htmx request comes from."""
    parts = urlsplit(request.headers.get("HX-Current-URL", ""))
    return parts.path, " ".join(parse_qs(parts.query).get("q", []))


async def rows(here: Desk, events: Sequence[EventRow]) -> list[Row]:
    """Return the rows of events with what became of their deliveries."""
    made = await here.store.deliveries.of_events(event.id for event in events) if events else {}
    return [row(event, made[event.id], event_mark(event)) for event in events]


async def listing(
    here: Desk,
    query: Query,
    *,
    before: int | None = None,
    selected: int | None = None,
) -> tuple[Listed, Foot, Page]:
    """Return the list for a query, newest first; a query that cannot be read lists everything."""
    asked = parse("", here.clock.now()) if query.problems else query
    page = await here.store.events.page(asked, limit=lists.PAGE, before=before)
    shown, times = await rows(here, page.rows), [event.received_at for event in page.rows]
    now = here.clock.now()
    listed = Listed(
        query=query.text,
        suffix=lists.suffix(query.text),
        rows=lists.lines(shown, times, now, selected=selected),
        full=lists.full_foot(query.text, 0),
        day=day(times[0], now) if times else None,
        count=await count_line(here, asked, page, complete=before is None),
        selected=selected,
        problems=(*query.problems, *query.notes),
    )
    last = times[-1] if times else None
    return listed, lists.foot(query.text, len(shown), page.next_before, last, page.searched_to), page


async def count_line(here: Desk, query: Query, page: Page | None = None, *, complete: bool = True) -> str:
    """Return the count line; a page that holds every match needs no second query."""
    if not query.terms:
        total = (await here.store.events.counts()).events
    elif page is not None and page.next_before is None and complete:
        total = len(page.rows)
    else:
        try:
            total = await here.store.events.count(query, COUNTED)
        except TimeoutError:
            return "Many match"
    took = page.took if page else None
    return lists.count(query, total, COUNTED, took, page.searched_to if page else None)


def saved_views(query: str, counts: Counts) -> tuple[SavedView, ...]:
    """Return the saved views with their counts."""
    held = {
        "All": counts.events,
        "Failing": counts.failing,
        "Rejected": counts.rejected,
        "Queued": counts.queued,
    }
    return lists.views(query, held)


def addresses(here: Desk) -> dict[str, str]:
    """Return where each target leads, short enough for the hop line."""
    return {name: address(url) for name, url in here.setup.addresses.items()}


def message_line(message: Message, now: datetime) -> MessageLine:
    """Return an outgoing message as lists show it."""
    sms, to = message.channel == "sms", printable(message.recipient, 200)
    sent_at = message.sent_at or message.created_at
    today, known = day(sent_at, now), provider(message.provider)
    return MessageLine(
        id=message.id,
        channel="SMS" if sms else "Mail",
        subject=printable(message.subject, 200) or (to if sms else "(no subject)"),
        to=printable(f"by {known.title if known else message.provider}", 80)
        if sms and not message.subject
        else to,
        chip=chip(message),
        detail=printable(message.detail, 400),
        time=moment(sent_at),
        when=moment(sent_at).clock if today.word == "Today" else today.date,
        event_id=message.event_id,
    )


def whole(request: web.Request, name: str) -> int | None:
    """Return a number of the address, 0 included, or None for anything else."""
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def seconds(text: str | None) -> datetime | None:
    """Return a moment given as whole seconds since 1970, or None for anything else."""
    if not text or not text.isdigit() or len(text) > 11:
        return None
    return datetime.fromtimestamp(int(text), UTC)


async def deliveries_of(here: Desk, id_: int) -> tuple[Delivery, ...]:
    """Return the deliveries of one event, oldest first."""
    return (await here.store.deliveries.of_events([id_]))[id_]
