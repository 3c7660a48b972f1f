"""How a provider's API is asked: limits kept, refusals in one sentence, the credential shown to nobody else."""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from relay.catchup.base import Access, ApiResponse, select_headers
from relay.catchup.client import LARGEST_RESPONSE, open_client
from relay.catchup.github import GitHubHook
from relay.catchup.stripe import StripeEvents
from relay.catchup.svix import SvixMessages, base_url
from relay.errors import CatchUpError, CredentialError, ListingNotFoundError
from relay.model.parsing import MAX_VALUES
from relay.model.secret import Secret

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKEN = "tok_0123456789abcdef"


class Clock:
    """Time that passes only where somebody waits for it."""

    def __init__(self):
        self.at = NOW
        self.waits = []

    def now(self):
        return self.at

    def monotonic(self):
        return self.at.timestamp()

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.at += timedelta(seconds=seconds)
        await asyncio.sleep(0)


def access(port=1, **more):
    known: dict[str, Any] = {
        "title": "GitHub",
        "base_url": f"http://127.0.0.1:{port}",
        "credential": Secret("env:GITHUB_TOKEN", TOKEN),
        "reference": "env:GITHUB_TOKEN",
        "needs": "a token",
    }
    return Access(**known | more)


@pytest.fixture
async def asking(serve):
    """Ask an API that gives the answers handed in, in turn, and the last of them for ever."""
    clock, told, seen = Clock(), [], []

    async def ask(*answers, patience=None):
        left = list(answers)

        async def handle(request):
            seen.append(request)
            answer = left.pop(0) if len(left) > 1 else left[0]
            return await answer(request) if callable(answer) else web.Response(**answer)

        more = {"timeout": patience} if patience else {}
        return open_client(
            access(await serve(handle)),
            headers=lambda _: {"Authorization": f"Bearer {TOKEN}"},
            clock=clock,
            notify=told.append,
            **more,
        )

    go: Any = ask
    go.clock, go.told, go.seen = clock, told, seen
    return go


GOOD = {"text": '{"ok": true}', "content_type": "application/json"}


async def test_what_the_provider_asks_to_wait_is_waited(asking):
    limited = {"status": 429, "headers": {"Retry-After": "7"}}
    async with await asking(limited, GOOD) as api:
        assert (await api.get("/x", {"a": "1 2"})).value == {"ok": True}
    assert asking.clock.waits == [7.0]
    assert asking.told == ["waits 7 s, for GitHub answered 429"]
    assert asking.seen[0].path_qs == "/x?a=1+2"


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (
            {"status": 429, "headers": {"Retry-After": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}},
            [30.0],
        ),
        (
            {
                "status": 403,
                "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)},
            },
            [91.0],
        ),
        ({"status": 403, "text": '{"message": "You have exceeded a secondary rate limit."}'}, [60.0]),
        ({"status": 429}, [1.0]),
        ({"status": 503}, [1.0]),
        ({"status": 503, "headers": {"Retry-After": "soon"}}, [1.0]),
    ],
)
async def test_limits_are_kept_as_each_provider_tells_them(asking, answer, waits):
    async with await asking(answer, GOOD) as api:
        await api.get("/x")
    assert asking.clock.waits == waits


async def test_a_wait_that_is_too_long_is_told_instead(asking):
    async with await asking({"status": 429, "headers": {"Retry-After": "3600"}}) as api:
        with pytest.raises(CatchUpError, match=r"asks to wait 60 min before the next call \(429\)") as raised:
            await api.get("/x")
    assert "not fetched twice" in raised.value.hint
    assert asking.clock.waits == []


async def test_a_limit_that_is_never_lifted_is_given_up(asking):
    async with await asking({"status": 429, "headers": {"Retry-After": "2"}}) as api:
        with pytest.raises(CatchUpError, match="GitHub answered 429 5 times"):
            await api.get("/x")
    assert asking.clock.waits == [2.0] * 4


async def test_what_stays_broken_is_given_up(asking):
    async with await asking({"status": 502}) as api:
        with pytest.raises(CatchUpError, match="GitHub answered 502 5 times"):
            await api.get("/x")
    assert asking.clock.waits == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (
            {"status": 401, "text": f'{{"message": "Bad {TOKEN}"}}'},
            CredentialError,
            "refuses the credential env:GITHUB_TOKEN",
        ),
        (
            {"status": 403, "text": '{"message": "Resource not accessible"}'},
            CredentialError,
            "(Resource not accessible)",
        ),
        ({"status": 404}, ListingNotFoundError, "knows nothing of that name, or does not show it to env:GITHUB_TOKEN"),
        (
            {"status": 400, "text": f'{{"error": {{"message": "No {TOKEN}\\n"}}}}'},
            CatchUpError,
            "answered 400 (No ••••\\x0a)",
        ),
        ({"status": 422, "text": '{"detail": "bad limit"}'}, CatchUpError, "answered 422 (bad limit)"),
        ({"status": 418, "text": "[1"}, CatchUpError, "GitHub answered 418"),
        ({"text": "<html>"}, CatchUpError, "GitHub answered no JSON (text/plain; charset=utf-8)"),
        ({"text": "[" * 100_000}, CatchUpError, "answered no JSON"),
        ({"text": ""}, CatchUpError, "answered no JSON"),
        ({"status": 204}, CatchUpError, "GitHub answered 204"),
        ({"status": 304}, CatchUpError, "GitHub answered 304"),
    ],
)
async def test_every_refusal_is_one_sentence_without_the_credential(asking, answer, kind, sentence):
    async with await asking(answer) as api:
        with pytest.raises(CatchUpError) as raised:
            await api.get("/x")
    assert type(raised.value) is kind
    assert sentence in raised.value.message
    assert TOKEN not in raised.value.message + raised.value.hint + repr(api.access)
    assert asking.clock.waits == []


