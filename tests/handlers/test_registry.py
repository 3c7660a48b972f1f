"""What a handlers file means, run in this process: no relay is needed for that."""

import asyncio
import re
from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest

from relay import Event, Failed, Retry
from relay.errors import HandlersError
from relay.handlers import Headers, load_handlers
from relay.model import delivery

ORDER = """
    seen = []

    @on("*")
    def last(event):
        seen.append("last")

    @use
    async def first(event):
        seen.append("first")

    @use("github")
    def elsewhere(event):
        seen.append("elsewhere")

    @on("stripe", "invoice.*")
    async def invoices(event):
        seen.append("invoices")

    @use("stripe", "invoice.paid")
    def second(event):
        seen.append("second")
"""


def seen(handlers):
    return handlers.rules[0].function.__globals__["seen"]


async def test_every_use_runs_before_every_handler_each_in_the_order_of_the_file(loaded, event):
    handlers = loaded(ORDER)
    ran = await handlers.run(event())
    assert seen(handlers) == ["first", "second", "last", "invoices"]
    assert ran.outcome == delivery.AttemptSucceeded("last ran; invoices ran")


@pytest.mark.parametrize(
    ("decorator", "source", "type_", "runs"),
    [
        ('@on("stripe")', "stripe", "anything", True),
        ('@on("stripe")', "github", "anything", False),
        ('@on("stripe", "invoice.paid")', "stripe", "invoice.paid", True),
        ('@on("stripe", "invoice.paid")', "stripe", "invoice.paid.late", False),
        ('@on("stripe", "charge.*", "invoice.*")', "stripe", "invoice.voided", True),
        ('@on("stripe", "invoice.*")', "stripe", "Invoice.paid", False),
        ('@on("*", "ping")', "github", "ping", True),
        ('@on("*", "ping")', "github", "push", False),
        ('@on("stripe-*")', "stripe-connect", "anything", True),
    ],
)
async def test_a_handler_gets_the_events_its_patterns_fit(loaded, event, decorator, source, type_, runs):
    handlers = loaded(f"{decorator}\ndef it(event):\n    pass\n")
    ran = await handlers.run(event(source=source, type=type_))
    assert ran.outcome == delivery.AttemptSucceeded("it ran" if runs else f"no handler is for {type_}")


async def test_one_function_may_stand_below_several_decorators_and_share_its_name(loaded, event):
    handlers = loaded("""
        seen = []

        @on("github", "push")
        @on("stripe", "invoice.paid")
        def _(event):
            seen.append("both")

        @on("stripe")
        def _(event):
            seen.append("stripe")
    """)
    await handlers.run(event())
    await handlers.run(event(source="github", type="push"))
    assert seen(handlers) == ["both", "stripe", "both"]


async def test_two_files_and_a_file_loaded_twice_know_nothing_of_each_other(loaded, event):
    one = loaded("@on('stripe')\ndef one(event):\n    pass\n")
    two = loaded("@on('stripe')\ndef two(event):\n    pass\n")
    assert [rule.name for rule in one.rules] == ["one"]
    assert [rule.name for rule in two.rules] == ["two"]
    assert (await two.run(event())).outcome.detail == "two ran"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("return None", delivery.AttemptSucceeded("it ran")),
        ("return Retry('not yet')", delivery.AttemptRetry("not yet", firm=True)),
        ("raise Retry('not yet', after=30)", delivery.AttemptRetry("not yet", after=30, firm=True)),
        ("return Retry(after=0)", delivery.AttemptRetry("it asks for another try", after=0, firm=True)),
        ("return Retry", delivery.AttemptRetry("it asks for another try", firm=True)),
        ("raise Failed('no such order')", delivery.AttemptFailed("no such order")),
        ("raise Failed", delivery.AttemptFailed("it gave up")),
        ("return Failed(Odd())", delivery.AttemptFailed("a Odd that cannot be shown: RuntimeError")),
        ("raise NotYet()", delivery.AttemptRetry("it asks for another try", firm=True)),
        ("return 'ok'", delivery.AttemptSucceeded("it ran; the str it returned means nothing here")),
        ("return [Failed]", delivery.AttemptSucceeded("it ran; the list it returned means nothing here")),
        ("return later(event)", delivery.AttemptRetry("from a coroutine", firm=True)),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_an_answer_is_nothing_retry_or_failed_returned_or_raised(loaded, event, kind, body, outcome):
    if kind == "async def":
        body = body.replace("later(event)", "await later(event)")
    handlers = loaded(f"""
        class NotYet(Retry):
            def __init__(self):
                pass

        class Odd:
            def __str__(self):
                raise RuntimeError

        async def later(event):
            return Retry("from a coroutine")

        @on("stripe")
        {kind} it(event):
            {body}
    """)
    assert (await handlers.run(event())).outcome == outcome


