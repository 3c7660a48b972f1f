"""`relay show`, `relay verify`, `relay explain` and `relay diff`: an event, its checks, routing and differences."""

import base64
import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from relay.cli.client import ApiClient
from relay.cli.formatting import UNVERIFIED, format_delivery, format_event
from relay.cli.options import Call, event_argument, parse_event_id, shared_options
from relay.cli.output import Json, Part
from relay.model.text import REDACTED, escape_unprintable, format_size, is_sensitive

if TYPE_CHECKING:
    from relay.model.differences import ComparedPlace

_MAX_BODY = 20_000  # characters of a body that are printed; --body prints all
_MAX_REPLY = 500  # characters of what a handler returned
_MAX_ATTEMPTS = 12  # rows of tried variants that are printed; --json has all
_MAX_SIDE = 2000  # characters of one side of a difference
_CHECK_MARKS: dict[bool | None, Part] = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("-", "dim")}


@click.command("show")
@event_argument
@click.option("--body", "body_only", is_flag=True, help="Print the body's exact bytes and nothing else.")
@click.option("--reveal", is_flag=True, help="Show header values that are usually secret.")
@shared_options
async def show_command(call: Call, event: int, *, body_only: bool, reveal: bool) -> None:
    """Show an event: its request, how its signature was checked, its deliveries."""
    async with call.connect(store_only=True) as api:
        if body_only:
            _print_body(call, await api.get_bytes(f"/api/events/{event}/body"))
            return
        whole = await api.get(f"/api/events/{event}")
        sent = await _fetch_deliveries(api, whole)
        may_lack_hints = not api.is_persistent and (whole["hints"] is None or call.has_conditions())
    if call.json and may_lack_hints:  # they need sources, secrets and routes, and are only in the JSON
        async with call.connect() as api:
            whole = await api.get(f"/api/events/{event}")
    if call.json:
        call.terminal.print_json(whole | {"sent": sent})
    else:
        _print_event(call, whole, sent, reveal=reveal)


async def _fetch_deliveries(api: ApiClient, whole: Json) -> list[Json]:
    return [await api.get(f"/api/deliveries/{id_}") for id_ in whole["delivery_ids"]]


def _decode_body(whole: Json) -> bytes:
    body = whole["body"]
    return base64.b64decode(body["text"]) if body["encoding"] == "base64" else str(body["text"]).encode()


def _print_body(call: Call, content: bytes) -> None:
    if not call.terminal.out.isatty():
        call.terminal.write_bytes(content)
        return
    call.terminal.print_text(content.decode("utf-8", "backslashreplace").rstrip("\n") + "\n")
    call.terminal.print_message("shown escaped; redirect it to a file for the exact bytes")


def _print_heading(call: Call, whole: Json) -> None:
    source, type_, number, verdict = format_event(whole)
    call.terminal.print_line(number, "  ", source, "  ", type_, "  ", verdict)


def _print_event(call: Call, whole: Json, sent: list[Json], *, reveal: bool) -> None:
    _print_heading(call, whole)
    call.terminal.print_facts(
        {
            "received": whole["received_at"],
            "request": f"{whole['method']} {whole['target']} "
            + ("rebuilt by relay" if whole["recovered"] else f"from {whole['remote']}"),
            "recovered": f"fetched afterwards; sent {whole['sent_at']}" if whole["recovered"] else "",
            "answered": whole["status"],
            "key": whole["idempotency_key"],
            "body": f"{format_size(whole['size'])} {whole['content_type']} sha256:{whole['sha256'][:12]}",
            "why": whole["reason_sentence"],
            "note": whole["note"],
            "pinned": "yes" if whole["pinned"] else "",
            "sample": "yes, triggered" if whole["sample"] else "",
        }
    )
    headers = [[name, REDACTED if is_sensitive(name) and not reveal else value] for name, value in whole["headers"]]
    call.terminal.print_section("Signature", _format_checks(whole))
    call.terminal.print_section("Refused because", _format_problems(whole["fields"]))
    call.terminal.print_section("Headers", headers)
    _print_content(call, whole)
    if sent:
        call.terminal.print_title("Deliveries")
        for delivery in sent:
            call.terminal.print_line(f"  {delivery['id']}  ", *format_delivery(delivery))
            _print_handler_output(call, delivery)


