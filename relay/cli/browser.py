"""Opening the dashboard in the browser without the token on any command line."""

import html
import os
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from relay.files import create_private


def open_dashboard(login_url: str, data_dir: Path, say: Callable[[str], None]) -> None:
    """Open the login link through a file of our own (0600): anybody may read a browser's arguments.

    Returns at once; some browsers only return when they are closed.
    """
    page = data_dir / "open.html"
    with os.fdopen(create_private(page), "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(login_url)}">\n')

    def go() -> None:
        if not webbrowser.open(page.resolve().as_uri()):
            say("no browser could be opened; use the link above")

    threading.Thread(target=go, name="browser", daemon=True).start()
