"""Broken setups of many providers, each through a real relay: the true cause comes first, not the secret."""

import base64
import gzip
import hashlib
import hmac
import io
import json
import time
import urllib.parse
from base64 import b64encode, urlsafe_b64encode

import pytest

from cases import check_each

BODY = b'{"id":"evt_1","type":"invoice.paid","data":{"object":{"amount":4800,"url":"https://x.example/a?b=1"}}}'
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SECRETS = {
    "GITHUB_WEBHOOK_SECRET": "It's a Secret to Everybody",
    "SHOPIFY_WEBHOOK_SECRET": "hush",
    "SLACK_SIGNING_SECRET": "8f742231b10e8888abcd99yyyzzz85a5",
    "STRIPE_WEBHOOK_SECRET": "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH",
    "RESEND_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "LINEAR_WEBHOOK_SECRET": "lin_wh_secret",
    "PADDLE_WEBHOOK_SECRET": "pdl_ntfset_01_secret",
    "MINE": "s3cr3t-of-mine",
}
CUSTOM = (
    '[sources.mine]\nprovider = "custom"\nsecret = "env:MINE"\n[sources.mine.signature]\nheader = "X-Sign"\n{more}\n'
)


def mac(name, text, digest="sha256"):
    return hmac.new(SECRETS[name].encode(), text, getattr(hashlib, digest)).digest()


def github(body=BODY, signature=None):
    value = signature or f"sha256={mac('GITHUB_WEBHOOK_SECRET', body).hex()}"
    return JSON | {"X-Hub-Signature-256": value, "X-GitHub-Event": "push", "X-GitHub-Delivery": "d1"}


def shopify(body=BODY, signature=None):
    value = signature or b64encode(mac("SHOPIFY_WEBHOOK_SECRET", body)).decode()
    return JSON | {"X-Shopify-Hmac-Sha256": value, "X-Shopify-Topic": "orders/paid"}


def slack(body=BODY, signed=None, shown=None, kind=JSON):
    now = str(int(time.time()))
    signed = signed or now
    shown = shown or signed
    value = "v0=" + mac("SLACK_SIGNING_SECRET", b"v0:%s:%s" % (signed.encode(), body)).hex()
    return kind | {"X-Slack-Request-Timestamp": shown, "X-Slack-Signature": value}


def stripe(body=BODY, at=None, ts=None):
    now = str(at if at is not None else int(time.time()))
    return JSON | {
        "Stripe-Signature": f"t={ts or now},v1={mac('STRIPE_WEBHOOK_SECRET', now.encode() + b'.' + body).hex()}"
    }


def svix(body=BODY, key=None, id_="msg_1", shown_id=None, ago=0):
    key = key or base64.b64decode(SECRETS["RESEND_WEBHOOK_SECRET"].removeprefix("whsec_"))
    now = str(int(time.time()) - ago)
    digest = hmac.new(key, f"{id_}.{now}.".encode() + body, hashlib.sha256).digest()
    return JSON | {
        "svix-id": shown_id or id_,
        "svix-timestamp": now,
        "svix-signature": f"v1,{b64encode(digest).decode()}",
    }


async def causes(at, path, body, headers, method="POST"):
    async with at.session.request(
        method, at.ingress + path, data=body, headers=headers, skip_auto_headers=["Content-Type"]
    ) as done:
        assert done.status == 401, await done.read()
    newest = (await at.api("/api/events?limit=1"))[1]["events"][0]["id"]
    return (await at.api(f"/api/events/{newest}"))[1]["hints"]


async def delete_newest(at):
    newest = (await at.api("/api/events?limit=1"))[1]["events"][0]["id"]
    assert (await at.api(f"/api/events/{newest}", "DELETE"))[0] == 200


async def first(at, path, body, headers, method="POST"):
    found = await causes(at, path, body, headers, method)
    text = json.dumps(found)
    assert not any(value in text for value in SECRETS.values()), "no secret is shown"
    return found[0]


