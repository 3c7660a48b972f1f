"""`relay show`: one event whole, or its exact bytes."""

import base64

import click

from relay.cli.client import Api, Json, connect
from relay.cli.options import Call, event_id, shared
from relay.cli.terminal import Part
from relay.cli.verify import check_rows, problem_rows
from relay.cli.words import delivery_parts, event_parts
from relay.model.payload import Payload
from relay.model.text import REDACTED, is_sensitive, size

_SHOWN_BODY = 20_000  # characters of a body that a person is shown; --body gives all
_SHOWN_REPLY = 500  # letters of what a handler returned


@click.command("show")
@click.argument("event", type=event_id, metavar="EVENT")
@click.option("--body", "body_only", is_flag=True, help="Print the body's exact bytes and nothing else.")
@click.option("--reveal", is_flag=True, help="Show header values that are usually secret.")
@shared
async def command(call: Call, event: int, *, body_only: bool, reveal: bool) -> int:
    """Show an event: its request, how its signature was checked, what became of it."""
    async with connect(call.load()) as api:
        if body_only:
            _print_body(call, await api.bytes(f"/api/events/{event}/body"))
            return 0
        whole = await api.get(f"/api/events/{event}")
        sent = await deliveries_of(api, whole)
    if call.json:
        call.terminal.json(whole | {"sent": sent})
        return 0
    _print(call, whole, sent, reveal=reveal)
    return 0


async def deliveries_of(api: Api, whole: Json) -> list[Json]:
    """Return the deliveries of an event, oldest first."""
    return [await api.get(f"/api/deliveries/{id_}") for id_ in whole["delivery_ids"]]


def body_bytes(whole: Json) -> bytes:
    """Return the bytes of the body that the API gives as text or base64."""
    body = whole["body"]
    return base64.b64decode(body["text"]) if body["encoding"] == "base64" else str(body["text"]).encode()


def _print_body(call: Call, content: bytes) -> None:
    if not call.terminal.is_terminal:
        call.terminal.raw(content)
        return
    call.terminal.text(content.decode("utf-8", "backslashreplace").rstrip("\n") + "\n")
    call.terminal.say("shown escaped; redirect it to a file for the exact bytes")


def _print(call: Call, whole: Json, sent: list[Json], *, reveal: bool) -> None:
    line = call.terminal.line
    source, type_, number, verdict = event_parts(whole)
    line(number, "  ", source, "  ", type_, "  ", verdict)
    call.terminal.table(_facts(whole))
    sections = (
        ("Signature", check_rows(whole)),
        ("Refused because", problem_rows(whole["fields"])),
        ("Headers", _headers(whole, reveal=reveal)),
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
            line(f"  {delivery['id']}  ", *delivery_parts(delivery))
            _print_output(call, delivery)


def _print_output(call: Call, delivery: Json) -> None:
    # Of the last attempt, which is the one that counts; --json gives all.
    for attempt in delivery["attempts"][-1:]:
        if delivery["action"] == "handler" and attempt["response"]:
            reply = body_bytes(attempt["response"]).decode("utf-8", "replace")
            more = " …; --json gives all" if len(reply) > _SHOWN_REPLY else ""
            call.terminal.line("     replied ", reply[:_SHOWN_REPLY], more)
        cut = "\n(relay kept the first 64 KB)" if attempt["output_cut"] else ""
        for text in (attempt["traceback"] or "", (attempt["output"] or "") + cut):
            for shown in text.rstrip("\n").split("\n") if text else ():
                call.terminal.line("     ", shown.expandtabs(4))


def _print_content(call: Call, whole: Json) -> None:
    content = body_bytes(whole)
    if not content:
        return
    payload = Payload.of_request(((name, value) for name, value in whole["headers"]), content)
    call.terminal.line()
    call.terminal.line(("Body", "bold"))
    if payload.problem:
        call.terminal.say(f"{payload.problem}; relay show {whole['id']} --body gives its exact bytes")
    left = _SHOWN_BODY
    for text in payload.lines():
        if left <= 0:
            call.terminal.say(f"the body goes on; relay show {whole['id']} --body prints all of it")
            return
        call.terminal.line("  ", text[:left])
        left -= len(text)


def _facts(whole: Json) -> list[list[Part]]:
    facts = {
        "received": whole["received_at"],
        "request": f"{whole['method']} {whole['target']} "
        + ("rebuilt by relay" if whole["recovered"] else f"from {whole['remote']}"),
        "recovered": f"fetched afterwards; sent {whole['sent_at']}" if whole["recovered"] else "",
        "answered": str(whole["status"] or ""),
        "key": whole["idempotency_key"],
        "body": f"{size(whole['size'])} {whole['content_type']} sha256:{whole['sha256'][:12]}",
        "why": whole["reason_sentence"],
        "note": whole["note"],
        "pinned": "yes" if whole["pinned"] else "",
        "sample": "yes, triggered" if whole["sample"] else "",
    }
    return [[(name, "dim"), str(value)] for name, value in facts.items() if value]


def _headers(whole: Json, *, reveal: bool) -> list[list[Part]]:
    return [
        [name, REDACTED if is_sensitive(name) and not reveal else value] for name, value in whole["headers"]
    ]
