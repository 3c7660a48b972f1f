"""Waiting for what a page shows."""

import asyncio

from playwright.async_api import Error


async def until(page, expression, seconds=60):
    """Wait until a JavaScript expression, or what it promises, is true.

    Playwright's own `wait_for_function` calls eval at each look, which the dashboard's Content-Security-Policy forbids.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while not await _evaluate(page, f"Promise.resolve({expression}).then(value => !!value)"):
        assert loop.time() < ends, f"never came true: {expression}"
        await asyncio.sleep(0.02)


async def _evaluate(page, expression):
    try:
        return await page.evaluate(expression)
    except Error as error:
        # The page went away while it was looked at: the next one may show it.
        if "Execution context was destroyed" not in error.message:
            raise
        return False
