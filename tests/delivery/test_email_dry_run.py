import pytest

from relay.actions.mail import EmailOptions
from relay.delivery.email_dry_run import DryRunRequest, EmailDryRun
from relay.model.delivery import Route
from relay.model.mail import DryRunOutcome

WELCOME = EmailOptions(name="welcome", to=("ops@example.com",), subject="Hi", text="#{{ event.id }}")
OFTEN = EmailOptions(name="often", to=("ops@example.com",), subject="Hi", text="x", once=False)


@pytest.fixture
def rehearsed(world):
    """Rehearse one event that nothing was owed for, by these routes, and return target and outcome of each mail."""

    async def go(routes, targets, **wanted):
        templates = {"welcome": WELCOME, "often": OFTEN}
        async with world(emails=templates) as it:
            await it.event()
            rehearsals = EmailDryRun(
                store=it.store, clock=it.clock, email=it.actions["email"], routes=routes, targets=targets
            )
            found = await rehearsals.list_mails(DryRunRequest(query="", limit=1, **wanted))
            assert await it.store.deliveries.page() == ()
            assert await it.store.messages.page() == ()
        return [(mail.target, mail.outcome, mail.why) for mail in found.mails]

    return go


async def test_of_two_targets_with_one_template_the_first_sends(rehearsed):
    route = Route(targets=("one", "two"))
    assert await rehearsed((route,), {"one": WELCOME, "two": WELCOME}) == [
        ("one", DryRunOutcome.SEND, ""),
        ("two", DryRunOutcome.SENT, "it goes out for this event already, to one"),
    ]
    assert await rehearsed((route,), {"one": OFTEN, "two": OFTEN}) == [
        ("one", DryRunOutcome.SEND, ""),
        ("two", DryRunOutcome.SEND, ""),
    ]


async def test_a_target_is_led_to_when_any_route_leads_there(rehearsed):
    routes = (Route(targets=("one",), when="false"), Route(targets=("one", "app")), Route(targets=("one",)))
    assert await rehearsed(routes, {"one": WELCOME}) == [("one", DryRunOutcome.SEND, "")]


async def test_every_reason_why_no_route_leads_there_is_told(rehearsed):
    routes = (Route(targets=("one",), when="1 > 2"), Route(targets=("one",), when="payload.x.y"))
    ((target, outcome, why),) = await rehearsed(routes, {"one": WELCOME})
    assert (target, outcome) == ("one", DryRunOutcome.UNTAKEN)
    assert why.startswith("when 1 > 2 is false; when cannot be judged: ")


async def test_routes_of_other_sources_and_types_are_not_spoken_of(rehearsed):
    routes = (Route(targets=("one",), sources=("github",)), Route(targets=("one",), events=("invoice.*",)))
    assert await rehearsed(routes, {"one": WELCOME}) == []


@pytest.mark.parametrize(
    ("wanted", "targets"),
    [
        ({"target": "two"}, ["two"]),
        ({"template": "often", "target": "two"}, ["two"]),
        ({"template": "often", "target": "one"}, []),
        ({"template": "often"}, [""]),
    ],
)
async def test_it_may_be_one_target_or_one_template_alone(rehearsed, wanted, targets):
    found = await rehearsed((Route(targets=("one", "two")),), {"one": WELCOME, "two": OFTEN}, **wanted)
    assert [target for target, *_ in found] == targets
