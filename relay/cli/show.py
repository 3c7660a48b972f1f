"""`relay show`: one event whole, or its exact bytes."""

import base64
from collections.abc import Sequence

import click

from relay.cli.client import ApiClient, Json, connect
from relay.cli.options import Call, parse_event_id, shared_options
from relay.cli.output import Part, format_delivery, format_event, format_json
from relay.cli.verify import format_checks, format_problems
from relay.model.differences import COMPARED_FACTS, ComparedEvent, ComparedPlace, compare_events
from relay.model.payload import Payload
from relay.model.text import REDACTED, escape_unprintable, format_size, is_sensitive

_MAX_BODY = 20_000  # characters of a body that a person is shown; --body gives all
_MAX_REPLY = 500  # letters of what a handler returned


@click.command("show")
@click.argument("event", type=parse_event_id, metavar="EVENT")
@click.option("--body", "body_only", is_flag=True, help="Print the body's exact bytes and nothing else.")
@click.option("--reveal", is_flag=True, help="Show header values that are usually secret.")
@shared_options
async def show_command(call: Call, event: int, *, body_only: bool, reveal: bool) -> int:
    """Show an event: its request, how its signature was checked, what became of it."""
    async with connect(call.load()) as api:
        if body_only:
            _print_body(call, await api.bytes(f"/api/events/{event}/body"))
            return 0
        whole = await api.get(f"/api/events/{event}")
        sent = await fetch_deliveries(api, whole)
    if call.json:
        call.terminal.json(whole | {"sent": sent})
        return 0
    _print_event(call, whole, sent, reveal=reveal)
    return 0


async def fetch_deliveries(api: ApiClient, whole: Json) -> list[Json]:
    """Return the deliveries of an event, oldest first."""
    return [await api.get(f"/api/deliveries/{id_}") for id_ in whole["delivery_ids"]]


def decode_body(whole: Json) -> bytes:
    """Return the bytes of the body that the API gives as text or base64."""
    body = whole["body"]
    return base64.b64decode(body["text"]) if body["encoding"] == "base64" else str(body["text"]).encode()


def _print_body(call: Call, content: bytes) -> None:
    if not call.terminal.is_terminal:
        call.terminal.raw(content)
        return
    call.terminal.text(content.decode("utf-8", "backslashreplace").rstrip("\n") + "\n")
    call.terminal.say("shown escaped; redirect it to a file for the exact bytes")


def _print_event(call: Call, whole: Json, sent: list[Json], *, reveal: bool) -> None:
    line = call.terminal.line
    source, type_, number, verdict = format_event(whole)
    line(number, "  ", source, "  ", type_, "  ", verdict)
    call.terminal.table(_format_facts(whole))
    sections = (
        ("Signature", format_checks(whole)),
        ("Refused because", format_problems(whole["fields"])),
        ("Headers", _format_headers(whole, reveal=reveal)),
    )
    for title, rows in sections:
        if rows:
            line()
            line((title, "bold"))
            call.terminal.table(["  ", *row] for row in rows)
    _print_content(call, whole)
    if sent:
        line()
        line(("Deliveries", "bold"))
        for delivery in sent:
            line(f"  {delivery['id']}  ", *format_delivery(delivery))
            _print_handler_output(call, delivery)


def _print_handler_output(call: Call, delivery: Json) -> None:
    # Of the last attempt, which is the one that counts; --json gives all.
    for attempt in delivery["attempts"][-1:]:
        if delivery["action"] == "handler" and attempt["response"]:
            reply = decode_body(attempt["response"]).decode("utf-8", "replace")
            more = " …; --json gives all" if len(reply) > _MAX_REPLY else ""
            call.terminal.line("     replied ", reply[:_MAX_REPLY], more)
        cut = "\n(relay kept the first 64 KB)" if attempt["output_cut"] else ""
        for text in (attempt["traceback"] or "", (attempt["output"] or "") + cut):
            for shown in text.rstrip("\n").split("\n") if text else ():
                call.terminal.line("     ", shown.expandtabs(4))


def _print_content(call: Call, whole: Json) -> None:
    content = decode_body(whole)
    if not content:
        return
    payload = Payload.of_request(((name, value) for name, value in whole["headers"]), content)
    call.terminal.line()
    call.terminal.line(("Body", "bold"))
    if payload.problem:
        call.terminal.say(f"{payload.problem}; relay show {whole['id']} --body gives its exact bytes")
    left = _MAX_BODY
    for text in payload.lines():
        if left <= 0:
            call.terminal.say(f"the body goes on; relay show {whole['id']} --body prints all of it")
            return
        call.terminal.line("  ", text[:left])
        left -= len(text)


