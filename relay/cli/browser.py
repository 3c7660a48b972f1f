"""Opening the dashboard in the browser without the token on any command line."""

import asyncio
import html
import os
import webbrowser
from collections.abc import Callable
from pathlib import Path


async def open_dashboard(login_url: str, data_dir: Path, say: Callable[[str], None]) -> None:
    """Open the login link through a file of our own (0600): anybody may read a browser's arguments."""
    page = data_dir / "open.html"
    address = html.escape(login_url)
    page.unlink(missing_ok=True)
    with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><a href="{address}">relay</a>\n'
        )
    if not await asyncio.to_thread(webbrowser.open, page.resolve().as_uri()):
        say("no browser could be opened; use the link above")
