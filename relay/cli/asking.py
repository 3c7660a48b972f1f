"""Questions to a person at the terminal."""

import asyncio
import os
import sys

from relay.cli.terminal import Terminal


def can_ask(terminal: Terminal) -> bool:
    """Say whether a person is there to be asked: who types into a terminal, and sees the question on it."""
    if sys.stdin is None or not sys.stdin.isatty() or not terminal.talks_to_terminal:
        return False
    # A job in the background would be stopped for touching the terminal.
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


async def ask_line(terminal: Terminal, prompt: str) -> str | None:
    """Return the line that a person types, without its end; None after Ctrl-D. Ctrl-C ends the wait."""
    fd, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    typed: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        loop.remove_reader(fd)
        if not typed.done():
            typed.set_result(os.read(fd, 4096))

    terminal.ask(prompt)
    # A blocking read would not let go of Ctrl-C: the loop has taken SIGINT for itself.
    loop.add_reader(fd, read)
    try:
        line = await typed
    finally:
        loop.remove_reader(fd)
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape") if line else None


async def ask_yes_no(terminal: Terminal, question: str, *, default: bool) -> bool:
    """Return what a person answers: `default` for an empty line, False for all but y, yes and that."""
    answer = await ask_line(terminal, f"{question} [{'Y/n' if default else 'y/N'}] ")
    if answer is None:
        terminal.say("")
        return False
    return answer.strip().lower() in (("y", "yes", "") if default else ("y", "yes"))
