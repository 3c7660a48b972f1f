"""Pieces that a page asks for later: more rows, folded nodes, hits, hop line, bodies."""

import shlex

from aiohttp import web

from relay.model.text import header_text, is_sensitive
from relay.providers.sender_urls import request_target
from relay.web import events, gather, tabs
from relay.web.asked import identity, number
from relay.web.bodies import BODIES
from relay.web.contexts.events import PayloadTab
from relay.web.keys import desk
from relay.web.render import RENDERER, html, partial, wants
from relay.web.view import lists

_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_DRAWN = 50  # new rows slid in one by one; more than that and the list is drawn again


async def rows(request: web.Request) -> web.Response:
    """GET /events/rows: older rows (`before`) with the foot below them, or newer ones (`after`) with the count."""
    after = gather.whole(request, "after")
    return await _older(request) if after is None else await _newer(request, after)


async def _older(request: web.Request) -> web.Response:
    here, renderer = desk(request), request.app[RENDERER]
    query = gather.query_of(request)
    shown = number(request, "shown", 0, lists.MOST) or 0
    page = await here.store.events.page(query, limit=lists.PAGE, before=number(request, "before", None))
    last = gather.seconds(request.query.get("last"))
    made, times = await gather.rows(here, page.rows), [event.received_at for event in page.rows]
    listed = lists.Listed(
        query=query.text,
        suffix=lists.suffix(query.text),
        rows=lists.lines(made, times, here.clock.now(), after=last),
        full=lists.full_foot(query.text, 0),
    )
    below = lists.foot(
        query.text,
        shown + len(made),
        page.next_before,
        times[-1] if times else last,
        page.searched_to,
    )
    return html(renderer.part("parts/rows.html", list=listed) + renderer.part("parts/foot.html", foot=below))


async def _newer(request: web.Request, after: int) -> web.Response:
    here, renderer = desk(request), request.app[RENDERER]
    query = gather.query_of(request)
    page = await here.store.events.page(query, limit=_DRAWN, after=after)
    if not page.rows:
        return web.Response(status=204)
    if page.next_before is not None and page.next_before > after:
        listed, foot, _ = await gather.listing(here, query)
        return html(partial("#list", "outerHTML", renderer.part("parts/list.html", list=listed, foot=foot)))
    made = await gather.rows(here, page.rows)
    listed = lists.Listed(
        query=query.text,
        suffix=lists.suffix(query.text),
        rows=tuple(lists.ListLine(row=row) for row in made),
        full=lists.full_foot(query.text, 0),
    )
    reply = partial("#rows", "afterbegin", renderer.part("parts/rows.html", list=listed))
    return html(reply + partial("#count", "textContent", lists.escaped(await gather.count_line(here, query))))


async def head(request: web.Request) -> web.Response:
    """GET /events/{id}/head: the hop line and the counts of the tabs, and `tab` again where it is named."""
    here, renderer = desk(request), request.app[RENDERER]
    event = await here.store.events.get(identity(request))
    name = request.query.get("tab", "")
    shown = await events.detail(request, event, name if name in tabs.NAMES else "routing")
    reply = partial("#hops", "outerHTML", renderer.part("parts/hops.html", hops=shown.hops))
    reply += partial("#marks", "innerHTML", renderer.part("parts/marks.html", event=shown.event))
    sent = next((link.count for link in shown.tabs if link.key == "deliveries"), "")
    reply += partial("#tab-deliveries", "textContent", lists.escaped(sent))
    if name == "deliveries":
        reply += partial("#tab", "innerHTML", renderer.part(shown.tab.template, tab=shown.tab))
    return html(reply)


async def tree(request: web.Request) -> web.Response:
    """GET /events/{id}/tree?ptr=&from=: what belongs below a folded node."""
    if wants(request) != "" or "ptr" not in request.query:
        return await events.view(request, "tree")
    event = await desk(request).store.events.get(identity(request))
    body = await request.app[BODIES].read(event)
    nodes = tabs.subtree(body.value, request)
    return html(request.app[RENDERER].part("parts/nodes.html", nodes=nodes, base=tabs.base(event)))


async def find(request: web.Request) -> web.Response:
    """GET /events/{id}/find?find=: the payload with every hit marked, standing on one of them."""
    if wants(request) != "payload":
        return await events.view(request, "payload")
    renderer = request.app[RENDERER]
    event = await desk(request).store.events.get(identity(request))
    tab: PayloadTab = await tabs.payload(request, event, "payload")
    hits = partial("#hits", "innerHTML", renderer.part("parts/hits.html", tab=tab))
    return html(renderer.part("parts/body.html", tab=tab) + hits)


async def body(request: web.Request) -> web.Response:
    """GET /events/{id}/body: the exact bytes, as a download; `inline` shows a picture and nothing else."""
    event = await desk(request).store.events.get(identity(request))
    kind = event.capture.content_type
    inline = "inline" in request.query and kind in _PICTURES
    name = f"event-{event.id}{'.json' if 'json' in kind else '.bin'}"
    return web.Response(
        body=event.capture.body,
        headers={
            "Content-Type": kind if inline else "application/octet-stream",
            "Content-Disposition": "inline" if inline else f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )


async def curl(request: web.Request) -> web.Response:
    """GET /events/{id}/curl: a command that sends the event again; headers with credentials are left out."""
    here = desk(request)
    event = await here.store.events.get(identity(request))
    capture = event.capture
    target = request_target(capture)
    words = [
        "curl",
        "-X",
        shlex.quote(capture.method),
        shlex.quote(here.setup.ingress_url + header_text(target)),
    ]
    for name, value in capture.headers:
        if name.lower() in ("host", "content-length", "connection", "transfer-encoding", "accept-encoding"):
            continue
        if is_sensitive(name) and "signature" not in name.lower():
            continue
        words += ["-H", shlex.quote(f"{header_text(name)}: {header_text(value)}")]
    command = f"{' '.join(words)} --data-binary {_quoted(capture.body)}"
    return web.Response(
        body=command.encode("utf-8", "backslashreplace"),
        headers={"Content-Type": "text/plain; charset=utf-8"},
    )


def _quoted(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and "\0" not in text and not text.startswith("@"):
        return shlex.quote(text)
    # ANSI-C quoting keeps bytes that are no text; every shell people paste into knows it.
    return "$'" + "".join(f"\\x{byte:02x}" for byte in data) + "'"
