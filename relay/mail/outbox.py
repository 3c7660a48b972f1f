"""Mails kept as files instead of being sent: data_dir/outbox/<message id>.eml."""

import asyncio
import os
from pathlib import Path

from relay.errors import MailError


async def keep(folder: Path, message_id: str, source: bytes) -> Path:
    """Write a mail to `folder`, 0600, whole or not at all, and return its path. Raises MailError."""
    return await asyncio.to_thread(_write, folder, message_id.strip("<>"), source)


def _write(folder: Path, name: str, source: bytes) -> Path:
    path = folder / f"{name}.eml"
    part = folder / f".{name}.part"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(source)
        part.replace(path)
    except OSError as error:
        raise MailError(
            f"cannot keep a mail in {folder}: {error.strerror}", hint="is the disk full?"
        ) from error
    return path