HEX, RAW = mac("GITHUB_WEBHOOK_SECRET", BODY).hex(), mac("GITHUB_WEBHOOK_SECRET", BODY)
SHOP = mac("SHOPIFY_WEBHOOK_SECRET", BODY)
# A digest whose base64 has both marks that base64url writes otherwise.
MARKED = next(
    b'{"n":%d}' % number
    for number in range(1000)
    if {43, 47} <= set(b64encode(mac("SHOPIFY_WEBHOOK_SECRET", b'{"n":%d}' % number)))
)
MARKED_URL = urlsafe_b64encode(mac("SHOPIFY_WEBHOOK_SECRET", MARKED)).decode()
LINEAR = b'{"action":"create","webhookTimestamp":1}'
SHA1 = f"sha1={mac('GITHUB_WEBHOOK_SECRET', BODY, 'sha1').hex()}"
SORTED = json.dumps(json.loads(BODY), sort_keys=True, separators=(",", ":")).encode()
FORMED = b"token=x&text=hello+big+world&url=https%3A%2F%2Fa"

SETUPS = {
    # The signature and its header.
    "github sha-1 only": (
        "github",
        BODY,
        {**JSON, "X-GitHub-Event": "push", "X-Hub-Signature": SHA1},
        "signature_missing",
        "Only the SHA-1 signature",
    ),
    "github signature cut short": (
        "github",
        BODY,
        github(signature=f"sha256={HEX[:40]}"),
        "signature_cut",
        "24 of 64 characters",
    ),
    "github signature without its beginning": (
        "github",
        BODY,
        github(signature=f"sha256={HEX[20:]}"),
        "signature_cut",
        "at its beginning",
    ),
    "github base64 for hex": (
        "github",
        BODY,
        github(signature=f"sha256={b64encode(RAW).decode()}"),
        "signature_encoding",
        "came as base64, where hex",
    ),
    "github base64 without prefix": (
        "github",
        BODY,
        github(signature=b64encode(RAW).decode()),
        "signature_encoding",
        "came as base64, where hex",
    ),
    "github base64 of the hex": (
        "github",
        BODY,
        github(signature=f"sha256={b64encode(HEX.encode()).decode()}"),
        "signature_encoding",
        "base64 of its hex",
    ),
    "github upper-case hex": (
        "github",
        BODY,
        github(signature=f"sha256={HEX.upper()}"),
        "signature_encoding",
        "upper-case hex",
    ),
    "github another prefix": (
        "github",
        BODY,
        github(signature=f"sha1={HEX}"),
        "header_malformed",
        "a prefix or a name",
    ),
    "github more behind": ("github", BODY, github(signature=f"sha256={HEX}; path=/"), "header_malformed", "added"),
    "github in another header": (
        "github",
        BODY,
        {**JSON, "X-GitHub-Event": "push", "X-Signature": f"sha256={HEX}"},
        "header_renamed",
        "came as X-Signature",
    ),
    "shopify hex for base64": (
        "shopify",
        BODY,
        shopify(signature=SHOP.hex()),
        "signature_encoding",
        "came as hex, where base64",
    ),
    "shopify base64url": ("shopify", MARKED, shopify(signature=MARKED_URL), "signature_encoding", "changed on the way"),
    "shopify base64url without padding": (
        "shopify",
        MARKED,
        shopify(signature=MARKED_URL.rstrip("=")),
        "signature_encoding",
        "changed on the way",
    ),
    "shopify without padding": (
        "shopify",
        BODY,
        shopify(signature=b64encode(SHOP).decode().rstrip("=")),
        "signature_encoding",
        "",
    ),
    "shopify lower-cased": (
        "shopify",
        BODY,
        shopify(signature=b64encode(SHOP).decode().lower()),
        "signature_case",
        "case",
    ),
    "shopify cut short": (
        "shopify",
        BODY,
        shopify(signature=b64encode(SHOP).decode()[:30]),
        "signature_cut",
        "cut short",
    ),
    "stripe signature cut short": (
        "stripe",
        BODY,
        {k: v[:-20] if k == "Stripe-Signature" else v for k, v in stripe().items()},
        "signature_cut",
        "20 of 64",
    ),
    # The body.
    "github body cut by a byte": ("github", BODY[:-1], github(), "body_changed", "its end was cut off"),
    "github body cut by three": ("github", BODY[:-3], github(), "body_changed", "its end was cut off"),
    "github body cut in a text": ("github", BODY[:60], github(), "body_cut", "cut short"),
    "stripe body cut": ("stripe", BODY[:41], stripe(), "body_cut", "cut short"),
    "slack body empty": ("slack", b"", slack(), "body_empty", "empty"),
    "github led round by a redirect": ("github", b"", github(), "redirected", "redirect"),
    "github gzip unpacked, header left": (
        "github",
        BODY,
        github(gzip.compress(BODY, mtime=0)) | {"Content-Encoding": "gzip"},
        "body_changed",
        "unpacked",
    ),
    "github gzip unpacked of odd making": (
        "github",
        BODY,
        github(gzip.compress(BODY, 3, mtime=77)) | {"Content-Encoding": "gzip"},
        "body_unpacked",
        "unpacked",
    ),
    "github brotli unpacked": (
        "github",
        BODY,
        github(b"\x0b\x02\x80") | {"Content-Encoding": "br"},
        "body_unpacked",
        "br",
    ),
    "github keys sorted": ("github", SORTED, github(), "body_changed", "another order"),
    "stripe keys sorted": ("stripe", SORTED, stripe(), "body_changed", "another order"),
    "slack form with %20 for +": (
        "slack",
        FORMED.replace(b"+", b"%20"),
        slack(FORMED, kind=FORM),
        "body_changed",
        "form re-encoded",
    ),
    "slack form with + for %20": (
        "slack",
        FORMED,
        slack(FORMED.replace(b"+", b"%20"), kind=FORM),
        "body_changed",
        "form re-encoded",
    ),
    "github form unwrapped": (
        "github",
        BODY,
        github(b"payload=" + urllib.parse.quote_plus(BODY).encode()),
        "body_changed",
        "form field payload",
    ),
    "github put into an envelope": (
        "github",
        json.dumps({"body": BODY.decode(), "isBase64Encoded": False}).encode(),
        github(),
        "body_changed",
        "field body",
    ),
    "github base64 in an envelope": (
        "github",
        json.dumps({"body": b64encode(BODY).decode()}).encode(),
        github(),
        "body_changed",
        "field body",
    ),
    "linear re-serialised": (
        "linear",
        LINEAR.replace(b":1}", b": 1}"),
        {**JSON, "Linear-Signature": mac("LINEAR_WEBHOOK_SECRET", LINEAR).hex()},
        "body_changed",
        "compact",
    ),
    "paddle separators changed": (
        "paddle",
        BODY,
        {**JSON, "Paddle-Signature": f"ts={int(time.time())},h1={'0' * 64}"},
        "header_malformed",
        "cannot be read",
    ),
}


