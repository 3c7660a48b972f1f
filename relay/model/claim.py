"""What came of claiming an idempotency key."""

from enum import StrEnum


class Claim(StrEnum):
    """The key is the caller's, somebody else handles it at this moment, or it was handled before."""

    MINE = "mine"
    BUSY = "busy"
    DONE = "done"
