import pytest

from relay.actions.egress import EgressRules
from relay.delivery.replay import encode_changes
from relay.errors import MailError, NotFoundError, TargetError, UsageError
from relay.model.delivery import DeliveryChanges, DeliveryReason, SignMode
from relay.model.signals import DeliveryChanged


async def test_a_replay_is_owed_and_rings_the_bell(world):
    async with world() as it:
        stored = await it.event()
        id_ = await it.replays.replay_event(stored.id, "app", DeliveryChanges())
        delivery = await it.store.deliveries.get(id_)
    assert (delivery.target, delivery.action, delivery.reason) == ("app", "forward", DeliveryReason.REPLAY)
    assert delivery.changes == DeliveryChanges(sign=SignMode.AUTO)
    assert it.signals[-1] == DeliveryChanged(id_, stored.id, "pending")


async def test_a_replay_to_an_address_keeps_the_address_and_the_edits(world):
    async with world() as it:
        stored = await it.event()
        edits = DeliveryChanges(sign=SignMode.ORIGINAL, method="PUT", body=b"x", headers=(("A", "b"),))
        id_ = await it.replays.replay_event(stored.id, "http://localhost:9/x", edits)
        delivery = await it.store.deliveries.get(id_)
    assert delivery.target == "http://localhost:9/x"
    assert delivery.changes == DeliveryChanges(
        url="http://localhost:9/x", sign=SignMode.ORIGINAL, method="PUT", body=b"x", headers=(("A", "b"),)
    )


@pytest.mark.parametrize(
    ("to", "error", "words"),
    [
        ("gone", NotFoundError, "no target 'gone'"),
        ("", NotFoundError, "no target ''"),
        ("localhost:3000:1", NotFoundError, "no target 'localhost:3000:1'"),
        ("ftp://x", TargetError, "http:// or https://"),
        ("http://169.254.169.254/", TargetError, "metadata"),
        ("http://10.0.0.1/", TargetError, "neither on this computer"),
        ("http://127.0.0.1:8400/", TargetError, "relay itself"),
        ("http://user:pw@localhost/", TargetError, "password"),
        ("http://nowhere.invalid/", TargetError, "cannot find the host"),
        ("http://localhost/" + "x" * 100_000, TargetError, "limited to 4096"),
    ],
)
async def test_a_replay_to_nowhere_is_refused_at_once(world, to, error, words):
    own = frozenset({("127.0.0.1", 8400)})
    async with world(rules=lambda typed: EgressRules(typed=typed, own=own)) as it:
        stored = await it.event()
        with pytest.raises(error, match=words):
            await it.replays.replay_event(stored.id, to, DeliveryChanges())
        assert await it.store.deliveries.page() == ()


async def test_what_is_not_there_cannot_be_replayed(world):
    async with world() as it:
        for asked in (
            it.replays.replay_event(99, "app", DeliveryChanges()),
            it.replays.retry_delivery(99),
            it.replays.cancel_delivery(99),
        ):
            with pytest.raises(NotFoundError):
                await asked


async def test_a_mail_that_would_fail_at_once_is_refused_at_once(world, receipt):
    async with world(emails={"receipt": receipt}) as it:
        stored = await it.event()
        event = await it.store.events.get(stored.id)
        with pytest.raises(NotFoundError, match="no mail template 'welcome'"):
            await it.replays.email_event(event, "welcome", ())
        for to in ("a@b, c@d", "a@b\r\nBcc: c@d", "nobody"):
            with pytest.raises(MailError, match="is not one mail address"):
                await it.replays.email_event(event, "receipt", (to,))
        mail = await it.replays.email.preview(event, "receipt", ())
        assert (mail.to, mail.subject, mail.text) == (("ada@example.com",), "Paid", "#1")
        assert await it.store.deliveries.page() == ()


async def test_a_waiting_delivery_can_be_given_up_and_taken_up_again(world):
    async with world() as it:
        stored = await it.event("app")
        (id_,) = stored.deliveries
        assert (await it.replays.cancel_delivery(id_)).state == "cancelled"
        assert it.signals[-1] == DeliveryChanged(id_, stored.id, "cancelled")
        with pytest.raises(UsageError, match="not waiting"):
            await it.replays.cancel_delivery(id_)
        assert (await it.replays.retry_delivery(id_)).state == "pending"
        assert it.signals[-1] == DeliveryChanged(id_, stored.id, "pending")


def test_edits_are_made_fit_for_the_wire():
    changes = encode_changes(
        DeliveryChanges(method="PUT", path="/a b/ü?%2F", query="x=a b&y=ü#", headers=(("A", "caf\xc3\xa9"),))
    )
    assert changes.path == "/a%20b/%C3%BC%3F%2F"
    assert changes.query == "x=a%20b&y=%C3%BC%23"
    assert encode_changes(DeliveryChanges()) == DeliveryChanges()


@pytest.mark.parametrize(
    "changes",
    [
        DeliveryChanges(method=""),
        DeliveryChanges(method="GET /"),
        DeliveryChanges(method="GET\r\n"),
        DeliveryChanges(method="X" * 65),
        DeliveryChanges(path="x"),
        DeliveryChanges(path=""),
        DeliveryChanges(path="//a\r\nX: y"),
        DeliveryChanges(path="/\0"),
        DeliveryChanges(path="/\ud800"),
        DeliveryChanges(query="a\n"),
        DeliveryChanges(headers=(("", "x"),)),
        DeliveryChanges(headers=(("A B", "x"),)),
        DeliveryChanges(headers=(("A:", "x"),)),
        DeliveryChanges(headers=(("A", "x\r\nB: y"),)),
        DeliveryChanges(headers=(("A", "\0"),)),
        DeliveryChanges(headers=(("A", "\u2028"),)),
    ],
)
def test_edits_that_would_break_a_request_apart_are_refused(changes):
    with pytest.raises(UsageError):
        encode_changes(changes)


@pytest.mark.parametrize(
    ("path", "query", "wanted"),
    [
        ("/x?a=1", None, ("/x", "a=1")),
        ("/x?", None, ("/x", "")),
        ("/x?a=b?c", None, ("/x", "a=b?c")),
        ("/x?a", "b=2", ("/x%3Fa", "b=2")),
        ("/x", None, ("/x", None)),
    ],
)
def test_a_path_with_a_question_mark_is_split(path, query, wanted):
    changes = encode_changes(DeliveryChanges(path=path, query=query))
    assert (changes.path, changes.query) == wanted