@pytest.fixture
async def with_secrets(start):
    return await start("", SECRETS)


@check_each("setup", SETUPS)
async def test_the_true_cause_comes_first(with_secrets, setup):
    provider, body, headers, cause, words = SETUPS[setup]
    method = "GET" if cause == "redirected" else "POST"
    found = await first(with_secrets, f"/webhooks/{provider}", body, headers, method)
    await delete_newest(with_secrets)  # no cause is found in the event of another setup
    assert (found["cause"], words in found["title"]) == (cause, True), found


PRICED = b'{"total":10.50,"items":[{"sku":"a","price":1E2},{"sku":"b","price":-0.0}],"note":"1.0","id":7}'


@pytest.mark.parametrize(
    "arrived",
    [
        b'{"id":7,"items":[{"price":1E2,"sku":"a"},{"price":-0.0,"sku":"b"}],"note":"1.0","total":10.50}',
        b'{"id":7,"note":"1.0","items":[{"price":1E2,"sku":"a"},{"price":-0.0,"sku":"b"}],"total":10.50}',
        b'{"items":[{"sku":"a","price":1E2},{"sku":"b","price":-0.0}],"note":"1.0","id":7,"total":10.50}',
    ],
    ids=["sorted", "reversed", "one moved"],
)
async def test_another_order_of_keys_is_found_whatever_numbers_look_like(start, arrived):
    at = await start("", SECRETS)
    found = await first(at, "/webhooks/shopify", arrived, shopify(PRICED))
    assert (found["cause"], "another order" in found["title"]) == ("body_changed", True)
    assert "total, items, note, id" in found["sentence"]


