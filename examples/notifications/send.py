"""Sends notifications from Python: one that fits, the same again, and two that do not. `python send.py [URL]`."""

import sys
import time
from datetime import UTC, datetime

import relay
from relay.errors import InvalidPayloadError, RelayError

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8400/webhooks/notifications"


def main() -> int:
    good = {
        "event_id": int(time.time()),
        "timestamp": datetime.now(UTC),
        "event_type": "disk.full",
        "description": "only 3 GB are left on /data",
    }
    sent = relay.send(good, URL)
    print(f"fits: {sent.status} {sent.json['outcome']}")
    sent = relay.send(good, URL)
    print(f"again: {sent.status} {sent.json['outcome']}")

    bad = {"event_id": "seven", "timestamp": "yesterday", "event_type": "disk.full"}
    sent = relay.send(bad, URL)
    print(f"does not fit: {sent.status}")
    for field in sent.json["error"]["fields"]:
        print(f"  {field['field']} {field['message']}")

    try:
        relay.send(bad, URL, schema="models:Notification")
    except InvalidPayloadError as error:
        print(f"not even sent: {len(error.problems)} problems")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RelayError as error:
        sys.exit(error.full_text)
