"""The way of an event in the log: in the terminal with -v, in relay.log with [log] level, and nowhere by default."""

import json

import pytest

CANARIES = ("canary-body", "canary-query", "canary-header", "whsec_test_stripe_secret")
TOML = """
[sources.stripe]
[sources.shop]
[targets.app]
forward = "{app}"
[targets.other]
forward = "{app}"
[[routes]]
source = "stripe"
to = "app"
[[routes]]
source = ["stripe", "shop"]
when = "payload.amount > 5"
to = "other"
"""


def lines_of(text, number):
    """Return what a log says of an event, without what stands before its number."""
    return [line.partition(f"#{number} ")[2] for line in text.splitlines() if f"#{number} " in line]


def shop(relay, body):
    query = "tok=canary-query"
    return relay.send(f"shop?{query}", body, Idempotency_Key="key-1", X_Token="canary-header")


@pytest.mark.parametrize("how", ["flag", "file"])
def test_every_step_of_an_event_is_a_line_with_its_number(started, target, tmp_path, how):
    level = '[log]\nlevel = "debug"\n' if how == "file" else ""
    (tmp_path / "relay.toml").write_text(level + TOML.format(app=target.url))
    with started("--json", *(["-v"] if how == "flag" else [])) as relay:
        relay.object("ready")
        shop(relay, b'{"type": "order.paid", "amount": 7, "x": "canary-body"}')
        while relay.object("delivery")["state"] != "succeeded":
            pass
        shop(relay, b'{"type": "order.paid", "amount": 3, "x": "canary-body"}')
        with pytest.raises(OSError, match="401"):
            relay.send("stripe", Stripe_Signature="t=1,v1=00")
        with pytest.raises(OSError, match="404"):
            relay.send("?tok=canary-query")
        _, _, err = relay.stop()
    log = tmp_path / ".relay" / "relay.log"
    assert log.stat().st_mode & 0o777 == 0o600
    for told in (err, log.read_text()):
        first = lines_of(told, 1)
        assert first[:5] == [
            "received POST /webhooks/shop with 55 bytes for source shop",
            "not verified: unsigned (no_signature_expected)",
            "type order.paid, key key-1",
            "route 1 to app did not match: source shop is not stripe",
            "route 2 matched, leads to other",
        ]
        assert first[5] == "stored: accepted (no_signature_expected), answered 200"
        assert first[6] == "delivery 1 to other, attempt 1 begins"
        assert first[7].startswith("delivery 1 to other, attempt 1: status 200 in ")
        assert first[8] == "delivery 1 to other succeeded"
        assert "stored: duplicate of #1, answered 200" in lines_of(told, 2)
        mismatch = "not verified: invalid (signature_mismatch); Timestamp: Too old, HMAC-SHA256: No match"
        assert mismatch in lines_of(told, 3)
        assert "stored: rejected (signature_mismatch), answered 401" in lines_of(told, 3)
        assert "a request for no source was answered 404" in told
        assert not [canary for canary in CANARIES if canary in told]


def test_what_is_tried_again_is_told_with_when(started, target, tmp_path):
    target.status = 500
    (tmp_path / "relay.toml").write_text(
        f'[targets.app]\nforward = "{target.url}"\nretry = {{ attempts = 2, first = "100ms", jitter = 0.0 }}\n'
    )
    with started("--json", "-v") as relay:
        relay.object("ready")
        relay.send()
        while relay.object("delivery")["state"] != "failed":
            pass
        _, _, err = relay.stop()
    assert "delivery 1 to app is tried again in 0.1 s" in lines_of(err, 1)
    assert lines_of(err, 1)[-1] == "delivery 1 to app failed"


def test_by_default_no_step_is_told(started, target, tmp_path):
    (tmp_path / "relay.toml").write_text(TOML.format(app=target.url))
    with started("--json") as relay:
        relay.object("ready")
        shop(relay, b'{"type": "order.paid", "amount": 7}')
        while relay.object("delivery")["state"] != "succeeded":
            pass
        _, _, err = relay.stop()
    assert "#1" not in err + (tmp_path / ".relay" / "relay.log").read_text()


def test_the_log_as_json_has_the_number_as_a_field(started, tmp_path):
    with started("--json", "-v", "--log-format", "json") as relay:
        relay.object("ready")
        relay.send()
        _, _, err = relay.stop()
    told = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    steps = [line for line in told if line["logger"] == "relay.events"]
    assert steps
    assert {line["event"] for line in steps} == {1}
