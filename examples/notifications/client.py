"""The client's endpoint: takes notifications and prints them. `python client.py [PORT]`."""

import asyncio
import sys

from aiohttp import web


async def take(request: web.Request) -> web.Response:
    notification = await request.json()
    print(f"{notification['event_type']} {notification['event_id']}: {notification['description']}", flush=True)
    return web.Response(status=204)


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_post("/notifications", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"waiting for notifications on http://127.0.0.1:{runner.addresses[0][1]}/notifications", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9000))
    except KeyboardInterrupt:
        print("stopped")