async def test_an_answer_of_use_ends_the_run(loaded, event):
    handlers = loaded("""
        seen = []

        @use
        def guard(event):
            if event.verdict != "verified":
                return Failed("not verified")

        @use
        def after(event):
            seen.append("after")

        @on("stripe")
        def it(event):
            seen.append("it")
    """)
    assert (await handlers.run(event())).outcome == delivery.AttemptFailed("not verified")
    assert seen(handlers) == []
    assert (await handlers.run(event(verdict="verified"))).outcome == delivery.AttemptSucceeded("it ran")
    assert seen(handlers) == ["after", "it"]


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (("None", "Failed('b')"), delivery.AttemptFailed("b")),
        (("Failed('a')", "Retry('b')"), delivery.AttemptRetry("a; b", firm=True)),
        (("Retry('a', after=9)", "Retry('b', after=7)"), delivery.AttemptRetry("a; b", after=9, firm=True)),
        (("Retry('a')", "None"), delivery.AttemptRetry("a", firm=True)),
    ],
)
async def test_all_handlers_of_an_event_run_and_a_retry_counts_before_a_failure(loaded, event, answers, outcome):
    handlers = loaded(f"""
        seen = []

        @on("stripe")
        def one(event):
            seen.append(1)
            return {answers[0]}

        @on("stripe")
        def two(event):
            seen.append(2)
            return {answers[1]}
    """)
    assert (await handlers.run(event())).outcome == outcome
    assert seen(handlers) == [1, 2]