async def test_the_order_of_an_earlier_event_is_known(start):
    at = await start("", SECRETS)
    names = [f"{letter}{number}" for number in range(4) for letter in "qhzbmx"]
    earlier, sent = (json.dumps(dict.fromkeys(names, value)).encode() for value in (1, 2))
    assert (await at.send("/webhooks/github", earlier, headers=github(earlier)))[0] == 200
    arrived = json.dumps(dict.fromkeys(sorted(names), 2)).encode()
    found = await first(at, "/webhooks/github", arrived, github(sent))
    assert (found["cause"], "another order" in found["title"]) == ("body_changed", True)


@pytest.mark.parametrize(
    ("provider", "header"), [("gitlab", "X-Gitlab-Token"), ("telegram", "X-Telegram-Bot-Api-Secret-Token")]
)
async def test_another_token_is_no_signature_and_no_body_is_blamed(start, provider, header):
    names = {"gitlab": "GITLAB_WEBHOOK_TOKEN", "telegram": "TELEGRAM_SECRET_TOKEN"}
    at = await start("", SECRETS | {names[provider]: "a token of ours"})
    found = await first(at, f"/webhooks/{provider}", BODY, JSON | {header: "some other token"})
    assert (found["cause"], "body" in found["fix"]) == ("other_token", False)


@pytest.mark.parametrize("away", [0, 7, -3, 290])
async def test_a_replaced_time_is_found_among_those_within_the_limit(start, away):
    at = await start("", SECRETS)
    now = int(time.time())
    shown = str(now - 1000) if away == 0 else str(now)
    found = await first(at, "/webhooks/slack", BODY, slack(signed=str(now - away), shown=shown))
    assert found["cause"] == "timestamp_replaced"
    assert "X-Slack-Request-Timestamp is not the time that was signed" in found["title"]
    assert str(now - away) in found["sentence"]


async def test_a_replaced_time_of_standard_webhooks_is_found(start):
    at = await start("", SECRETS)
    headers = svix(ago=20)
    headers["svix-timestamp"] = str(int(headers["svix-timestamp"]) + 20)
    found = await first(at, "/webhooks/resend", BODY, headers)
    assert (found["cause"], "20 s before" in found["sentence"]) == ("timestamp_replaced", True)


@pytest.mark.parametrize("shown", ["", "Sun, 29 Nov 2026 20:00:00 GMT", "2026-11-29T20:00:00Z"])
async def test_a_time_that_was_removed_or_rewritten_is_found(start, shown):
    at = await start("", SECRETS)
    headers = slack(signed=str(int(time.time()) - 5))
    headers["X-Slack-Request-Timestamp"] = shown
    if not shown:
        del headers["X-Slack-Request-Timestamp"]
    found = await first(at, "/webhooks/slack", BODY, headers)
    assert found["cause"] == "timestamp_replaced"


@pytest.mark.parametrize(("times", "unit"), [(1000, "milliseconds"), (10**6, "microseconds")])
async def test_a_time_in_another_unit_is_no_clock_that_is_behind(start, times, unit):
    at = await start("", SECRETS)
    found = await first(at, "/webhooks/slack", BODY, slack(signed=str(int(time.time() * times))))
    assert (found["cause"], found["title"]) == ("timestamp_unit", f"The timestamp is in {unit}, where seconds belong")


@pytest.mark.parametrize(
    ("unit", "times", "line"), [("s", 1000, 'timestamp_unit = "ms"'), ("ms", 1, 'timestamp_unit = "s"')]
)
async def test_a_declared_unit_that_is_wrong_is_corrected(start, unit, times, line):
    more = f'content = "{{timestamp}}.{{body}}"\ntimestamp = "header:X-Time"\ntimestamp_unit = "{unit}"'
    at = await start(CUSTOM.format(more=more), SECRETS)
    stamp = str(int(time.time() * times))
    headers = JSON | {"X-Time": stamp, "X-Sign": mac("MINE", stamp.encode() + b"." + BODY).hex()}
    found = await first(at, "/webhooks/mine", BODY, headers)
    assert (found["cause"], found["line"]) == ("timestamp_unit", line)


@pytest.mark.parametrize(
    ("ago", "line"), [(400, "1h"), (3000, "2h"), (4000, "2h"), (30 * 3600, "32h"), (90 * 86_400, "92d")]
)
async def test_the_advice_for_a_late_event_widens_the_limit_and_never_drops_it(start, ago, line):
    at = await start("", SECRETS)
    found = await first(at, "/webhooks/stripe", BODY, stripe(at=int(time.time()) - ago))
    assert (found["cause"], found["line"]) == ("timestamp_stale", f'tolerance = "{line}"')


