"""The yardstick: an aiohttp receiver that reads the body, stores nothing and answers 200."""

import asyncio
import sys

from aiohttp import web


async def main(port: int) -> None:
    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text='{"success": true}', content_type="application/json")

    app = web.Application()
    app.router.add_post("/webhooks/github", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
