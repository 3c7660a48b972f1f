"""What a handler may answer besides nothing: Retry and Failed, returned or raised."""

import math
from datetime import timedelta


class Retry(Exception):  # noqa: N818 - an answer that may be raised; a handler that asks for time has no error
    """Return or raise it to be called again with this event, as the target's retry policy says.

    `after` is the least wait, as seconds or a timedelta. Raises ValueError for a wait that is none.
    """

    def __init__(self, detail: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.after = after.total_seconds() if isinstance(after, timedelta) else after
        if self.after is not None and not (math.isfinite(self.after) and self.after >= 0):
            raise ValueError(f"after={after!r} is no wait: give seconds from 0 up, or a timedelta")


class Failed(Exception):  # noqa: N818 - an answer that may be raised; it says that trying again is no use
    """Return or raise it when trying again will not mend this event."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