def _format_checks(whole: Json) -> list[list[Part]]:
    """Return the steps of a verification as rows: mark, name, what was compared."""
    return [
        [_CHECK_MARKS[check["passed"]], check["name"], "  ".join(filter(None, (check["result"], check["detail"])))]
        for check in whole["checks"]
    ]


def _format_problems(fields: list[Json]) -> list[list[Part]]:
    """Return the problems of an event by its source's rules as rows: mark, field, problem."""
    return [[_CHECK_MARKS[False], item["field"] or "the body", item["message"]] for item in fields]


def _print_content(call: Call, whole: Json) -> None:
    content = _decode_body(whole)
    if not content:
        return
    from relay.model.payload import Payload  # not needed by the other commands here

    payload = Payload.of_request(((name, value) for name, value in whole["headers"]), content)
    call.terminal.print_title("Body")
    if payload.problem:
        call.terminal.print_message(f"{payload.problem}; relay show {whole['id']} --body gives its exact bytes")
    left = _MAX_BODY
    for text in payload.lines():
        if left <= 0:
            call.terminal.print_message(f"the body is longer; relay show {whole['id']} --body prints all of it")
            return
        call.terminal.print_line("  ", text[:left])
        left -= len(text)


def _print_handler_output(call: Call, delivery: Json) -> None:
    # Of the last attempt, which counts; --json has all.
    for attempt in delivery["attempts"][-1:]:
        if delivery["action"] == "handler" and attempt["response"]:
            reply = _decode_body(attempt["response"]).decode("utf-8", "replace")
            more = " …; --json gives all" if len(reply) > _MAX_REPLY else ""
            call.terminal.print_line("     replied ", reply[:_MAX_REPLY], more)
        cut = "\n(relay kept the first 64 KB)" if attempt["output_cut"] else ""
        for text in (attempt["traceback"] or "", (attempt["output"] or "") + cut):
            for line in text.rstrip("\n").split("\n") if text else ():
                call.terminal.print_line("     ", line.expandtabs(4))


@click.command("verify")
@event_argument
@shared_options
async def verify_command(call: Call, event: int) -> int:
    """Check an event's signature again with today's secrets, and say why it fails; 5 unless it verifies."""
    async with call.connect(secrets=True) as api:
        whole = await api.get(f"/api/events/{event}")
        again = await api.post(f"/api/events/{event}/verify", {})
    if call.json:
        stored = {"source": whole["source"], "provider": whole["provider"], "stored_verdict": whole["verdict"]}
        call.terminal.print_json({"id": again.pop("id")} | stored | again)
    else:
        _print_verification(call, whole, again)
    return 0 if again["verdict"] == "verified" else UNVERIFIED


def _print_verification(call: Call, whole: Json, again: Json) -> None:
    line = call.terminal.print_line
    _print_heading(call, whole)
    if whole["verdict"] != again["verdict"]:
        line("checked again now: ", (again["verdict"], "bold"))
    call.terminal.print_table(["  ", *row] for row in _format_checks(again))
    call.terminal.print_table(["  ", *row] for row in _format_problems(again["fields"]))
    if whole["fields"] and not again["fields"]:
        line("with the source's current rules the request would be accepted")
    for hint in again["hints"]:
        call.terminal.print_title(hint["title"])
        line("  ", hint["sentence"])
        if hint["fix"]:
            line("  ", hint["fix"])
        for text in hint["line"].splitlines():
            line("    ", (text, "cyan"))
    if again["hints"]:
        _print_evidence(call, again)
    elif reason := again["reason_sentence"] or whole["reason_sentence"]:
        line(reason)


