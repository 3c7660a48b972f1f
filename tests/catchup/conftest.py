"""Local stand-ins of the APIs that past events are fetched from, answering as their documentation says."""

import asyncio
import base64
import hashlib
import hmac
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

GITHUB_SECRET = "It's a Secret to Everybody"
TOKENS = {
    "GITHUB_TOKEN": "ghp_local_token_0123456789",
    "STRIPE_API_KEY": "sk_test_local_0123456789",
    "SVIX_AUTH_TOKEN": "testsk_local_0123456789",
}


def ago(**span):
    return datetime.now(UTC) - timedelta(**span)


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class StandIn:
    """A provider's API on loopback. `answers` come before any other: (status, headers, body), in turn.

    `calls` are the paths with their queries, `page` how many items a page holds at most.
    """

    token: str = ""
    page: int = 100
    items: list = field(default_factory=list)
    gone: set = field(default_factory=set)  # keys that are listed, and are not there any more
    answers: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request):
        self.calls.append(request.path_qs)
        await self.gate.wait()
        if self.answers:
            status, headers, body = self.answers.pop(0)
            if status == 0:
                request.transport.abort()
            if status:
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                return web.Response(status=status, headers=headers, body=text)
        if not self.admits(request):
            return web.json_response({"message": "Bad credentials", "error": {"message": "no"}}, status=401)
        return self.answer(request)

    def admits(self, request):
        return request.headers.get("Authorization") == f"Bearer {self.token}"

    def answer(self, request):
        raise NotImplementedError


class GitHub(StandIn):
    """Deliveries of one hook, newest first, paged by a cursor in the Link header."""

    owner = "/repos/octo/cat"
    hooks = ({"id": 7, "active": True, "config": {"url": "https://old.example/webhooks/github"}},)
    public_key = None

    def admits(self, request):
        assert request.headers["Accept"] == "application/vnd.github+json"
        assert request.headers["X-GitHub-Api-Version"] == "2022-11-28"
        assert request.headers["User-Agent"].startswith("webhook-relay/")
        if self.public_key is None:
            return super().admits(request)
        token = request.headers["Authorization"].removeprefix("Bearer ")
        signed, _, signature = token.rpartition(".")
        self.public_key.verify(_decoded(signature), signed.encode(), PKCS1v15(), SHA256())
        claims = json.loads(_decoded(signed.split(".")[1]))
        now = datetime.now(UTC).timestamp()
        return claims["iss"] == "12345" and claims["iat"] < now < claims["exp"] <= now + 600

    def deliver(self, event, payload, when, *, guid="", id_=0, secret=GITHUB_SECRET, **more):
        """Add a delivery that failed, as GitHub keeps it, its signature that of the bytes it sent."""
        number = id_ or 1000 + len(self.items)
        guid = guid or f"0b989ba4-242f-11e5-81e1-{number:012d}"
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
        made = "sha256=" + hmac.new(secret.encode(), more.pop("signed", body), hashlib.sha256).hexdigest()
        self.items.insert(
            0,
            {
                "id": number,
                "guid": guid,
                "delivered_at": iso(when),
                "redelivery": False,
                "duration": 0.27,
                "status": "failed to connect to host",
                "status_code": 502,
                "event": event,
                "action": payload.get("action"),
                "installation_id": None,
                "repository_id": 1296269,
                "url": "https://old.example/webhooks/github",
                "request": {
                    "headers": {
                        "Accept": "*/*",
                        "User-Agent": "GitHub-Hookshot/b8c71d8",
                        "X-GitHub-Delivery": guid,
                        "X-GitHub-Event": event,
                        "X-GitHub-Hook-ID": "7",
                        "X-Hub-Signature-256": made,
                        "content-type": "application/json",
                    },
                    "payload": payload,
                },
                "response": {"headers": {}, "payload": ""},
            }
            | more,
        )
        return guid

    def answer(self, request):
        path = request.path
        if path == f"{self.owner}/hooks":
            return web.json_response(list(self.hooks))
        where = "/app/hook/deliveries" if self.owner == "/app" else f"{self.owner}/hooks/7/deliveries"
        if path.startswith(f"{where}/"):
            number = path.rpartition("/")[2]
            found = [item for item in self.items if str(item["id"]) == number and item["guid"] not in self.gone]
            return web.json_response(found[0]) if found else web.json_response({"message": "Not Found"}, status=404)
        if path != where:
            return web.json_response({"message": "Not Found"}, status=404)
        start = int(request.query.get("cursor", "v1_0").removeprefix("v1_"))
        size = min(self.page, int(request.query["per_page"]))
        listed = self.items[start : start + size]
        plain = [
            {name: value for name, value in item.items() if name not in ("request", "response", "url")}
            for item in listed
        ]
        headers = {}
        if start + size < len(self.items):
            after = f"{self.url}{where}?per_page={size}&cursor=v1_{start + size}"
            headers["Link"] = f'<{after}>; rel="next"'
        return web.json_response(plain, headers=headers)


