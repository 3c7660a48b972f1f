import pytest

from relay.pipeline.routing import describe_operands, evaluate_condition

PAYLOAD = {"data": {"object": {"amount_due": 500, "lines": [{"id": "il_1"}]}}, "live": True}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("payload.data.object.amount_due > 1000", ("payload.data.object.amount_due = 500",)),
        ("event.type == 'a' and not payload.live", ("event.type = 'ping'", "payload.live = True")),
        ("payload['data'].object.lines[0].id", ("payload['data'].object.lines[0].id = 'il_1'",)),
        ("payload.data", ()),
        ("1 > 2", ()),
        ("payload.missing.deeper == 1", ()),
    ],
)
def test_a_condition_tells_what_it_saw(text, told):
    assert describe_operands(text, {"event": {"type": "ping"}, "payload": PAYLOAD}) == told


def test_a_condition_that_raises_does_not_hold_and_says_why():
    assert evaluate_condition("payload.missing > 3", {"event": {}, "payload": {}}) == (
        False,
        "UndefinedError: 'dict object' has no attribute 'missing'",
    )


TOML = """
[sources.test]
provider = "custom"
[targets.app]
forward = "http://127.0.0.1:9/"
[targets.big]
forward = "http://127.0.0.1:9/"
[[routes]]
when = "payload.amount > 1000"
to = ["big"]
[[routes]]
when = "payload.data.nothing > 1"
to = ["app"]
"""


async def test_why_a_route_was_not_taken_is_told_with_the_values_it_saw(start):
    at = await start(TOML)
    await at.send(data=b'{"amount": 500}', headers={"Content-Type": "application/json"})
    _, answer = await at.api("/api/events/1/routes")
    first, second = answer["routes"]
    assert (first["matched"], first["problem"]) == (False, "")
    assert first["why"] == "when payload.amount > 1000 is false: payload.amount = 500"
    assert second["matched"] is False
    assert second["problem"] == "UndefinedError: 'dict object' has no attribute 'data'"
    _, event = await at.api("/api/events/1")
    (hint,) = event["hints"]
    assert hint["cause"] == "condition_failed"
    assert hint["sentence"].startswith(
        "The route to app was not taken: its condition payload.data.nothing > 1 raised UndefinedError"
    )
    assert event["deliveries"]["pending"] == 0