async def test_nothing_follows_to_another_host(asking):
    elsewhere = "http://localhost:9/"
    for answer in (
        {"status": 302, "headers": {"Location": elsewhere}},
        {"status": 307, "headers": {"Location": "//localhost:9/x"}},
    ):
        async with await asking(answer) as api:
            with pytest.raises(CatchUpError, match="another host, localhost:9"):
                await api.get("/x")
    async with await asking({**GOOD, "headers": {"Link": f'<{elsewhere}>; rel="next"'}}) as api:
        answer = await api.get("/x")
        with pytest.raises(CatchUpError, match="another host"):
            await api.get(answer.next)


async def test_on_the_same_host_it_follows_a_little_way(asking):
    async with await asking({"status": 301, "headers": {"Location": "/y"}}, GOOD) as api:
        assert (await api.get("/x")).value == {"ok": True}
    assert [request.path for request in asking.seen] == ["/x", "/y"]
    async with await asking({"status": 301, "headers": {"Location": "/x"}}) as api:
        with pytest.raises(CatchUpError, match="in a circle"):
            await api.get("/x")


async def test_the_next_page_is_where_the_link_says(asking):
    async with await asking({**GOOD, "headers": {"Link": '</x?cursor=2>; rel="next", </x>; rel="first"'}}) as api:
        answer = await api.get("/x")
        assert answer == ApiResponse(value={"ok": True}, next=f"{api.access.base_url}/x?cursor=2")


async def test_an_answer_that_is_huge_once_unpacked_is_cut_off(asking):
    packed = gzip.compress(b" " * (LARGEST_RESPONSE + 1_000_000), 9)
    async with await asking({"body": packed, "headers": {"Content-Encoding": "gzip"}}) as api:
        with pytest.raises(CatchUpError, match="larger than 64 MB"):
            await api.get("/x")


async def test_an_answer_of_any_number_of_values_is_read(asking):
    async with await asking({"body": b"[" + b"1," * MAX_VALUES + b"1]"}) as api:
        assert len((await api.get("/x")).value) == MAX_VALUES + 1


async def test_a_slow_answer_is_not_waited_for_for_ever(asking):
    gate = asyncio.Event()

    async def slow(_):
        await gate.wait()

    patience = aiohttp.ClientTimeout(sock_read=0.05)
    async with await asking(slow, patience=patience) as api:
        with pytest.raises(CatchUpError, match=r"cannot be reached at 127\.0\.0\.1:\d+: no answer in time"):
            await api.get("/x")
    gate.set()
    assert len(asking.seen) == 3
    assert "tries again" in asking.told[0]


async def test_a_provider_that_hangs_up_or_is_not_there_is_told(asking, unused_tcp_port):
    async def abort(request):
        request.transport.abort()
        return web.Response()

    async with await asking(abort) as api:
        with pytest.raises(CatchUpError, match="it hung up"):
            await api.get("/x")
    alone = open_client(access(unused_tcp_port), headers=lambda _: {}, clock=Clock(), notify=lambda _: None)
    async with alone as api:
        with pytest.raises(CatchUpError, match="no connection"):
            await api.get("/x")


class Fixed:
    """An API that gives one value, whatever is asked."""

    def __init__(self, value):
        self.value = value

    async def get(self, path, params=None):
        return ApiResponse(value=self.value, next=None)

    def shape_error(self, expected):
        return CatchUpError(f"something other than {expected}")


LISTINGS = (
    GitHubHook(access=access(), owner="/repos/o/r", path="/webhooks/github", hook=7),
    GitHubHook(access=access(), owner="/repos/o/r", path="/webhooks/github"),
    StripeEvents(access=access(), headers_sent=(), indent=2),
    SvixMessages(access=access(), app="a/b", endpoint=None, headers_sent=(), id_header="svix-id"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("id", "guid", "delivered_at", "event", "action", "data", "has_more", "type", "created"),
                    *("eventType", "timestamp", "payload", "done", "iterator", "config", "url"),
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(LISTINGS))
def test_no_answer_whatever_it_holds_does_more_than_fail_in_a_sentence(value, listing):
    async def read():
        pages = listing.pages(Fixed(value), NOW)
        return [found async for page in pages for found in page]

    try:
        found = asyncio.run(read())
    except CatchUpError as error:
        assert error.message.startswith(("something other than", "o/r has"))
    else:
        assert all(one.key and one.sent_at.tzinfo for one in found)


@given(JSON)
def test_only_headers_that_http_can_carry_are_rebuilt(value):
    for name, text in select_headers({"X-A": value, "X B": "1", "X-C": "1\r\nX-D: 2", "": "x", "X-E": "Zoë ☃"}):
        assert name in ("X-A", "X-E")
        assert text.encode("latin-1") == text.encode("latin-1", "ignore")
        assert not set("\r\n\0") & set(text)


@pytest.mark.parametrize(
    ("token", "url"),
    [
        ("testsk_x.eu", "https://api.eu.svix.com"),
        ("sk_x.us", "https://api.us.svix.com"),
        ("sk_x", "https://api.svix.com"),
    ],
)
def test_a_svix_token_names_its_region(token, url):
    assert base_url(token) == url


async def test_json_that_is_heavy_is_read_all_the_same(asking):
    big = json.dumps(["x" * 1000] * 1000)
    async with await asking({"text": big}) as api:
        assert len((await api.get("/x")).value) == 1000