@pytest.mark.parametrize(
    "error",
    [
        "ValueError('no amount')",
        "SystemExit(3)",
        "KeyboardInterrupt",
        "GeneratorExit",
        "StopIteration",
        "RuntimeError('nothing') from StopIteration()",
        "StopAsyncIteration",
        "asyncio.CancelledError",
        "ExceptionGroup('two', [ValueError(), TypeError()])",
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_whatever_is_raised_is_a_retry_with_its_place(loaded, event, kind, error):
    handlers = loaded(f"""
        import asyncio

        @on("stripe")
        {kind} it(event):
            raise {error}
    """)
    async with asyncio.timeout(60):
        ran = await handlers.run(event())
    assert isinstance(ran.outcome, delivery.AttemptRetry)
    assert ran.outcome.detail.startswith("handler it failed: ")
    assert error.partition("(")[0].rpartition(".")[2] in ran.outcome.detail
    assert re.search(r" \(\S+\.py, line \d+\)$", ran.outcome.detail)
    assert f"raise {error}" in ran.traceback


async def test_a_run_that_is_cancelled_from_outside_is_not_taken_for_an_answer(loaded, event):
    handlers = loaded("""
        import asyncio

        @on("stripe")
        async def it(event):
            await asyncio.sleep(60)
    """)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await handlers.run(event())


async def test_a_traceback_shows_the_users_own_lines_and_no_others(loaded, event, write):
    write("import json\ndef read(text):\n    return json.loads(text)\n", "helping.py", head="")
    handlers = loaded("""
        import helping

        @on("stripe")
        async def it(event):
            try:
                helping.read("{")
            except ValueError as error:
                raise RuntimeError("cannot read it") from error
    """)
    ran = await handlers.run(event())
    name = handlers.path.name
    assert ran.outcome.detail == f"handler it failed: RuntimeError: cannot read it ({name}, line 11)"
    frames = [line.strip() for line in ran.traceback.splitlines() if line.startswith('  File "')]
    assert frames == [
        f'File "{name}", line 9, in it',
        'File "helping.py", line 3, in read',
        f'File "{name}", line 11, in it',
    ]
    assert "return json.loads(text)" in ran.traceback
    assert "json.decoder.JSONDecodeError" in ran.traceback
    assert ran.traceback.endswith("RuntimeError: cannot read it\n")


async def test_the_event_loop_goes_on_while_a_plain_function_sleeps(loaded, event):
    handlers = loaded("""
        import threading

        release = threading.Event()

        @on("stripe")
        def it(event):
            assert release.wait(60)
    """)
    release = handlers.rules[0].function.__globals__["release"]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(handlers.run(event()))
        await asyncio.sleep(0)
        release.set()
    assert running.result().outcome == delivery.AttemptSucceeded("it ran")


def test_an_event_is_frozen_and_can_be_made_by_hand(event):
    made = Event(source="stripe", type="invoice.paid", payload={"id": 1})
    assert (made.payload, made.raw, made.verdict, dict(made.headers)) == ({"id": 1}, b"", "unchecked", {})
    assert repr(made) == "<Event 0 invoice.paid from stripe, unchecked>"
    with pytest.raises(FrozenInstanceError):
        made.type = "other"  # type: ignore[misc]  # that is the claim


def test_headers_are_found_in_any_case_and_listed_as_received():
    headers = Headers((("X-One", "1"), ("x-Two", "a"), ("X-TWO", "b")))
    assert headers["x-one"] == headers["X-ONE"] == "1"
    assert headers["X-Two"] == "a, b"
    assert headers.all("x-two") == ("a", "b")
    assert list(headers) == ["X-One", "x-Two"]
    assert (len(headers), "X-one" in headers, "other" in headers, 5 in headers) == (2, True, False, False)
    assert headers.get("other") is None
    assert dict(headers) == {"X-One": "1", "x-Two": "a, b"}
    assert Headers({"A": "1"})["a"] == "1"


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf"), timedelta(seconds=-1)])
def test_a_wait_that_is_none_is_refused_where_it_stands(after):
    with pytest.raises(ValueError, match="is not a wait"):
        Retry("later", after=after)
    assert Retry(after=timedelta(minutes=2)).after == 120
    assert str(Failed("gone")) == "gone"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@on\ndef it(event): pass", "line 3: TypeError: @on needs a source"),
        ("@on('stripe', 5)\ndef it(event): pass", "line 3: TypeError: @on takes patterns of event types as text"),
        ("@on('stripe')\ndef it(): pass", "line 3: TypeError: it is called with one event"),
        ("@on('stripe')\ndef it(event, more): pass", "line 3: TypeError: it is called with one event"),
        ("@on('stripe')\ndef it(event): yield", "line 3: TypeError: it has a yield"),
        ("@on('stripe')\nasync def it(event): yield", "line 3: TypeError: it has a yield"),
        ("on('stripe')(5)", "line 3: TypeError: @on stands above a function"),
        ("def it(event)\n    pass", "line 3: SyntaxError: expected ':'"),
        ("x = 1\nimport no_such_module_here", "line 4: ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("1 / 0", "line 3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(2)", "line 4: SystemExit: 2"),
        ("def it(event): pass", " has no function below @on"),
        ("@use\ndef it(event): pass", " has no function below @on"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_run_is_an_error_with_its_line(loaded, text, said):
    with pytest.raises(HandlersError) as raised:
        loaded(text)
    name = raised.value.message.partition(".py")[0] + ".py"
    assert name.startswith("handlers_")
    assert raised.value.message.removeprefix(name).removeprefix(", ").startswith(said)


def test_a_file_that_is_not_there_is_an_error(tmp_path, write):
    with pytest.raises(HandlersError, match=r"there is no file gone\.py"):
        load_handlers(tmp_path / "gone.py")
    with pytest.raises(HandlersError, match="is a folder"):
        load_handlers(tmp_path)


def test_a_mistake_in_a_neighbour_is_told_with_the_neighbours_line(loaded, write):
    write("def broken(:\n", "neighbour_with_a_mistake.py", head="")
    with pytest.raises(HandlersError, match=r"^neighbour_with_a_mistake\.py, line 1: SyntaxError"):
        loaded("import neighbour_with_a_mistake\n")