def _format_facts(whole: Json) -> list[list[Part]]:
    facts = {
        "received": whole["received_at"],
        "request": f"{whole['method']} {whole['target']} "
        + ("rebuilt by relay" if whole["recovered"] else f"from {whole['remote']}"),
        "recovered": f"fetched afterwards; sent {whole['sent_at']}" if whole["recovered"] else "",
        "answered": str(whole["status"] or ""),
        "key": whole["idempotency_key"],
        "body": f"{format_size(whole['size'])} {whole['content_type']} sha256:{whole['sha256'][:12]}",
        "why": whole["reason_sentence"],
        "note": whole["note"],
        "pinned": "yes" if whole["pinned"] else "",
        "sample": "yes, triggered" if whole["sample"] else "",
    }
    return [[(name, "dim"), str(value)] for name, value in facts.items() if value]


def _format_headers(whole: Json, *, reveal: bool) -> list[list[Part]]:
    return [[name, REDACTED if is_sensitive(name) and not reveal else value] for name, value in whole["headers"]]


_MAX_SIDE = 2000  # characters of one side that a person is shown


@click.command("diff")
@click.argument("left", type=parse_event_id, metavar="A")
@click.argument("right", type=parse_event_id, metavar="B")
@click.option("--reveal", is_flag=True, help="Show header values that are usually secret.")
@shared_options
async def diff_command(call: Call, left: int, right: int, *, reveal: bool) -> int:
    """Say what differs between two events: facts, headers, the body place by place, what targets answered."""
    async with connect(call.load()) as api:
        one, other = await api.get(f"/api/events/{left}"), await api.get(f"/api/events/{right}")
        found = find_differences(one, other, await fetch_deliveries(api, one), await fetch_deliveries(api, other))
    for place in found:
        hidden = place.part == "header" and is_sensitive(place.name) and not reveal
        if call.json:
            call.terminal.json({"place": place.full, "a": place.left, "b": place.right})
        else:
            _print_difference(call, place, hidden=hidden)
    if not found:
        call.terminal.say(f"#{left} and #{right} differ in nothing but number and time")
    return 0


def _print_difference(call: Call, place: ComparedPlace, *, hidden: bool) -> None:
    call.terminal.line((escape_unprintable(place.full, _MAX_SIDE), "bold"))
    for mark, style, value in (("-", "red", place.left), ("+", "green", place.right)):
        if value is None:
            continue
        for text in (REDACTED if hidden else value).splitlines() or [""]:
            shown: Part = (f"  {mark} {escape_unprintable(text, _MAX_SIDE)}", style)
            call.terminal.line(shown)


def find_differences(
    left: Json, right: Json, left_sent: Sequence[Json] = (), right_sent: Sequence[Json] = ()
) -> list[ComparedPlace]:
    """Return every difference between two events as the API gives them whole, each with its deliveries."""
    found = compare_events(_build_side(left, left_sent), _build_side(right, right_sent), format_json)
    return [place for place in found if place.differs]


def _build_side(whole: Json, sent: Sequence[Json]) -> ComparedEvent:
    return ComparedEvent(
        facts={name: None if whole[name] is None else str(whole[name]) for name in COMPARED_FACTS},
        headers=tuple((name, value) for name, value in whole["headers"]),
        content=decode_body(whole),
        answers={delivery["target"]: _summarize_delivery(delivery) for delivery in sent},
    )


def _summarize_delivery(delivery: Json) -> dict[str, str]:
    # The last delivery to a target is what counts. How long it took always differs, and says nothing.
    answer = {"state": delivery["state"], "attempts": str(delivery["attempts_made"])}
    return answer | ({"status": str(delivery["status"])} if delivery["status"] else {})


@click.command("explain")
@click.argument("event", type=parse_event_id, metavar="EVENT")
@shared_options
async def explain_command(call: Call, event: int) -> int:
    """Say for each route of relay.toml whether an event takes it and why, and what signature its targets get."""
    async with connect(call.load()) as api:
        routes = (await api.get(f"/api/events/{event}/routes"))["routes"]
    if call.json:
        for route in routes:
            call.terminal.json(route)
        return 0
    if not routes:
        call.terminal.say("there are no routes; name a target with --forward or in relay.toml")
    call.terminal.table(_format_route(route) for route in routes)
    signing = {name: text for route in routes for name, text in route["signing"].items()}
    call.terminal.table(["signature", f"-> {name}", (text, "dim")] for name, text in signing.items())
    return 0


def _format_route(route: Json) -> list[Part]:
    mark: Part = ("taken", "green") if route["matched"] else ("not taken", "dim")
    what = " ".join([*route["source"], *route["events"], *([f"when {route['when']}"] if route["when"] else [])])
    return [mark, what, f"-> {', '.join(route['to'])}", (route["why"], "dim")]
