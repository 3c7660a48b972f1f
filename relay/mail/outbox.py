"""Mails kept as files instead of being sent: data_dir/outbox/<message id>.eml."""

import asyncio
from pathlib import Path

from relay.errors import MailError
from relay.files import make_private_folder, write_private


async def keep(folder: Path, message_id: str, source: bytes) -> Path:
    """Write a mail to `folder`, 0600, whole or not at all, and return its path. Raises MailError."""
    return await asyncio.to_thread(_write, folder, message_id.strip("<>"), source)


def _write(folder: Path, name: str, source: bytes) -> Path:
    path = folder / f"{name}.eml"
    try:
        make_private_folder(folder)
        write_private(path, source)
    except OSError as error:
        raise MailError(
            f"cannot keep a mail in {folder}: {error.strerror}", hint="is the disk full?"
        ) from error
    return path
