"""The token of dashboard and API: a file in the data folder."""

import secrets
from pathlib import Path

from relay.errors import StoreError
from relay.platform import is_of_another_user, make_private, write_private


def load_token(data_dir: Path, *, rotate: bool = False) -> str:
    """Return the dashboard's token, created once (mode 0600) and kept across restarts.

    Raises StoreError if it cannot be read or written, or belongs to another user.
    """
    path = data_dir / "token"
    try:
        if is_of_another_user(path):
            raise StoreError(
                f"{path} belongs to another user, who would know the token",
                hint="remove it, or name a data_dir of your own",
            )
        if not rotate and path.exists():
            make_private(path)
            kept = path.read_text(encoding="ascii", errors="replace").strip()
            if len(kept) >= 32:
                return kept
        token = secrets.token_urlsafe(24)
        write_private(path, f"{token}\n".encode())
    except OSError as error:
        raise StoreError(
            f"cannot keep the token in {path}: {error.strerror}",
            hint="free some space, give this user the right to write there, or name another data_dir",
        ) from error
    return token