def _print_evidence(call: Call, again: Json) -> None:
    if again["received"] and again["expected"]:
        rows: list[list[Part]] = [[("  received", "dim"), value, ""] for value in again["received"]]
        for item in again["expected"]:
            style = "green" if item["matches"] else "red"
            ends = f", which ends in {item['ends']}" if item["ends"] else ""
            signature = item["signature"] or "only the provider can make it"
            rows.append([("  expected", "dim"), (signature, style), (f"with {item['secret']}{ends}", "dim")])
        call.terminal.print_line()
        call.terminal.print_table(rows)
    call.terminal.print_section(
        "Also tried",
        (
            [item["secret"], item["what"], ("match", "green") if item["matched"] else ("no match", "dim")]
            for item in again["tried"][:_MAX_ATTEMPTS]
        ),
    )
    if len(again["tried"]) > _MAX_ATTEMPTS:
        call.terminal.print_line((f"  and {len(again['tried']) - _MAX_ATTEMPTS} more", "dim"))


@click.command("explain")
@event_argument
@shared_options
async def explain_command(call: Call, event: int) -> None:
    """Say for each route of relay.toml whether an event takes it and why, and what signature its targets get."""
    async with call.connect() as api:
        routes = (await api.get(f"/api/events/{event}/routes"))["routes"]
    call.terminal.print_values(routes, _format_route)
    if not call.json:
        if not routes:
            call.terminal.print_message("there are no routes; name a target with --forward or in relay.toml")
        signing = {name: text for route in routes for name, text in route["signing"].items()}
        call.terminal.print_table(["signature", f"-> {name}", (text, "dim")] for name, text in signing.items())


def _format_route(route: Json) -> list[Part]:
    mark: Part = ("taken", "green") if route["matched"] else ("not taken", "dim")
    what = " ".join([*route["source"], *route["events"], *([f"when {route['when']}"] if route["when"] else [])])
    return [mark, what, f"-> {', '.join(route['to'])}", (route["why"], "dim")]


@click.command("diff")
@click.argument("left", type=parse_event_id, metavar="A")
@click.argument("right", type=parse_event_id, metavar="B")
@click.option("--reveal", is_flag=True, help="Show header values that are usually secret.")
@shared_options
async def diff_command(call: Call, left: int, right: int, *, reveal: bool) -> None:
    """Describe what differs between two events: facts, headers, the body place by place, what targets answered."""
    async with call.connect(store_only=True) as api:
        one, other = await api.get(f"/api/events/{left}"), await api.get(f"/api/events/{right}")
        found = find_differences(one, other, await _fetch_deliveries(api, one), await _fetch_deliveries(api, other))
    for place in found:
        if call.json:
            call.terminal.print_json({"place": place.full, "a": place.left, "b": place.right})
        else:
            _print_difference(call, place, reveal=reveal)
    if not found:
        call.terminal.print_message(f"#{left} and #{right} differ in nothing but number and time")


def _print_difference(call: Call, place: "ComparedPlace", *, reveal: bool) -> None:
    is_hidden = place.part == "header" and is_sensitive(place.name) and not reveal
    call.terminal.print_line((escape_unprintable(place.full, _MAX_SIDE), "bold"))
    for mark, style, value in (("-", "red", place.left), ("+", "green", place.right)):
        if value is not None:
            for text in (REDACTED if is_hidden else value).splitlines() or [""]:
                call.terminal.print_line((f"  {mark} {escape_unprintable(text, _MAX_SIDE)}", style))


def find_differences(
    left: Json, right: Json, left_sent: Sequence[Json] = (), right_sent: Sequence[Json] = ()
) -> "list[ComparedPlace]":
    """Return the differences between two events in the format of the API, with their deliveries."""
    from relay.model.differences import COMPARED_FACTS, ComparedEvent, compare_events  # for relay diff

    one, other = [
        ComparedEvent(
            facts={name: None if whole[name] is None else str(whole[name]) for name in COMPARED_FACTS},
            headers=tuple((name, value) for name, value in whole["headers"]),
            content=_decode_body(whole),
            answers={delivery["target"]: _summarize_delivery(delivery) for delivery in sent},
        )
        for whole, sent in ((left, left_sent), (right, right_sent))
    ]
    return [place for place in compare_events(one, other, partial(json.dumps, default=float)) if place.differs]


def _summarize_delivery(delivery: Json) -> dict[str, str]:
    # The last delivery to a target counts. Durations always differ and are left out.
    answer = {"state": delivery["state"], "attempts": str(delivery["attempts_made"])}
    return answer | ({"status": str(delivery["status"])} if delivery["status"] else {})