async def test_an_id_that_was_replaced_is_found(start):
    at = await start("", SECRETS)
    headers = svix(shown_id="req-77") | {"X-Original-Id": "msg_1"}
    found = await first(at, "/webhooks/resend", BODY, headers)
    assert (found["cause"], found["title"]) == ("id_replaced", "svix-id is not the id that was signed")


async def test_a_header_that_came_twice_is_said_to(start):
    at = await start("", SECRETS)
    headers = [*github().items(), ("X-Hub-Signature-256", "sha256=" + "0" * 64)]
    found = await first(at, "/webhooks/github", BODY, headers)
    assert found["cause"] == "header_repeated"


KEY = bytes(range(240, 256)) + bytes(range(16))
SPELT = {
    "base64url": urlsafe_b64encode(KEY).decode(),
    "without padding": b64encode(KEY).decode().rstrip("="),
    "hex": KEY.hex(),
    "upper-case hex": KEY.hex().upper(),
    "hex with colons": KEY.hex(":"),
    "hex with 0x": "0x" + KEY.hex(),
    "in two lines": f"whsec_{b64encode(KEY).decode()[:20]} {b64encode(KEY).decode()[20:]}",
}


@pytest.mark.parametrize("spelt", [name for name in SPELT if name != "without padding"])
async def test_a_secret_in_another_spelling_of_its_encoding_is_known(start, spelt):
    at = await start("", SECRETS | {"RESEND_WEBHOOK_SECRET": SPELT[spelt]})
    found = await first(at, "/webhooks/resend", BODY, svix(key=KEY))
    assert found["cause"] == "secret_spoiled", found


@pytest.mark.parametrize(
    ("saved", "meant"),
    [("abc-_def", "abc+/def"), ("abc+/def", "abc-_def"), ("abcd", "abcd="), ("cafe\u0301", "caf\u00e9"), ("a b", "ab")],
)
async def test_a_secret_that_is_text_is_known_in_other_spellings(start, saved, meant):
    at = await start("", SECRETS | {"GITHUB_WEBHOOK_SECRET": saved})
    digest = hmac.new(meant.encode(), BODY, hashlib.sha256).hexdigest()
    found = await first(at, "/webhooks/github", BODY, github(signature=f"sha256={digest}"))
    assert found["cause"] == "secret_spoiled", found


@pytest.mark.parametrize(
    ("declared", "came", "cause", "line"),
    [
        ("base64", "base64url", "signature_encoding", 'encoding = "base64url"'),
        ("base64url", "base64", "signature_encoding", 'encoding = "base64"'),
        ("base64", "hex", "other_declaration", 'encoding = "hex"'),
        ("base64url", "hex", "other_declaration", 'encoding = "hex"'),
        ("hex", "base64url", "other_declaration", 'encoding = "base64url"'),
    ],
)
async def test_a_declared_encoding_that_is_not_the_sender_s_is_named(start, declared, came, cause, line):
    at = await start(CUSTOM.format(more=f'encoding = "{declared}"'), SECRETS)
    body = next(b"%d" % n for n in range(9999) if {43, 47} <= set(b64encode(mac("MINE", b"%d" % n))))
    digest = mac("MINE", body)
    ways = {"hex": digest.hex(), "base64": b64encode(digest), "base64url": urlsafe_b64encode(digest)}
    value = ways[came] if isinstance(ways[came], str) else ways[came].decode()
    found = await first(at, "/webhooks/mine", body, JSON | {"X-Sign": value})
    assert (found["cause"], found["line"]) == (cause, line), found
    assert ("changed on the way" in found["title"]) is ("base64" in declared and "base64" in came)


