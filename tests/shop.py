"""Apps that take webhooks well or badly, one a path, on a real aiohttp server in a thread of its own."""

import asyncio
import threading

import stripe
from aiohttp import web


class Shop:
    """`got` is every request by path, `statuses` what `/told` answers in turn, `slowness` how long each answer takes.

    `hold` keeps every answer back until `release`.
    """

    def __init__(self, secret):
        self.secret = secret
        self.got = []
        self.statuses = []
        self.slowness = 0.0
        self.at_once = self.most_at_once = 0
        self._seen, self._orders, self._newest = set(), 0, {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._up = threading.Event()
        self._open = asyncio.Event()
        self._open.set()

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/{path}"

    def bodies(self, path):
        return [body for name, _, body in self.got if name == path]

    def headers(self, path):
        return [headers for name, headers, _ in self.got if name == path]

    def open(self):
        self._thread.start()
        assert self._up.wait(60)

    def hold(self):
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self):
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self):
        self.release()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _start(self):
        app = web.Application()
        app.router.add_post("/{name}", self._take)
        app.router.add_get("/orders", self._tell_orders)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=256).start()
        self.port = self._runner.addresses[0][1]

    async def _tell_orders(self, _):
        return web.Response(text=f"{self._orders}\n")

    async def _take(self, request):
        name, body = request.match_info["name"], await request.read()
        self.got.append((name, dict(request.headers), body))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.slowness)
            await self._open.wait()
            return await getattr(self, f"take_{name}")(request, body)
        finally:
            self.at_once -= 1

    async def take_idempotent(self, request, body):
        """Acts on an event once, and says when it has it already."""
        id_ = (await request.json())["id"]
        new = id_ not in self._seen
        self._seen.add(id_)
        return web.json_response({"new": new}, status=201 if new else 200)

    async def take_counting(self, request, body):
        """Acts on every copy."""
        self._orders += 1
        return web.json_response({"order": self._orders})

    async def take_unique(self, request, body):
        """Falls over a unique key at the second copy."""
        id_ = (await request.json())["id"]
        if id_ in self._seen:
            return web.json_response({"error": "duplicate key"}, status=500)
        self._seen.add(id_)
        return web.Response()

    async def take_racing(self, request, body):
        """Looks whether it has an event, and keeps it a moment later: in between there is room for others."""
        id_ = (await request.json())["id"]
        known = id_ in self._seen
        await asyncio.sleep(0.05)
        self._seen.add(id_)
        self._orders += not known
        return web.json_response({"order": None if known else self._orders})

    async def take_silent(self, request, body):
        """Races as `racing` does, and answers the same whatever it did."""
        await self.take_racing(request, body)
        return web.Response(text="ok")

    async def take_ordered(self, request, body):
        """Takes step n only after step n - 1."""
        step = (await request.json())["step"]
        before = self._newest.get("step", 0)
        if step not in (1, before + 1):
            return web.Response(status=409, text="out of order")
        self._newest["step"] = step
        return web.Response()

    async def take_verifying(self, request, body):
        """Checks signatures as Stripe's own library does."""
        try:
            stripe.Webhook.construct_event(body, request.headers.get("Stripe-Signature", ""), self.secret)
        except stripe.SignatureVerificationError as error:
            return web.Response(status=401, text=str(error))
        except ValueError:
            return web.Response(status=400, text="not JSON")
        return web.Response(text="thanks")

    async def take_trusting(self, request, body):
        """Believes anybody."""
        return web.Response(text="thanks")

    async def take_refusing(self, request, body):
        """Takes nothing at all."""
        return web.Response(status=403)

    async def take_told(self, request, body):
        """Answers what it is told to, then 200."""
        status = self.statuses.pop(0) if self.statuses else 200
        if not status:
            request.transport.abort()
        headers = {"X-Slack-No-Retry": "1"} if status == 418 else {}
        return web.Response(status=status or 200, headers=headers)
