"""Format events, deliveries, durations and moments for people."""

from datetime import UTC, datetime, timedelta

from relay.cli.output import Json, Part
from relay.model.text import format_headline

UNVERIFIED = 5  # the exit code if a signature does not verify
SETTLED_STATES = ("succeeded", "failed", "cancelled")
DELIVERY_STATES = ("pending", "running", *SETTLED_STATES)
_VERDICT_STYLES = {"verified": "green", "invalid": "red", "unsigned": "dim", "unchecked": "yellow"}
_STATE_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


def format_event(event: Json) -> list[Part]:
    """Return an event as columns: source, type, number, verdict."""
    called, verdict = format_headline(event["type"], tuple(event["types"]), event["item_count"]), event["verdict"]
    judged = (verdict + _describe_outcome(event), _VERDICT_STYLES.get(verdict, "bold"))
    return [event["source"], called, (f"#{event['id']}", "bold"), judged]


def format_delivery(delivery: Json) -> list[Part]:
    """Return a delivery as `-> app 200 38 ms`, or why it waits."""
    state = delivery["state"]
    made = delivery["attempts_made"]
    if not made and state not in SETTLED_STATES:
        why = f": {delivery['detail']}" if delivery["detail"] else ""
        return [f"-> {delivery['target']} ", (f"waiting{why}", "dim")]
    has_answer = delivery["status"] and state != "cancelled"
    answer = str(delivery["status"]) if has_answer else _describe_result(delivery)
    took = "" if delivery["took_ms"] is None else f" {format_milliseconds(delivery['took_ms'])}"
    parts: list[Part] = [f"-> {delivery['target']} ", (answer, _STATE_STYLES.get(state, "yellow")), took]
    if state == "pending":
        when = format_time_left(delivery["due_at"])
        # A delivery whose target is down waits for it, even if it is due.
        waits_for_target = when == "now" and delivery["spared"]
        parts.append(f", attempt {made}, {'waits until the target answers' if waits_for_target else f'again {when}'}")
    elif made > 1:
        parts.append(f", attempt {made}")
    return parts


def measure_time_left(moment: str) -> float:
    """Return the seconds until a time."""
    return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()


def format_time_left(moment: str) -> str:
    """Return the time left until a time as text."""
    seconds = measure_time_left(moment)
    return f"in {format_duration(seconds)}" if seconds > 0.5 else "now"


def format_duration(seconds: float) -> str:
    """Return a duration as text: `12 s`, `4 min`, `3 h`, `2 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"


def format_milliseconds(took: float) -> str:
    """Return milliseconds as text."""
    return f"{took:.0f} ms" if took < 10_000 else f"{took / 1000:.1f} s"


def format_clock_time(moment: str) -> str:
    """Return the local time of day of a time."""
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")


def format_moment(moment: str) -> str:
    """Return a time in the local zone: without its date within 20 hours."""
    local = datetime.fromisoformat(moment).astimezone()
    recent = abs(datetime.now(UTC) - local) < timedelta(hours=20)  # a clock may have been set back
    return local.strftime("%H:%M:%S" if recent else "%Y-%m-%d %H:%M")


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun: `1 event`, `2 deliveries`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def _describe_outcome(event: Json) -> str:
    match event["outcome"]:
        case "rejected":
            return f", rejected {event['status']} ({event['reason'] or 'no reason'})"
        case "duplicate":
            # An imported duplicate does not name its original.
            return f", duplicate of #{event['duplicate_of']}" if event["duplicate_of"] else ", duplicate"
        case "ignored":
            return ", ignored"
    return ", recovered" if event.get("recovered") else ""


def _describe_result(delivery: Json) -> str:
    detail = delivery["detail"] or ""
    if delivery["state"] == "succeeded":
        return detail or "done"
    return f"{delivery['state']}: {detail}" if detail else str(delivery["state"])