@pytest.mark.parametrize(
    ("declared", "secret", "form"), [('key = "base64"', "not base64!", "base64"), ('key = "hex"', "s3cr3t", "hex")]
)
async def test_a_key_that_cannot_be_decoded_is_blamed_and_neither_body_nor_secret(start, declared, secret, form):
    at = await start(CUSTOM.format(more=declared), SECRETS | {"MINE": secret})
    digest = hmac.new(b"another key", BODY, hashlib.sha256).hexdigest()
    found = await first(at, "/webhooks/mine", BODY, JSON | {"X-Sign": digest})
    assert found["cause"] == "secret_unreadable"
    assert found["title"] == f"MINE cannot be read as the key of this source, which is {form}"
    # Signed with the secret as it is written, the declaration is what is wrong.
    digest = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    found = await first(at, "/webhooks/mine", BODY, JSON | {"X-Sign": digest})
    assert (found["cause"], found["line"]) == ("other_declaration", 'key = "text"')


@pytest.mark.parametrize(
    ("signed", "line"),
    [
        (b"POST/webhooks/mine?a=1" + BODY, 'content = "{method}{target}{body}"'),
        (b"/webhooks/mine" + BODY, ""),
        (b"/webhooks/mine?a=1" + BODY, 'content = "{target}{body}"'),
    ],
)
async def test_a_path_with_or_without_its_query_is_told_apart(start, signed, line):
    at = await start(CUSTOM.format(more='content = "{path}{body}"'), SECRETS)
    headers = JSON | {"X-Sign": mac("MINE", signed).hex()}
    if line:
        found = await first(at, "/webhooks/mine?a=1", BODY, headers)
        assert (found["cause"], found["line"]) == ("other_declaration", line)
    else:
        assert (await at.send("/webhooks/mine?a=1", BODY, headers=headers))[0] == 200


VERIFIER = """
import hmac


class Mine:
    def verify(self, capture, secrets, now):
        return self.compare(capture.header("X-Sign"), capture.body)

    def compare(self, given, body):
        {fault}
"""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('raise KeyError("It is a secret message")', "raised KeyError in mine.py, line 10"),
        ("return hmac.new(None, body, 'sha256')", "raised TypeError in mine.py, line 10"),
        ("return None", "returned NoneType"),
    ],
)
async def test_a_verifier_that_fails_is_named_and_no_secret_is_tried(start, tmp_path, fault, words):
    (tmp_path / "mine.py").write_text(VERIFIER.format(fault=fault))
    more = 'scheme = "python"\nverifier = "mine:Mine"'
    toml = CUSTOM.format(more=more).replace('header = "X-Sign"\n', "")
    at = await start(toml, SECRETS | {"OTHER_SECRET": "x"})
    found = await causes(at, "/webhooks/mine", BODY, JSON | {"X-Sign": "a"})
    assert [item["cause"] for item in found] == ["verifier_failed"]
    assert words in found[0]["title"]
    assert "secret message" not in json.dumps(found)
    _, again = await at.api("/api/events/1/verify", "POST", json={})
    assert again["tried"] == []


async def test_when_nothing_fits_what_was_ruled_out_is_said_and_the_secret_comes_last(start):
    at = await start("", SECRETS)
    for path, headers in (
        ("/webhooks/github", github(signature=f"sha256={'0' * 64}")),
        ("/webhooks/stripe", stripe(ts=str(int(time.time()) - 9))),
    ):
        wrong = {key: value.replace("v1=", "v1=00") for key, value in headers.items()}
        found = await first(at, path, BODY, wrong)
        assert found["cause"] == "unknown"
        assert found["sentence"].startswith("Ruled out: ")
        for kind in ("JSON or forms serialised again", "keys in another order", "cut short", "line breaks"):
            assert kind in found["sentence"]
        assert found["fix"].index("body") < found["fix"].index("secret")
        assert found["line"] == ""


@pytest.mark.slow
async def test_a_large_body_is_examined_within_bounds(start, monkeypatch):
    at = await start('[server]\nmax_body = "30MB"\n', SECRETS)
    body = b'{"a":"' + b"x" * 8_000_000 + b'"}'
    cut = f"sha256={mac('GITHUB_WEBHOOK_SECRET', body).hex()[:50]}"
    found = await first(at, "/webhooks/github", io.BytesIO(body), github(signature=cut))
    assert found["cause"] == "signature_cut"
    work = time.thread_time
    monkeypatch.setattr(time, "thread_time", lambda: work() * 5)  # as on a computer that is a fifth as fast
    found = await first(at, "/webhooks/github", io.BytesIO(body[:-2]), github(signature="sha256=" + "0" * 64))
    assert found["cause"] == "body_cut"
    body = b'{"a":"' + b"x" * 25_000_000 + b'"}'
    found = await first(at, "/webhooks/slack", io.BytesIO(body), slack())
    assert "in time" in found["sentence"]


