"""Pieces that a page asks for later: more rows, folded nodes, hits, pipeline bar, bodies."""

import shlex
from datetime import UTC, datetime

from aiohttp import web

from relay.dashboard import event_list
from relay.dashboard.event_list import build_count_line, load_listing, load_rows, parse_list_query
from relay.dashboard.events import page as events_page
from relay.dashboard.events import tabs
from relay.dashboard.events.bodies import BODY_CACHE, IMAGE_TYPES
from relay.dashboard.filters import escape_html
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import render_part
from relay.http.context import get_relay
from relay.http.params import parse_id, parse_number, parse_whole_number
from relay.model.text import decode_header_text, is_sensitive
from relay.providers.sender_urls import request_target

_MAX_NEW_ROWS = 50  # new rows slid in one by one; more than that and the list is drawn again


async def show_rows(request: web.Request) -> web.Response:
    """GET /events/rows: older rows (`before`) with the foot below them, or newer ones (`after`) with the count."""
    after = parse_whole_number(request, "after")
    return await _render_older_rows(request) if after is None else await _render_newer_rows(request, after)


async def _render_older_rows(request: web.Request) -> web.Response:
    relay, renderer = get_relay(request), request.app[RENDERER]
    query = parse_list_query(request)
    shown = parse_number(request, "shown", 0, event_list.MAX_ROWS) or 0
    page = await relay.store.events.page(
        query, limit=event_list.PAGE_SIZE, before=parse_number(request, "before", None)
    )
    last = _parse_seconds(request.query.get("last", ""))
    rows = event_list.mark_days(await load_rows(relay, page.rows), relay.clock.now(), after=last)
    listed = event_list.EventList(query=query.text, rows=rows)
    footer = event_list.build_footer(query.text, shown + len(rows), page, last)
    return html_response(
        renderer.part("events/rows.html", list=listed) + renderer.part("events/footer.html", foot=footer)
    )


def _parse_seconds(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if text.isdigit() and len(text) <= 11 else None


async def _render_newer_rows(request: web.Request, after: int) -> web.Response:
    relay, renderer = get_relay(request), request.app[RENDERER]
    query = parse_list_query(request)
    page = await relay.store.events.page(query, limit=_MAX_NEW_ROWS, after=after)
    if not page.rows:
        return web.Response(status=204)
    if page.next_before is not None and page.next_before > after:
        listed, foot, _ = await load_listing(relay, query)
        return html_response(
            make_partial("#list", "outerHTML", renderer.part("events/list.html", list=listed, foot=foot))
        )
    listed = event_list.EventList(query=query.text, rows=tuple(await load_rows(relay, page.rows)))
    reply = make_partial("#rows", "afterbegin", renderer.part("events/rows.html", list=listed))
    return html_response(
        reply + make_partial("#count", "textContent", escape_html(await build_count_line(relay, query)))
    )


async def show_head(request: web.Request) -> web.Response:
    """GET /events/{id}/head: the pipeline bar and the counts of the tabs, and `tab` again where it is named."""
    relay, renderer = get_relay(request), request.app[RENDERER]
    event = await relay.store.events.get(parse_id(request))
    name = request.query.get("tab", "")
    detail = await events_page.build_detail(request, event, name if name in tabs.TAB_NAMES else "routing")
    reply = make_partial("#hops", "outerHTML", renderer.part("events/pipeline_bar.html", hops=detail["hops"]))
    reply += make_partial("#marks", "innerHTML", renderer.part("events/tags.html", **detail))
    count = next((link.count for link in detail["tabs"] if link.key == "deliveries"), "")
    reply += make_partial("#tab-deliveries", "textContent", escape_html(count))
    if name == "deliveries":
        reply += make_partial("#tab", "innerHTML", renderer.part(detail["tab_template"], tab=detail["tab"]))
    return html_response(reply)


async def show_tree(request: web.Request) -> web.Response:
    """GET /events/{id}/tree?ptr=&from=: what belongs below a folded node."""
    if get_target_id(request) != "" or "ptr" not in request.query:
        return await events_page.render_event(request, "tree")
    event = await get_relay(request).store.events.get(parse_id(request))
    body = await request.app[BODY_CACHE].read(event)
    nodes = tabs.build_subtree(body.value, request)
    return render_part(request, "events/tree.html", nodes=nodes, base=tabs.event_path(event))


async def show_hits(request: web.Request) -> web.Response:
    """GET /events/{id}/find?find=: the payload with every hit marked, standing on one of them."""
    if get_target_id(request) != "payload":
        return await events_page.render_event(request, "payload")
    renderer = request.app[RENDERER]
    event = await get_relay(request).store.events.get(parse_id(request))
    tab = await tabs.build_payload_tab(request, event, "payload")
    hits = make_partial("#hits", "innerHTML", renderer.part("events/hits.html", tab=tab))
    return html_response(renderer.part("events/body.html", tab=tab) + hits)


async def download_body(request: web.Request) -> web.Response:
    """GET /events/{id}/body: the exact bytes, as a download; `inline` shows a picture and nothing else."""
    event = await get_relay(request).store.events.get(parse_id(request))
    kind = event.capture.content_type
    inline = "inline" in request.query and kind in IMAGE_TYPES
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


async def show_curl(request: web.Request) -> web.Response:
    """GET /events/{id}/curl: a command that sends the event again; headers with credentials are left out."""
    relay = get_relay(request)
    event = await relay.store.events.get(parse_id(request))
    capture = event.capture
    target = request_target(capture)
    words = ["curl", "-X", shlex.quote(capture.method), shlex.quote(relay.ingress_url + decode_header_text(target))]
    for name, value in capture.headers:
        if name.lower() in ("host", "content-length", "connection", "transfer-encoding", "accept-encoding"):
            continue
        if is_sensitive(name) and "signature" not in name.lower():
            continue
        words += ["-H", shlex.quote(f"{decode_header_text(name)}: {decode_header_text(value)}")]
    command = f"{' '.join(words)} --data-binary {_quote_for_shell(capture.body)}"
    return web.Response(
        body=command.encode("utf-8", "backslashreplace"), headers={"Content-Type": "text/plain; charset=utf-8"}
    )


def _quote_for_shell(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and "\0" not in text and not text.startswith("@"):
        return shlex.quote(text)
    # ANSI-C quoting keeps bytes that are no text; every shell people paste into knows it.
    return "$'" + "".join(f"\\x{byte:02x}" for byte in data) + "'"
