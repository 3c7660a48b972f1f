"""What is done to many events at once: the rows that were ticked, or all that match the search."""

from typing import Any

from aiohttp import web
from multidict import MultiMapping

from relay.errors import UsageError
from relay.model.numbers import listed
from relay.model.search import parse_strictly
from relay.model.signals import EventChanged
from relay.model.text import printable
from relay.web import standing
from relay.web.contexts.asking import Ask
from relay.web.keys import Desk, desk
from relay.web.posted import see, toast
from relay.web.render import wants
from relay.web.view import lists
from relay.web.view.words import plural

_MOST = 300  # rows that a page holds, and so numbers that a selection may have
_AT_ONCE = 100_000  # events that are pinned or deleted together
_SAID = 200  # changes told one by one when many change at once


def numbers(fields: MultiMapping[Any]) -> tuple[int, ...]:
    """Return the events that were ticked: `id` once for each row, `ids` those that left the page meanwhile."""
    given = [text for name in ("id", "ids") for text in fields.getall(name, []) if isinstance(text, str)]
    wanted = {part for text in given for part in text.split(",") if part}
    if len(wanted) > 2 * _MOST or not all(
        text.isascii() and text.isdigit() and len(text) <= 18 for text in wanted
    ):
        raise UsageError("the selection cannot be read", hint="select the events again")
    return tuple(sorted(map(int, wanted)))


def query(fields: MultiMapping[Any]) -> str:
    """Return the search that means what was selected: `all` takes every match of `q`.

    Raises UsageError when a form came without a tick.
    """
    ticked = numbers(fields)
    if ticked and not fields.get("all"):
        return f"id:{listed(ticked)}"
    if "ids" in fields and not fields.get("all"):
        raise UsageError("no event is selected", hint="tick some, or all that match")
    return _searched(fields)


def _searched(fields: MultiMapping[Any], name: str = "q") -> str:
    return " ".join(
        text.strip() for text in fields.getall(name, []) if isinstance(text, str) and text.strip()
    )


def _list(fields: MultiMapping[Any]) -> str:
    return f"/events{lists.suffix(_searched(fields))}"


async def pin(request: web.Request) -> web.Response:
    """POST /events/pin: pin what was selected."""
    here = desk(request)
    fields = await request.post()
    found = await _matching(here, query(fields), None)
    await here.store.events.annotate_all(found, pinned=True)
    _say(here, found)
    if wants(request) is None:
        return see(_list(fields))
    return web.Response(status=204, headers=toast(f"Pinned {plural(len(found), 'event')}"))


async def export(request: web.Request) -> web.Response:
    """GET /events/export: on to the file that holds what was selected."""
    return see(f"/api/export?{lists.encoded({'q': query(request.query), 'as': 'jsonl'})}")


async def ask_delete(request: web.Request) -> web.Response:
    """GET /events/delete: how much would go, and the form that does it."""
    here = desk(request)
    text = query(request.query)
    found = await _matching(here, text, None)
    count = plural(len(found), "event")
    ask = Ask(
        title=f"Delete {count}?",
        sentence=f"{_which(text)} with their deliveries. This cannot be undone.",
        action="/events/delete",
        # What arrives while somebody reads the question is not part of it.
        fields=(("q", text), ("upto", str(found[0] if found else 0)), ("shown", _searched(request.query))),
        button=f"Delete {count}",
        back=_list(request.query),
        back_name="Events",
    )
    return await standing.dialog(request, ask, "Delete events")


async def delete(request: web.Request) -> web.Response:
    """POST /events/delete with `q` and `upto`: what matched when it was asked goes with its deliveries."""
    here = desk(request)
    fields = await request.post()
    upto = fields.get("upto")
    if not isinstance(upto, str) or not (upto.isascii() and upto.isdigit()) or len(upto) > 18:
        raise UsageError("deleting asks first", hint="select events and press Delete")
    found = await _matching(here, query(fields), int(upto) + 1)
    await here.store.events.delete_all(found)
    _say(here, found)
    return see(f"/events{lists.suffix(_searched(fields, 'shown'))}")


def _which(text: str) -> str:
    if text.startswith("id:"):
        return "The selected events go,"
    return f"The events that match {printable(text, 200)} go," if text else "Every event goes,"


async def _matching(here: Desk, text: str, before: int | None) -> tuple[int, ...]:
    search = parse_strictly(text, here.clock.now())
    found = await here.store.events.ids(search, before=before, most=_AT_ONCE)
    if len(found) > _AT_ONCE:
        raise UsageError(f"more than {_AT_ONCE:,} events match", hint="narrow the search, by before: perhaps")
    return found


def _say(here: Desk, changed: tuple[int, ...]) -> None:
    # The newest are what somebody sees; a thousand signals at once would only push others out.
    for id_ in changed[:_SAID]:
        here.bus.publish(EventChanged(id_))