SIGNED = b'{"zone":"eu","amount":10.50,"items":[1,2],"note":"a b"}'


@pytest.mark.parametrize(
    ("arrived", "cause", "words"),
    [
        (b"", "body_empty", "is empty"),
        (SIGNED[:-20], "body_cut", "cut short"),
        (b'{"amount":10.50,"items":[1,2],"note":"a b","zone":"eu"}', "body_changed", "read and written again"),
        (b'{"zone":"us"}', "signature_of_another_event", "signature of event 1"),
    ],
)
async def test_a_body_damaged_on_a_second_try_is_told_from_a_signature_put_on_another(start, arrived, cause, words):
    at = await start("", SECRETS)
    headers = shopify(SIGNED)
    assert (await at.send("/webhooks/shopify", SIGNED, headers=headers))[0] == 200
    found = await first(at, "/webhooks/shopify", arrived, headers)
    assert (found["cause"], words in found["title"]) == (cause, True), found


async def test_a_signature_inside_the_body_is_never_that_of_an_earlier_event(start):
    at = await start("", SECRETS | {"MAILGUN_WEBHOOK_SIGNING_KEY": "mailgun-key"})

    def mailgun(key, token):
        now = str(int(time.time()))
        signature = hmac.new(key.encode(), (now + token).encode(), hashlib.sha256).hexdigest()
        signed = {"timestamp": now, "token": token, "signature": signature}
        return json.dumps({"signature": signed, "event-data": {"event": "opened", "id": token}}).encode()

    assert (await at.send("/webhooks/mailgun", mailgun("mailgun-key", "a"), headers=JSON))[0] == 200
    found = await first(at, "/webhooks/mailgun", mailgun("another-key", "b"), JSON)
    assert found["cause"] == "unknown"


async def test_milliseconds_where_seconds_were_signed_are_named_as_such_once(start):
    at = await start("", SECRETS)
    now = str(int(time.time()))
    found = await causes(at, "/webhooks/slack", BODY, slack(signed=now, shown=f"{now}123"))
    assert [(item["cause"], item["title"]) for item in found] == [
        ("timestamp_unit", "The timestamp is in milliseconds, where seconds belong")
    ]
    assert f"for the time {now}; what came is {now}123" in found[0]["sentence"]


async def test_where_the_address_is_signed_it_is_compared_first(start):
    toml = '[sources.twilio]\npublic_url = "https://hooks.example.dev/webhooks/twilio"\n'
    at = await start(toml, SECRETS | {"TWILIO_AUTH_TOKEN": "12345"})
    digest = hmac.new(b"12345", b"https://old.example.com/webhooks/twilioBodyHi", hashlib.sha1).digest()
    headers = FORM | {"X-Twilio-Signature": b64encode(digest).decode()}
    found = await first(at, "/webhooks/twilio", b"Body=Hi", headers)
    assert found["cause"] == "unknown"
    assert found["fix"].startswith(
        "Compare the address that Twilio calls with https://hooks.example.dev/webhooks/twilio, "
    )


@pytest.mark.parametrize(("path", "name"), [("meta", "META_APP_SECRET"), ("linear", "LINEAR_WEBHOOK_SECRET")])
async def test_a_request_of_another_provider_is_sent_to_its_own_source(start, path, name):
    toml = f"[sources.github]\n[sources.{path}]\n"
    at = await start(toml, SECRETS | {name: "another-secret"})
    found = await first(at, f"/webhooks/{path}", BODY, github())
    assert found["cause"] == "other_provider"
    assert "source github" in found["fix"]


async def test_a_verifier_that_takes_other_arguments_is_told_which_it_must_take(start, tmp_path):
    (tmp_path / "mine.py").write_text("class Mine:\n    def verify(self, request):\n        return True\n")
    toml = CUSTOM.format(more='scheme = "python"\nverifier = "mine:Mine"').replace('header = "X-Sign"\n', "")
    at = await start(toml, SECRETS)
    found = await first(at, "/webhooks/mine", BODY, JSON)
    assert "raised TypeError in mine.py, line 2: verify must take (capture, secrets, now)" in found["title"]
