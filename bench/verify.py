"""What one verification costs: microseconds for a body of 10 KB, for every scheme made with a shared secret.

Run it by hand: `python bench/verify.py`, or with the names of providers. It prints the best of several
rounds, and ends with 1 when a scheme costs more than LIMIT without having to read the body first.
"""

import sys
import timeit
from datetime import UTC, datetime

from relay.model.event import Capture, Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.schemes.locations import InForm, InJson
from relay.providers.schemes.shared_secret import Digest, Hmac, SharedToken
from relay.providers.schemes.vendor_schemes import AdyenItems

LIMIT = 50.0
SIZE = 10_000
ROUNDS = 7
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SHARED = (Hmac, Digest, SharedToken, AdyenItems)
FORM = ("Content-Type", "application/x-www-form-urlencoded")
# A text message escapes about every thirtieth character.
TEXT = b"Your+order+1042+is+on+its+way+%2B41"
ITEM = (
    '{"NotificationRequestItem":{"pspReference":"7914073381342284","amount":{"value":1130,"currency":"EUR"},'
    '"eventCode":"AUTHORISATION","success":"true","additionalData":{"hmacSignature":"x"}}}'
)


def secret_of(scheme):
    form = scheme.key.form if hasattr(scheme, "key") else "text"
    text = {"text": "user:a secret", "hex": "00ff" * 16, "base64": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}[form]
    strip = scheme.key.strip if hasattr(scheme, "key") else ()
    return Secret("env:BENCH", (strip[0] if strip else "") + text)


def request(scheme):
    """Return a request of SIZE bytes such as the scheme signs."""
    headers = [("Host", "relay.example"), ("User-Agent", "bench"), ("Accept", "*/*")]
    form = isinstance(scheme.place, InForm) or "{form_sorted}" in getattr(getattr(scheme, "signed", None), "text", "")
    if form:
        body = b"token=abc&" + b"&".join(b"Field%02d=%s" % (n, TEXT * 8) for n in range(SIZE // 290))
        headers.append(FORM)
    elif isinstance(scheme, AdyenItems):
        count = SIZE // len(ITEM)
        body = b'{"notificationItems":[%s]}' % ",".join([ITEM] * count).encode()
    else:
        lines = ",".join(f'"field{n}":"some text of a payload {n}"' for n in range(SIZE // 42))
        head = '{"signature":{"token":"t"},"webhookTimestamp":1,"value":[{"clientState":"x"}],'
        body = (head + lines + "}").encode()
        headers.append(("Content-Type", "application/json"))
    if getattr(scheme, "only_if", None):
        headers.append(scheme.only_if)
    return Capture(
        source="bench",
        method="POST",
        path="/webhooks/bench",
        query="",
        headers=tuple(headers),
        body=body,
        remote="127.0.0.1",
        received_at=NOW,
        url="https://hooks.example/webhooks/bench",
    )


def cost(scheme):
    """Return the microseconds of one verification, the best of several rounds."""
    secret = secret_of(scheme)
    signed = scheme.sign(secret, request(scheme), NOW)
    judge = lambda: scheme.verify((secret,), signed, NOW)  # noqa: E731 - a name for what is timed
    assert judge().verdict is Verdict.VERIFIED, scheme
    return min(timeit.repeat(judge, number=200, repeat=ROUNDS)) / 200 * 1e6


def reads_body(scheme):
    """Say whether fields of the body are signed: that costs what the parser costs, whatever the scheme."""
    time = getattr(scheme, "time", None)
    text = getattr(getattr(scheme, "signed", None), "text", "")
    places = (scheme.place, time.place if time else None)
    return "{form" in text or any(isinstance(place, InJson | InForm) for place in places)


def main(names):
    seen = set()
    slow = []
    for provider in PROVIDERS.values():
        for scheme in provider.schemes if not names or provider.name in names else ():
            if not isinstance(scheme, SHARED) or scheme in seen:
                continue
            seen.add(scheme)
            took = cost(scheme)
            parses = reads_body(scheme)
            mark = "" if took <= LIMIT else "  reads the body first" if parses else "  SLOW"
            slow += [provider.name] if mark == "  SLOW" else []
            print(f"{provider.name:18} {scheme.name:17} {scheme.title:12} {took:7.1f} µs{mark}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
