"""Drives a local headless Chromium over the DevTools protocol, with aiohttp alone."""

import asyncio
import base64
import json
import shutil
import tempfile
from pathlib import Path

import aiohttp

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
KEYS = {
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "ArrowDown": 40,
    "ArrowUp": 38,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "Home": 36,
    "End": 35,
}
CTRL, SHIFT = 2, 8


class Page:
    """One tab: what it logged and what it asked for, and hands to use it with."""

    def __init__(self, browser, session, target):
        self.browser = browser
        self.session = session
        self.target = target
        self.logs = []
        self.requests = []

    async def command(self, method, **parameters):
        return await self.browser.command(method, parameters, self.session)

    async def js(self, expression):
        answer = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description"))
        return answer["result"].get("value")

    async def goto(self, url):
        loaded = self.browser.wait("Page.loadEventFired", self.session)
        await self.command("Page.navigate", url=url)
        await asyncio.wait_for(loaded, 60)
        await self.js("document.fonts.ready.then(() => 1)")

    async def until(self, expression, seconds=60):
        """Wait until a JavaScript expression, or what it promises, is true."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while not await self.js(f"Promise.resolve({expression}).then(value => !!value)"):
            assert loop.time() < ends, f"never came true: {expression}"
            await asyncio.sleep(0.02)

    async def size(self, width, height, scale=1):
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 500,
        )

    async def media(self, scheme="light", motion="no-preference", medium=""):
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        await self.command("Emulation.setEmulatedMedia", media=medium, features=features)

    async def shot(self, path):
        answer = await self.command("Page.captureScreenshot", format="png")
        await asyncio.to_thread(Path(path).write_bytes, base64.b64decode(answer["data"]))

    async def key(self, key, modifiers=0):
        code = KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
        text = key if len(key) == 1 and not modifiers & CTRL else "\r" if key == "Enter" else None
        event = {
            "type": "keyDown" if text else "rawKeyDown",
            "key": key,
            "windowsVirtualKeyCode": code,
            "modifiers": modifiers,
        }
        await self.command("Input.dispatchKeyEvent", **event, **({"text": text} if text else {}))
        await self.command("Input.dispatchKeyEvent", **(event | {"type": "keyUp"}))

    async def write(self, text):
        await self.command("Input.insertText", text=text)

    async def click(self, selector, modifiers=0, button="left"):
        where = await self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'nearest'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.command(
                "Input.dispatchMouseEvent",
                type=kind,
                x=where[0],
                y=where[1],
                button=button,
                clickCount=1,
                modifiers=modifiers,
            )

    async def close(self):
        await self.browser.command("Target.closeTarget", {"targetId": self.target})
        self.browser.pages.pop(self.session, None)


class Browser:
    """One Chromium with a profile of its own, gone when the block ends."""

    async def __aenter__(self):
        self.folder = tempfile.mkdtemp(prefix="relay-browser-")
        self.process = await asyncio.create_subprocess_exec(
            shutil.which("chromium") or "chromium",
            *FLAGS,
            f"--user-data-dir={self.folder}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        port, path = await self._address()
        self.http = aiohttp.ClientSession()
        self.socket = await self.http.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0)
        self.number, self.calls, self.waits, self.pages, self.opened = 0, {}, [], {}, []
        self.reader = asyncio.ensure_future(self._read())
        await self.command("Target.setDiscoverTargets", {"discover": True})
        return self

    async def __aexit__(self, *_):
        try:
            await asyncio.wait_for(self.command("Browser.close", {}), 3)
        except (TimeoutError, RuntimeError, ConnectionError):
            self.process.kill()
        self.reader.cancel()
        await self.http.close()
        try:
            await asyncio.wait_for(self.process.wait(), 5)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def page(self):
        target = (await self.command("Target.createTarget", {"url": "about:blank"}))["targetId"]
        attached = await self.command("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, attached["sessionId"], target)
        self.pages[page.session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.command(f"{domain}.enable")
        await page.size(1440, 900)
        return page

    async def command(self, method, parameters=None, session=None):
        self.number += 1
        answer = self.calls[self.number] = asyncio.get_running_loop().create_future()
        message = {"id": self.number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        await self.socket.send_str(json.dumps(message))
        return await answer

    def wait(self, method, session):
        future = asyncio.get_running_loop().create_future()
        self.waits.append((method, session, future))
        return future

    async def _address(self):
        for _ in range(200):
            said = self._announced()
            if len(said) == 2:
                return said
            await asyncio.sleep(0.05)
        raise AssertionError("Chromium did not start")

    def _announced(self):
        file = Path(self.folder, "DevToolsActivePort")
        return file.read_text().split() if file.exists() else []

    async def _read(self):
        async for message in self.socket:
            said = json.loads(message.data)
            if "id" in said:
                future = self.calls.pop(said["id"], None)
                if future and not future.done():
                    if "error" in said:
                        future.set_exception(RuntimeError(said["error"]))
                    else:
                        future.set_result(said["result"])
                continue
            self._note(said)

    def _note(self, said):
        method, given, session = said["method"], said.get("params", {}), said.get("sessionId")
        page = self.pages.get(session)
        if method == "Target.targetCreated" and given["targetInfo"]["type"] == "page":
            self.opened.append(given["targetInfo"])
        if page:
            match method:
                case "Runtime.consoleAPICalled":
                    text = " ".join(str(part.get("value", part.get("description"))) for part in given["args"])
                    page.logs.append((given["type"], text))
                case "Log.entryAdded":
                    page.logs.append((given["entry"]["level"], given["entry"]["text"]))
                case "Runtime.exceptionThrown":
                    thrown = given["exceptionDetails"].get("exception", {})
                    page.logs.append(("exception", thrown.get("description")))
                case "Network.requestWillBeSent":
                    page.requests.append(given["request"]["url"])
        for wait in [wait for wait in self.waits if wait[0] == method and wait[1] == session]:
            self.waits.remove(wait)
            if not wait[2].done():
                wait[2].set_result(given)