class Stripe(StandIn):
    """Events of an account, newest first, paged by `starting_after`."""

    def happen(self, type_, when, id_="", *, delivered=False, **object_):
        number = len(self.items) + 1
        event = {
            "id": id_ or f"evt_{number:024d}",
            "object": "event",
            "api_version": "2026-06-30.dahlia",
            "created": int(when.timestamp()),
            "data": {"object": {"id": f"pi_{number}", "object": "payment_intent", "amount": 1999} | object_},
            "livemode": False,
            "pending_webhooks": 0 if delivered else 1,
            "request": {"id": None, "idempotency_key": None},
            "type": type_,
        }
        self.items.insert(0, event)
        return event["id"]

    def answer(self, request):
        assert request.path == "/v1/events"
        asked = request.query
        known = {"limit", "created[gte]", "starting_after", "delivery_success", "type"}
        assert {name for name in asked if not name.startswith("types[")} <= known
        found = [event for event in self.items if event["created"] >= int(asked["created[gte]"])]
        if asked.get("delivery_success") == "false":
            found = [event for event in found if event["pending_webhooks"]]
        if "starting_after" in asked:
            ids = [event["id"] for event in found]
            found = found[ids.index(asked["starting_after"]) + 1 :]
        size = min(self.page, int(asked["limit"]))
        return web.json_response(
            {"object": "list", "url": "/v1/events", "has_more": len(found) > size, "data": found[:size]}
        )


class Svix(StandIn):
    """Messages of an endpoint, newest first, paged by an iterator."""

    path = "/api/v1/app/app_1/endpoint/ep_1/msg"

    def message(self, type_, when, payload, id_=""):
        id_ = id_ or f"msg_{len(self.items) + 1:027d}"
        self.items.insert(
            0,
            {
                "eventType": type_,
                "payload": payload,
                "id": id_,
                "timestamp": when.isoformat().replace("+00:00", "Z"),
                "status": 2,
                "statusText": "fail",
            },
        )
        return id_

    def answer(self, request):
        if request.path != self.path:
            return web.json_response({"code": "not_found", "detail": "Entity not found"}, status=404)
        asked = request.query
        assert asked["with_content"] == "true"
        since = datetime.fromisoformat(asked["after"])
        found = [item for item in self.items if datetime.fromisoformat(item["timestamp"]) >= since]
        if "iterator" in asked:
            ids = [item["id"] for item in found]
            found = found[ids.index(asked["iterator"]) + 1 :]
        size = min(self.page, int(asked["limit"]))
        listed = found[:size]
        return web.json_response(
            {
                "data": listed,
                "iterator": listed[-1]["id"] if listed else None,
                "prevIterator": None,
                "done": len(found) <= size,
            }
        )


def _decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.fixture
async def serve():
    """Start an app of aiohttp on loopback and return its port."""
    async with AsyncExitStack() as stack:

        async def go(handle):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app, shutdown_timeout=0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            return runner.addresses[0][1]

        yield go


@pytest.fixture
async def stand_in(serve):
    """Start a stand-in and return it."""
    made = []

    async def go(kind, token):
        provider = kind(token=token)
        provider.gate.set()
        provider.port = await serve(provider.handle)
        made.append(provider)
        return provider

    yield go
    for provider in made:
        provider.gate.set()


@pytest.fixture
async def github(stand_in):
    return await stand_in(GitHub, TOKENS["GITHUB_TOKEN"])


@pytest.fixture
async def stripe(stand_in):
    return await stand_in(Stripe, TOKENS["STRIPE_API_KEY"])


@pytest.fixture
async def svix(stand_in):
    return await stand_in(Svix, TOKENS["SVIX_AUTH_TOKEN"])


@pytest.fixture
def environ(secrets):
    """The secrets of every source and the credentials of every API."""
    return secrets | TOKENS | {"SVIX_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}


@pytest.fixture
def tables():
    """Return a relay.toml that catches up with a stand-in, with whatever stands below or beside that."""

    def go(provider, more="", above=""):
        match provider:
            case GitHub():
                name, lines = "github", ""
                if provider.owner == "/repos/octo/cat" and "repository" not in more:
                    lines = 'repository = "octo/cat"\nhook = 7'
            case Stripe():
                name, lines = "stripe", ""
            case Svix():
                name, lines = "svix", 'app = "app_1"\nendpoint = "ep_1"'
        table = f'[sources.{name}]\n{above}\n[sources.{name}.catch_up]\nbase_url = "{provider.url}"\n'
        return f"{table}{lines}\n{more}\n"

    return go


@pytest.fixture
def catch_up():
    """Ask a relay to catch up: `status, answer = await catch_up(at, "github", since="2h")`."""

    async def go(at, source, since="2h", **more):
        return await at.api("/api/catch-up", "POST", json={"source": source, "since": since, **more})

    return go


@pytest.fixture
def events():
    """Return the events of a relay that match, oldest first, whole."""

    async def go(at, query=""):
        _, page = await at.api("/api/events", params={"q": query})
        return [(await at.api(f"/api/events/{row['id']}"))[1] for row in page["events"][::-1]]

    return go
